import { describe, expect, it } from 'vitest';
import { type WeightDType, weightDTypes } from '../../lib/graph/dtype.js';
import { concatRows } from '../../lib/graph/weight_expr.js';
import { checkOnTiers, checkThreads, expectNear, expectSameBits } from '../support/compare.js';
import { type OpCase, runOp, testDevices } from '../support/run_op.js';
import type { StoredWeight } from '../support/weights.js';
import { f32, out } from './inputs.js';
import { allTypes, type MoeData, moeCase, moeData, moeTest, moeTests, sizesFor } from './moe.js';

checkOnTiers('moe', moeTests);

const both = (dtype: WeightDType) => [{ up: dtype, down: dtype }];

checkThreads('moe', [
  ...(['f32', 'bf16', 'q8_0', 'q4_k', 'q6_k'] as const).map((t) =>
    moeTest(t, moeData(both(t), 33, sizesFor(t)), 33, { compute: 'auto' }, 1e-3),
  ),
  moeTest('f32', moeData(both('f32'), 200, { hidden: 48, ffn: 70, experts: 16, top: 4 }), 200, {}, 1e-11),
  moeTest('f32', moeData(both('f32'), 1, { hidden: 96, ffn: 640, experts: 16, top: 4 }), 1, {}, 1e-11),
]);

/** The computes that a type may have; int8 on CPUs, bf16 only where the device has it. */
const computes = (dtype: WeightDType): string[] =>
  weightDTypes[dtype].block > 1
    ? ['f32', 'bf16', `int8/${weightDTypes[dtype].block}`]
    : dtype === 'bf16'
      ? ['f32', 'bf16']
      : ['f32'];

/** The bits that `linear` and `gated` give for one expert and all rows. */
async function expertAlone(
  d: MoeData,
  e: number,
  rows: number,
  compute: string,
  device: string,
): Promise<Float32Array> {
  const product = async (x: Float32Array, w: StoredWeight, n: number, k: number): Promise<Float32Array> => {
    const inputs = { x: f32(x, rows, k), weight: { weight: w.expr, shape: [n, k] } };
    const { y } = await runOp({ op: 'linear', attrs: { compute }, inputs, outputs: [out(rows, n)], device });
    return y!.data as Float32Array;
  };
  const x = d.x.subarray(0, rows * d.hidden);
  const [gate, up] = [await product(x, d.gate[e]!, d.ffn, d.hidden), await product(x, d.up[e]!, d.ffn, d.hidden)];
  const inputs = { gate: f32(gate, rows, d.ffn), up: f32(up, rows, d.ffn) };
  const mid = await runOp({ op: 'gated', attrs: { fn: 'silu' }, inputs, outputs: [out(rows, d.ffn)], device });
  return product(mid.y!.data as Float32Array, d.down[e]!, d.hidden, d.ffn);
}

