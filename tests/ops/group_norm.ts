import type { OpTest } from '../support/compare.js';
import { Random } from '../support/random.js';
import type { OpCase } from '../support/run_op.js';
import { boundsOf } from './attention.js';
import { f32, i32, oddSizes, out } from './inputs.js';

const eps = 1e-5;

export function groupNormCase(x: Float32Array, counts: readonly number[], cols: number): OpCase {
  const rows = counts.reduce((a, b) => a + b, 0);
  const random = new Random(cols);
  const vector = (): OpCase['inputs'][string] => {
    const weight = { kind: 'bytes', dtype: 'f32', rows: 1, cols, data: random.normal(cols) } as const;
    return { weight, shape: [cols] };
  };
  return {
    op: 'group_norm',
    attrs: { eps },
    inputs: { x: f32(x, rows, cols), weight: vector(), bias: vector(), starts: i32(boundsOf(counts)) },
    outputs: [out(rows, cols)],
  };
}

function normed(x: Float32Array, counts: readonly number[], cols: number): Float64Array {
  const random = new Random(cols);
  const [weight, bias] = [random.normal(cols), random.normal(cols)];
  const y = new Float64Array(x.length);
  const bounds = boundsOf(counts);
  for (const [s, n] of counts.entries())
    for (let c = 0; c < cols; c++) {
      const at = (r: number): number => (bounds[s]! + r) * cols + c;
      let [sum, square] = [0, 0];
      for (let r = 0; r < n; r++) sum += x[at(r)]!;
      for (let r = 0; r < n; r++) square += (x[at(r)]! - sum / n) ** 2;
      const factor = weight[c]! / Math.sqrt(square / n + eps);
      for (let r = 0; r < n; r++) y[at(r)] = (x[at(r)]! - sum / n) * factor + bias[c]!;
    }
  return y;
}

/** `mean`: of all values, large beside their deviation of 1 to show what cancels. */
export function groupNormTest(counts: readonly number[], cols: number, mean = 0): OpTest {
  const rows = counts.reduce((a, b) => a + b, 0);
  const x = new Random(rows * 100 + cols).normal(rows * cols).map((v) => v + mean);
  return {
    name: `rows ${counts}, cols ${cols}, mean ${mean}`,
    nodes: [groupNormCase(x, counts, cols)],
    expected: () => ({ y: normed(x, counts, cols) }),
    gate: mean === 0 ? 1e-12 : 1e-10,
  };
}

export const groupNormTests: readonly OpTest[] = [
  ...oddSizes.map((n) => groupNormTest([n, 2], 17)),
  ...oddSizes.map((n) => groupNormTest([5], n)),
  groupNormTest([255, 1, 256, 0, 257, 700], 19),
  groupNormTest([3000], 5, 10),
  groupNormTest([0], 3),
  groupNormTest([], 3),
];
