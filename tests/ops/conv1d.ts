import type { WeightDType } from '../../lib/graph/dtype.js';
import type { OpTest } from '../support/compare.js';
import { Random } from '../support/random.js';
import type { OpCase } from '../support/run_op.js';
import { type StoredWeight, storedWeight } from '../support/weights.js';
import { boundsOf } from './attention.js';
import { f32, i32, out } from './inputs.js';

export interface ConvShape {
  readonly into: number;
  readonly out: number;
  readonly kernel: number;
  readonly stride?: number;
  readonly padding?: number;
  readonly groups?: number;
  readonly bias?: boolean;
  readonly dtype?: WeightDType;
  /** Rows at the end of each sequence's result that are not asked for. */
  readonly fewer?: number;
}

export interface ConvData extends Required<ConvShape> {
  readonly counts: readonly number[];
  readonly x: Float32Array;
  readonly weight: StoredWeight;
  readonly b: Float32Array;
}

export function convData(counts: readonly number[], shape: ConvShape): ConvData {
  const all = { stride: 1, padding: 0, groups: 1, bias: true, dtype: 'f32' as const, fewer: 0, ...shape };
  const random = new Random(all.into * 1000 + all.out * 10 + all.kernel);
  const x = random.normal(counts.reduce((a, b) => a + b, 0) * all.into);
  const weight = storedWeight(random, all.dtype, all.out, (all.into / all.groups) * all.kernel);
  return { ...all, counts, x, weight, b: random.normal(all.out) };
}

/** ⌊(n + 2 padding − kernel) / stride⌋ + 1, without those that are not asked for. */
export function convRows(d: ConvData): number[] {
  return d.counts.map((n) => {
    const spare = n + 2 * d.padding - d.kernel;
    return spare < 0 ? 0 : Math.max(0, Math.floor(spare / d.stride) + 1 - d.fewer);
  });
}

/** Sequences begin … end of the data, in one call. */
export function convCase(d: ConvData, begin = 0, end = d.counts.length): OpCase {
  const all = boundsOf(d.counts);
  const from = boundsOf(d.counts.slice(begin, end));
  const to = boundsOf(convRows(d).slice(begin, end));
  const bias = { kind: 'bytes', dtype: 'f32', rows: 1, cols: d.out, data: d.b } as const;
  return {
    op: 'conv1d',
    attrs: { kernel: d.kernel, stride: d.stride, padding: d.padding, groups: d.groups },
    inputs: {
      x: f32(d.x.slice(all[begin]! * d.into, all[end]! * d.into), from.at(-1)!, d.into),
      weight: { weight: d.weight.expr, shape: [d.out, (d.into / d.groups) * d.kernel] },
      ...(d.bias ? { bias: { weight: bias, shape: [d.out] } } : {}),
      starts: i32(from),
      y_starts: i32(to),
    },
    outputs: [out(to.at(-1)!, d.out)],
  };
}

/** Every output as the sum of its taps, in float64. */
function convolved(d: ConvData): Float64Array {
  const [from, to] = [boundsOf(d.counts), boundsOf(convRows(d))];
  const y = new Float64Array(to.at(-1)! * d.out);
  const [width, group] = [d.into / d.groups, d.out / d.groups];
  for (const [s, n] of d.counts.entries())
    for (let t = 0; t < to[s + 1]! - to[s]!; t++)
      for (let o = 0; o < d.out; o++) {
        let sum = d.bias ? d.b[o]! : 0;
        for (let j = 0; j < d.kernel; j++) {
          const row = t * d.stride + j - d.padding;
          if (row < 0 || row >= n) continue;
          const [w, x] = [(o * d.kernel + j) * width, (from[s]! + row) * d.into + Math.floor(o / group) * width];
          for (let i = 0; i < width; i++) sum += d.weight.values[w + i]! * d.x[x + i]!;
        }
        y[(to[s]! + t) * d.out + o] = sum;
      }
  return y;
}

export function convTest(counts: readonly number[], shape: ConvShape): OpTest {
  const data = convData(counts, shape);
  return {
    name: `rows ${counts}, ${JSON.stringify(shape)}`,
    nodes: [convCase(data)],
    expected: () => ({ y: convolved(data) }),
    gate: 1e-12,
  };
}

export const convTests: readonly OpTest[] = [
  convTest([1], { into: 1, out: 1, kernel: 1 }),
  convTest([53, 10, 9, 31], { into: 1, out: 33, kernel: 10, stride: 5, bias: false }),
  convTest([41, 0, 3, 2], { into: 19, out: 67, kernel: 3, stride: 2 }),
  convTest([129, 1], { into: 17, out: 70, kernel: 2, stride: 2 }),
  convTest([5, 3, 1], { into: 7, out: 17, kernel: 3, padding: 1 }),
  convTest([6, 7], { into: 80, out: 33, kernel: 3, stride: 2, padding: 1 }),
  convTest([30, 3, 0, 1], { into: 32, out: 48, kernel: 7, padding: 3, groups: 2 }),
  convTest([30, 3], { into: 18, out: 30, kernel: 8, padding: 4, groups: 3, fewer: 1 }),
  convTest([17], { into: 12, out: 12, kernel: 3, groups: 12 }),
  convTest([9, 20], { into: 10, out: 5 * 67, kernel: 4, padding: 2, groups: 5, stride: 3 }),
  convTest([450], { into: 33, out: 129, kernel: 3, stride: 2, dtype: 'f16' }),
  convTest([450], { into: 33, out: 129, kernel: 3, dtype: 'bf16' }),
  convTest([21], { into: 32, out: 19, kernel: 3, dtype: 'q8_0' }),
  convTest([2], { into: 4, out: 4, kernel: 3 }),
  convTest([], { into: 4, out: 4, kernel: 3, padding: 1 }),
];
