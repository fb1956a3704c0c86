import { expect, it } from 'vitest';
import { checkOnTiers, checkThreads } from '../support/compare.js';
import { runOp, testDevices } from '../support/run_op.js';
import { f32, out } from './inputs.js';
import { softmaxTest, softmaxTests } from './softmax.js';

checkOnTiers('softmax', softmaxTests);
checkThreads('softmax', [softmaxTest(67, 515)]);

it.each(testDevices())(
  'softmax rows sum to one, −∞ gets nothing, a row of −∞ and a NaN give NaN on %s',
  async (device) => {
    const low = Number.NEGATIVE_INFINITY;
    const x = Float32Array.of(1e30, 1e30, low, low, low, low, 1, Number.NaN, 2, -80, -90, -100);
    const { y } = await runOp({ op: 'softmax', inputs: { x: f32(x, 4, 3) }, outputs: [out(4, 3)], device });
    expect([...y!.data.slice(0, 3)]).toEqual([0.5, 0.5, 0]);
    expect([...y!.data.slice(3, 9)].every(Number.isNaN)).toBe(true);
    expect([...y!.data.slice(9)].reduce((a, b) => a + b, 0)).toBeCloseTo(1, 6);
  },
);
