import type { OpTest } from '../support/compare.js';
import { Random } from '../support/random.js';
import { boundsOf } from './attention.js';
import { f32, i32, oddSizes, out } from './inputs.js';

/** (max(l, m - 8) + 4) / 4 with l = log10(max(x, 1e-10)), m the largest l of the sequence, in float64. */
function scaled(x: Float32Array, bounds: readonly number[], cols: number): number[] {
  return bounds.slice(1).flatMap((end, s) => {
    const logs = Array.from(x.subarray(bounds[s]! * cols, end * cols), (v) => Math.log10(Math.max(v, 1e-10)));
    const most = Math.max(...logs);
    return logs.map((l) => (Math.max(l, most - 8) + 4) / 4);
  });
}

/** Powers over 16 decades, zeros among them. */
export function logMelTest(counts: readonly number[], cols: number): OpTest {
  const bounds = boundsOf(counts);
  const rows = bounds.at(-1)!;
  const x = new Random(rows * 100 + cols).normal(rows * cols).map((v, i) => (i % 7 === 3 ? 0 : 10 ** (4 * v)));
  return {
    name: `of ${counts}, cols ${cols}`,
    nodes: [
      { op: 'log_mel', attrs: {}, inputs: { x: f32(x, rows, cols), starts: i32(bounds) }, outputs: [out(rows, cols)] },
    ],
    expected: () => ({ y: scaled(x, bounds, cols) }),
    gate: 1e-13,
  };
}

export const logMelTests: readonly OpTest[] = [
  ...oddSizes.map((n) => logMelTest([n, 1], 17)),
  ...oddSizes.map((n) => logMelTest([5], n)),
  logMelTest([100, 0, 64, 65], 80),
  logMelTest([0], 3),
];
