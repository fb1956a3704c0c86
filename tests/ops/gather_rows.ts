import type { OpTest } from '../support/compare.js';
import { Random } from '../support/random.js';
import { f32, i32, oddSizes, out } from './inputs.js';

/** Some indices lie outside x: their rows are NaN. */
export function gatherRowsTest(rows: number, cols: number, n: number): OpTest {
  const random = new Random(rows * 1000 + cols);
  const [x, index] = [random.normal(rows * cols), random.integers(n, -1, rows + 1)];
  const inputs = { x: f32(x, rows, cols), index: i32(index) };
  const row = (r: number): ArrayLike<number> =>
    r < 0 || r >= rows ? new Float32Array(cols).fill(Number.NaN) : x.subarray(r * cols, (r + 1) * cols);
  return {
    name: `${n} of (${rows}, ${cols})`,
    nodes: [{ op: 'gather_rows', inputs, outputs: [out(n, cols)] }],
    expected: () => ({ y: [...index].flatMap((r) => Array.from(row(r))) }),
    gate: 0,
  };
}

export const gatherRowsTests: readonly OpTest[] = [
  ...oddSizes.map((n) => gatherRowsTest(n, 17, 33)),
  ...oddSizes.map((n) => gatherRowsTest(5, n, 3)),
  gatherRowsTest(0, 3, 2),
  gatherRowsTest(3, 3, 0),
];
