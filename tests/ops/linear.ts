import { type WeightDType, weightDTypes } from '../../lib/graph/dtype.js';
import { concatRows } from '../../lib/graph/weight_expr.js';
import type { OpTest } from '../support/compare.js';
import { quantTypes } from '../support/quants.js';
import { Random } from '../support/random.js';
import { linear } from '../support/reference.js';
import type { OpCase } from '../support/run_op.js';
import { roundBf16, type StoredWeight, storedWeight } from '../support/weights.js';
import { f32, out } from './inputs.js';

export interface LinearData {
  readonly x: Float32Array;
  readonly weight: StoredWeight;
  readonly bias: Float32Array | undefined;
  readonly n: number;
  readonly k: number;
}

/** x of the largest row count; smaller ones take its first rows. */
export function linearData(
  dtypes: readonly WeightDType[],
  rows: number,
  k: number,
  n: number,
  withBias = true,
): LinearData {
  const random = new Random(rows * 1000 + k * 10 + n);
  const parts = dtypes.map((dtype) => storedWeight(random, dtype, n, k));
  const weight =
    parts.length === 1
      ? parts[0]!
      : { expr: concatRows(parts.map((p) => p.expr)), values: Float64Array.from(parts.flatMap((p) => [...p.values])) };
  return {
    x: random.normal(rows * k),
    weight,
    bias: withBias ? random.normal(n * parts.length) : undefined,
    n: n * parts.length,
    k,
  };
}

export function linearCase(data: LinearData, rows: number, compute: string): OpCase {
  const { weight, bias, n, k } = data;
  const inputs = {
    x: f32(data.x.subarray(0, rows * k), rows, k),
    weight: { weight: weight.expr, shape: [n, k] },
    ...(bias === undefined
      ? {}
      : { bias: { weight: { kind: 'bytes', dtype: 'f32', rows: 1, cols: n, data: bias } as const, shape: [n] } }),
  };
  return { op: 'linear', attrs: { compute }, inputs, outputs: [out(rows, n)] };
}

/** Weights of several types stand under each other, `n` rows each. `rounded`: x holds bf16 numbers only. */
export function linearTest(
  dtypes: readonly WeightDType[],
  rows: number,
  k: number,
  n: number,
  options: { compute?: string; bias?: boolean; rounded?: boolean; gate?: number } = {},
): OpTest {
  const data = linearData(dtypes, rows, k, n, options.bias ?? true);
  if (options.rounded === true) for (const [i, v] of data.x.entries()) data.x[i] = roundBf16(v);
  const compute = options.compute ?? 'f32';
  return {
    name: `${dtypes.join(' + ')}, rows ${rows}, k ${k}, n ${n}, compute ${compute}${options.rounded === true ? ', x in bf16' : ''}`,
    nodes: [linearCase(data, rows, compute)],
    expected: () => ({ y: linear(data.x, data.weight.values, data.bias, rows, k, data.n) }),
    // Where the tier multiplies bf16, `auto` rounds x unless it is rounded already.
    gate: options.gate ?? (compute === 'f32' ? 1e-12 : options.rounded === true ? 1e-10 : 1e-5),
  };
}

const plain = ['f32', 'f16', 'bf16'] as const;
const blocked = quantTypes.filter((t) => weightDTypes[t].block === 32);
const blocked256 = quantTypes.filter((t) => weightDTypes[t].block === 256);

const roundEven = (x: number): number => {
  const r = Math.round(x);
  return r - x === 0.5 && r % 2 !== 0 ? r - 1 : r;
};

/** x as int8 kernels see it: per `block`, a scale max |x| / 127 in f32 and integers rounded to even, multiplied back. */
function roundInt8(x: Float32Array, block: number): Float64Array {
  const out = new Float64Array(x.length);
  for (let b = 0; b < x.length; b += block) {
    const part = x.subarray(b, b + block);
    const largest = part.reduce((m, v) => Math.max(m, Math.abs(v)), 0);
    const [d, inverse] = [Math.fround(largest * Math.fround(1 / 127)), Math.fround(127 / largest)];
    for (const [i, v] of part.entries()) out[b + i] = largest === 0 ? 0 : d * roundEven(Math.fround(v * inverse));
  }
  return out;
}

/** int8 arithmetic twice: against the model with rounded x, which leaves only f32 rounding, and against x itself. */
function int8Tests(dtype: WeightDType, rows: number, k: number, n: number, bias = true): OpTest[] {
  const data = linearData([dtype], rows, k, n, bias);
  const block = weightDTypes[dtype].block;
  const rounded = roundInt8(data.x, block);
  const compute = `int8/${block}`;
  const test = (name: string, x: ArrayLike<number>, gate: number): OpTest => ({
    name: `${dtype}, rows ${rows}, k ${k}, n ${n}, compute ${compute}, ${name}`,
    nodes: [linearCase(data, rows, compute)],
    expected: () => ({ y: linear(x, data.weight.values, data.bias, rows, k, data.n) }),
    gate,
  });
  const tests = [test('x rounded in the reference', rounded, 1e-12)];
  // The gate for rounding is statistical: it needs many outputs.
  return rows * n < 150 ? tests : [...tests, test('x as it is', data.x, block === 32 ? 6e-5 : 1e-4)];
}

export const linearTests: readonly OpTest[] = [
  ...plain.flatMap((t) => [
    linearTest([t], 1, 1, 1),
    linearTest([t], 3, 17, 129),
    linearTest([t], 17, 129, 3, { bias: false }),
    linearTest([t], 129, 3, 17),
  ]),
  ...blocked.flatMap((t) => [
    linearTest([t], 1, 32, 1),
    linearTest([t], 3, 96, 129),
    linearTest([t], 17, 288, 3, { bias: false }),
    linearTest([t], 129, 32, 17),
  ]),
  ...blocked256.flatMap((t) => [linearTest([t], 1, 256, 17), linearTest([t], 3, 768, 33, { bias: false })]),
  ...blocked.flatMap((t) => [
    ...int8Tests(t, 1, 32, 1),
    ...int8Tests(t, 2, 96, 129),
    ...int8Tests(t, 3, 1312, 67, false),
    ...int8Tests(t, 6, 288, 17),
    ...int8Tests(t, 33, 2080, 83),
    ...int8Tests(t, 97, 1312, 35),
  ]),
  ...blocked256.flatMap((t) => [
    ...int8Tests(t, 1, 256, 1),
    ...int8Tests(t, 2, 768, 129),
    ...int8Tests(t, 3, 1280, 67, false),
    ...int8Tests(t, 5, 256, 17),
    ...int8Tests(t, 31, 2304, 83),
    ...int8Tests(t, 97, 1280, 35),
  ]),
  ...[...plain, ...blocked, ...blocked256].map((t) => linearTest([t], 7, 4096, 49)),
  ...[...plain, ...blocked].map((t) => linearTest([t], 0, 64, 17)),
  linearTest(['q8_0', 'q4_0', 'f32'], 5, 64, 33),
  linearTest(['q4_k', 'q6_k', 'q8_0'], 5, 512, 33),
  linearTest(['bf16', 'bf16', 'f16'], 3, 31, 17),
  linearTest(['f32'], 193, 33, 67),
  linearTest(['bf16'], 3, 17, 129, { compute: 'auto', rounded: true }),
  linearTest(['bf16'], 7, 4096, 49, { compute: 'auto', rounded: true }),
  linearTest(['bf16'], 33, 515, 19, { compute: 'auto' }),
  linearTest(['q8_0', 'bf16'], 5, 64, 33, { compute: 'auto', gate: 6e-5 }),
];