describe.each(testDevices())('moe on %s', (device) => {
  const unsupported = async (run: () => Promise<unknown>): Promise<boolean> =>
    run().then(
      () => false,
      (error: { code?: string }) => error.code === 'ERR_UNSUPPORTED',
    );
  const run = async (test: OpCase, threads = 2): Promise<Float32Array> =>
    (await runOp({ ...test, device, threads })).y!.data as Float32Array;

  it.each(allTypes.flatMap((t) => computes(t).map((c) => [t, c] as const)))(
    '%s in %s: each expert gives what linears give, and every row has the bits that it has alone',
    async (dtype, compute) => {
      const sizes = { ...sizesFor(dtype), top: 1 };
      const d = moeData(both(dtype), 70, sizes);
      if (compute !== 'f32' && (await unsupported(() => run(moeCase(d, 1, { compute }))))) return;
      const all = await run(moeCase(d, 70, { compute, normalise: true }));
      for (let e = 0; e < d.experts; e++) {
        const alone = await expertAlone(d, e, 70, compute, device);
        for (let r = 0; r < 70; r++) {
          const logits = d.router.subarray(r * d.experts, (r + 1) * d.experts);
          if (logits.indexOf(Math.max(...logits)) !== e) continue;
          // A weight of 1: nothing but the products of that expert.
          const row = (y: Float32Array): Float32Array => y.slice(r * d.hidden, (r + 1) * d.hidden);
          expectSameBits(row(all), row(alone), `row ${r} by expert ${e}`);
        }
      }
      for (const rows of [1, 2, 7, 33])
        expectSameBits(await run(moeCase(d, rows, { compute })), all.slice(0, rows * d.hidden), `${rows} rows`);
    },
  );

  it('the sum of several experts has the bits that a row has alone, for any number of rows and threads', async () => {
    for (const dtype of ['f32', 'q8_0', 'q4_k'] as const) {
      const d = moeData(both(dtype), 210, { ...sizesFor(dtype), top: 3 });
      const choice = { compute: 'auto', normalise: false };
      const all = await run(moeCase(d, 210, choice));
      expectSameBits(await run(moeCase(d, 210, choice), 1), all, 'one thread');
      for (const [from, rows] of [
        [0, 1],
        [5, 2],
        [17, 7],
        [100, 33],
        [209, 1],
      ] as const)
        expectSameBits(
          await run(moeCase(d, rows, choice, from)),
          all.slice(from * d.hidden, (from + rows) * d.hidden),
          `${dtype} rows ${from} to ${from + rows}`,
        );
    }
  });

  it('of equal experts the lower numbers are taken', async () => {
    const d = moeData(both('f32'), 2, { hidden: 20, ffn: 10, experts: 6, top: 2 });
    const tied = { ...d, router: Float32Array.of(1, 3, 3, 3, 0, 3, 2, 2, 2, 2, 2, 2) };
    const one = { ...d, router: Float32Array.of(0, 60, 60, 0, 0, 0, 60, 60, 0, 0, 0, 0) };
    const [found, expected] = [await run(moeCase(tied, 2)), await run(moeCase(one, 2))];
    expectNear(found, expected, 1e-13);
  });

  it('a row whose logits are no numbers is NaN, and its neighbours keep their bits', async () => {
    const d = moeData(both('q8_0'), 6, { hidden: 64, ffn: 32, experts: 4, top: 2 });
    const choice = { compute: 'auto' };
    const expected = await run(moeCase(d, 6, choice));
    const bad = d.router.slice();
    bad[1 * 4 + 2] = Number.NaN;
    bad[2 * 4 + 1] = Number.POSITIVE_INFINITY;
    bad.fill(Number.NEGATIVE_INFINITY, 4 * 4, 5 * 4);
    const x = d.x.slice();
    x[5 * 64 + 7] = Number.NaN;
    const found = await run(moeCase({ ...d, router: bad, x }, 6, choice));
    for (const r of [1, 2, 4]) expect(found.slice(r * 64, (r + 1) * 64).every(Number.isNaN), `row ${r}`).toBe(true);
    expect(found.slice(5 * 64).some(Number.isNaN)).toBe(true);
    for (const r of [0, 3])
      expectSameBits(found.slice(r * 64, (r + 1) * 64), expected.slice(r * 64, (r + 1) * 64), `row ${r}`);
  });
});

describe('what moe refuses', () => {
  const d = moeData(both('f32'), 2, { hidden: 20, ffn: 10, experts: 6, top: 2 });
  const good = moeCase(d, 2);
  const refused = async (test: OpCase, message: RegExp): Promise<void> => {
    await expect(runOp(test)).rejects.toMatchObject({ code: 'ERR_GRAPH', message: expect.stringMatching(message) });
  };

  it('more experts than there are, or none', async () => {
    for (const top of [0, 7, 1.5e9, -3]) await refused({ ...good, attrs: { ...good.attrs, top } }, /moe/);
  });

  it('matrices of other sizes', async () => {
    const { gate, down } = good.inputs;
    const cut = { weight: concatRows(d.gate.slice(1).map((p) => p.expr)), shape: [50, 20] };
    await refused({ ...good, inputs: { ...good.inputs, gate: cut, up: cut } }, /equal matrices of 6 experts/);
    await refused({ ...good, inputs: { ...good.inputs, gate: cut } }, /equal matrices of 6 experts/);
    await refused({ ...good, inputs: { ...good.inputs, down: gate! } }, /moe/);
    await refused({ ...good, inputs: { ...good.inputs, up: down! } }, /expected/);
    await refused({ ...good, inputs: { ...good.inputs, router: f32(new Float32Array(14), 2, 7) } }, /of 7 experts/);
  });

  it('an expert of two types', async () => {
    const other = moeData(both('f16'), 2, d);
    const parts = [d.gate[0]!.expr, other.gate[1]!.expr];
    const rows = (e: (typeof parts)[0], begin: number, count: number) =>
      ({ kind: 'slice', dtype: e.dtype, rows: count, cols: e.cols, of: [e], begin }) as const;
    const torn = concatRows([rows(parts[0]!, 0, 4), rows(parts[1]!, 0, 6), ...d.gate.slice(1).map((p) => p.expr)]);
    await refused(
      { ...good, inputs: { ...good.inputs, gate: { weight: torn, shape: [60, 20] } } },
      /equal matrices of 6 experts, each of one type/,
    );
  });
});
