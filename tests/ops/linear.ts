import type { WeightDType } from '../../lib/graph/dtype.js';
import { concatRows } from '../../lib/graph/weight_expr.js';
import type { OpTest } from '../support/compare.js';
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
  options: { compute?: string; bias?: boolean; rounded?: boolean } = {},
): OpTest {
  const data = linearData(dtypes, rows, k, n, options.bias ?? true);
  if (options.rounded === true) for (const [i, v] of data.x.entries()) data.x[i] = roundBf16(v);
  const compute = options.compute ?? 'f32';
  return {
    name: `${dtypes.join(' + ')}, rows ${rows}, k ${k}, n ${n}, compute ${compute}${options.rounded === true ? ', x in bf16' : ''}`,
    nodes: [linearCase(data, rows, compute)],
    expected: () => ({ y: linear(data.x, data.weight.values, data.bias, rows, k, data.n) }),
    // Where the tier multiplies bf16, `auto` rounds x unless it is rounded already.
    gate: compute === 'f32' ? 1e-12 : options.rounded === true ? 1e-10 : 1e-5,
  };
}

const plain = ['f32', 'f16', 'bf16'] as const;
const blocked = ['q8_0', 'q4_0'] as const;

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
  ...[...plain, ...blocked].map((t) => linearTest([t], 7, 4096, 49)),
  ...[...plain, ...blocked].map((t) => linearTest([t], 0, 64, 17)),
  linearTest(['q8_0', 'q4_0', 'f32'], 5, 64, 33),
  linearTest(['bf16', 'bf16', 'f16'], 3, 31, 17),
  linearTest(['f32'], 193, 33, 67),
  linearTest(['bf16'], 3, 17, 129, { compute: 'auto', rounded: true }),
  linearTest(['bf16'], 7, 4096, 49, { compute: 'auto', rounded: true }),
  linearTest(['bf16'], 33, 515, 19, { compute: 'auto' }),
  linearTest(['q8_0', 'bf16'], 5, 64, 33, { compute: 'auto' }),
];
