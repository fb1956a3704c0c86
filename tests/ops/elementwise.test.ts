import { expect, it } from 'vitest';
import { activations } from '../../lib/ops/index.js';
import { checkOnTiers, checkThreads } from '../support/compare.js';
import { activations as formulas } from '../support/reference.js';
import { runOp, testDevices } from '../support/run_op.js';
import { activationTest, binaryTest, elementwiseTests, gatedTest, scaleTest, softcapTest } from './elementwise.js';
import { f32, out } from './inputs.js';

checkOnTiers('elementwise', elementwiseTests);
checkThreads('elementwise', [
  activationTest('gelu', 129, 131),
  gatedTest('silu', 129, 131),
  binaryTest('add', 129, 257),
  binaryTest('mul', 129, 257, true),
  scaleTest(129, 257, 2, 1),
  softcapTest(129, 131, 30),
]);

it.each(testDevices())(
  'activations of 0, ±∞, huge and tiny numbers and NaN are those of the formulas on %s',
  async (device) => {
    const x = Float32Array.of(
      0,
      Number.POSITIVE_INFINITY,
      Number.NEGATIVE_INFINITY,
      1e30,
      -1e30,
      1e-30,
      -1e-30,
      88,
      -88,
      -104,
      Number.NaN,
    );
    for (const fn of activations) {
      const { y } = await runOp({
        op: 'activation',
        attrs: { fn },
        inputs: { x: f32(x, 1, x.length) },
        outputs: [out(1, x.length)],
        device,
      });
      for (const [i, v] of x.entries()) {
        const found = y!.data[i]!;
        // x · Φ(−∞) has no value; a kernel may give its limit.
        if (v === Number.NEGATIVE_INFINITY && !['relu', 'tanh', 'sigmoid', 'exp'].includes(fn)) {
          expect(Number.isNaN(found) || found === 0, `${fn}(-inf) = ${found}`).toBe(true);
          continue;
        }
        const expected = Math.fround(formulas[fn]!(v));
        const ok = Number.isNaN(expected)
          ? Number.isNaN(found)
          : Math.abs(found - expected) <= 4e-7 * Math.abs(expected) + 1e-37 || found === expected;
        expect(ok, `${fn}(${v}) = ${found}, expected ${expected}`).toBe(true);
      }
    }
  },
);
