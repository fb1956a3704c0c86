import { describe, expect, it } from 'vitest';
import { taps, weightNorm } from '../../lib/graph/weight_expr.js';
import { checkOnTiers, checkThreads, expectNear, expectSameBits } from '../support/compare.js';
import { Random } from '../support/random.js';
import { type OpCase, runOp, testDevices } from '../support/run_op.js';
import { convCase, convData, convRows, convTest, convTests } from './conv1d.js';
import { f32, i32, out } from './inputs.js';

checkOnTiers('conv1d', convTests);
checkThreads('conv1d', [
  convTest([900, 7, 300], { into: 33, out: 129, kernel: 3, stride: 2 }),
  convTest([200, 31], { into: 60, out: 90, kernel: 16, padding: 8, groups: 5, fewer: 1 }),
  convTest([4000], { into: 1, out: 70, kernel: 10, stride: 5 }),
]);

const run = async (test: OpCase, device?: string): Promise<Float32Array> =>
  (await runOp({ ...test, ...(device === undefined ? {} : { device }) })).y!.data as Float32Array;

describe.each(testDevices())('conv1d on %s', (device) => {
  it.each([
    { into: 19, out: 67, kernel: 3, stride: 2 },
    { into: 30, out: 45, kernel: 8, padding: 4, groups: 3, fewer: 1 },
    { into: 1, out: 33, kernel: 10, stride: 5 },
  ])('a sequence has the same bits alone and with neighbours: %o', async (shape) => {
    const data = convData([400, 11, 0, 57, 13], shape);
    const all = await run(convCase(data), device);
    let row = 0;
    for (const [s, rows] of convRows(data).entries()) {
      const alone = await run(convCase(data, s, s + 1), device);
      expectSameBits(alone, all.slice(row * data.out, (row + rows) * data.out), `sequence ${s}`);
      row += rows;
    }
  });
});

/** x (rows, 1) of ones, one at row `at`: the result lists the taps. */
const impulse = (weight: OpCase['inputs'][string], into: number, kernel: number, rows: number): OpCase => ({
  op: 'conv1d',
  attrs: { kernel, stride: 1, padding: 0, groups: 1 },
  inputs: {
    x: f32(
      Float32Array.from({ length: kernel * into }, (_, i) => (i === 0 ? 1 : 0)),
      kernel,
      into,
    ),
    weight,
    starts: i32([0, kernel]),
    y_starts: i32([0, 1]),
  },
  outputs: [out(1, rows)],
});

describe('weights of a convolution', () => {
  const [rows, into, kernel] = [18, 5, 4];
  const stored = new Random(4).normal(rows * into * kernel);
  const bytes = { kind: 'bytes', dtype: 'f32', rows, cols: into * kernel, data: stored } as const;

  it('taps: (out, in, kernel) becomes tap by tap', async () => {
    const x = new Random(5).normal(kernel * into);
    const test = impulse({ weight: taps(bytes, kernel), shape: [rows, into * kernel] }, into, kernel, rows);
    const found = await run({ ...test, inputs: { ...test.inputs, x: f32(x, kernel, into) } });
    const expected = Array.from({ length: rows }, (_, o) => {
      let sum = 0;
      for (let i = 0; i < into; i++)
        for (let j = 0; j < kernel; j++) sum += stored[(o * into + i) * kernel + j]! * x[j * into + i]!;
      return sum;
    });
    expectNear(found, expected, 1e-12);
  });

  it('weight norm: v g / |v| for each tap', async () => {
    const g = new Random(6).normal(kernel);
    const normed = weightNorm(bytes, { kind: 'bytes', dtype: 'f32', rows: 1, cols: kernel, data: g });
    const square = Array.from({ length: kernel }, (_, j) =>
      stored.reduce((sum, v, i) => sum + (i % kernel === j ? v * v : 0), 0),
    );
    for (let j = 0; j < kernel; j++) {
      const test = impulse({ weight: taps(normed, kernel), shape: [rows, into * kernel] }, into, kernel, rows);
      const x = Float32Array.from({ length: kernel * into }, (_, i) => (i === j * into + 2 ? 1 : 0));
      const found = await run({ ...test, inputs: { ...test.inputs, x: f32(x, kernel, into) } });
      const expected = Array.from(
        { length: rows },
        (_, o) => (stored[(o * into + 2) * kernel + j]! * g[j]!) / Math.sqrt(square[j]!),
      );
      expectNear(found, expected, 1e-12, `tap ${j}`);
    }
  });
});

describe('conv1d refuses', () => {
  const good = convCase(convData([9, 4], { into: 6, out: 8, kernel: 3, padding: 1, groups: 2 }));
  const codeOf = (test: OpCase): Promise<string | undefined> =>
    run(test).then(
      () => undefined,
      (error: { code?: string }) => error.code,
    );

  it.each([
    ['rows beyond the padding', { y_starts: i32([0, 10, 13]) }, {}, 'ERR_INPUT'],
    ['bounds that descend', { starts: i32([0, 14, 13]) }, {}, 'ERR_INPUT'],
    ['bounds that begin after 0', { starts: i32([1, 9, 13]) }, {}, 'ERR_INPUT'],
    ['bounds beyond x', { starts: i32([0, 9, 14]) }, {}, 'ERR_INPUT'],
    ['a kernel of 0', {}, { kernel: 0 }, 'ERR_GRAPH'],
    ['a stride of 0', {}, { stride: 0 }, 'ERR_GRAPH'],
    ['a negative padding', {}, { padding: -1 }, 'ERR_GRAPH'],
    ['groups that do not divide', {}, { groups: 4 }, 'ERR_GRAPH'],
    ['another kernel than the weight has', {}, { kernel: 2 }, 'ERR_GRAPH'],
  ])('%s', async (_, inputs, attrs, code) => {
    const test = { ...good, inputs: { ...good.inputs, ...inputs }, attrs: { ...good.attrs, ...attrs } };
    expect(await codeOf(test as OpCase)).toBe(code);
  });

  it('nothing where all fits', async () => {
    expect(await codeOf(good)).toBeUndefined();
  });
});
