import type { OpTest } from '../support/compare.js';
import { Random } from '../support/random.js';
import { boundsOf } from './attention.js';
import { f32, i32, oddSizes, out } from './inputs.js';

const modes = ['mean', 'max', 'sqrt', 'weighted'] as const;

/** Each column over the rows of each sequence, in float64. */
function pooled(x: Float32Array, bounds: readonly number[], cols: number, mode: (typeof modes)[number]): number[] {
  return bounds.slice(1).flatMap((end, s) => {
    const rows = Array.from({ length: end - bounds[s]! }, (_, i) => bounds[s]! + i);
    return Array.from({ length: cols }, (_, c) => {
      const column = rows.map((r) => x[r * cols + c]!);
      if (column.length === 0) return 0;
      if (mode === 'max') return Math.max(...column);
      if (mode === 'weighted') {
        const weights = column.reduce((n, _, i) => n + i + 1, 0);
        return column.reduce((sum, v, i) => sum + (i + 1) * v, 0) / weights;
      }
      const sum = column.reduce((a, b) => a + b, 0);
      return sum / (mode === 'mean' ? column.length : Math.sqrt(column.length));
    });
  });
}

export function poolTest(counts: readonly number[], cols: number, mode: (typeof modes)[number]): OpTest {
  const bounds = boundsOf(counts);
  const rows = bounds.at(-1)!;
  const x = new Random(rows * 100 + cols).normal(rows * cols);
  return {
    name: `${mode} of ${counts}, cols ${cols}`,
    nodes: [
      {
        op: 'pool',
        attrs: { mode },
        inputs: { x: f32(x, rows, cols), starts: i32(bounds) },
        outputs: [out(counts.length, cols)],
      },
    ],
    expected: () => ({ y: pooled(x, bounds, cols, mode) }),
    gate: mode === 'max' ? 0 : 1e-12,
  };
}

export const poolTests: readonly OpTest[] = modes.flatMap((mode) => [
  ...oddSizes.map((n) => poolTest([n, 1], 17, mode)),
  ...oddSizes.map((n) => poolTest([5], n, mode)),
  poolTest([300, 0, 64, 65], 33, mode),
  poolTest([0], 3, mode),
]);
