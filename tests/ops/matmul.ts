import type { OpTest } from '../support/compare.js';
import { Random } from '../support/random.js';
import { matmul } from '../support/reference.js';
import { f32, out } from './inputs.js';

/** `batch`: leading dims that both have. */
export function matmulTest(
  m: number,
  k: number,
  n: number,
  transposed: boolean,
  batch: readonly number[] = [],
): OpTest {
  const random = new Random(m * 10000 + k * 100 + n);
  const count = batch.reduce((a, b) => a * b, 1);
  const [a, b] = [random.normal(count * m * k), random.normal(count * k * n)];
  const inputs = { a: f32(a, ...batch, m, k), b: f32(b, ...batch, ...(transposed ? [n, k] : [k, n])) };
  const part = (i: number): Float64Array =>
    matmul(a.subarray(i * m * k, (i + 1) * m * k), b.subarray(i * k * n, (i + 1) * k * n), m, k, n, transposed);
  return {
    name: `(${m}, ${k}) × (${k}, ${n})${transposed ? ' transposed' : ''}, batch [${batch}]`,
    nodes: [{ op: 'matmul', attrs: { transpose_b: transposed }, inputs, outputs: [out(...batch, m, n)] }],
    expected: () => ({ y: Float64Array.from(Array.from({ length: count }, (_, i) => [...part(i)]).flat()) }),
    gate: 1e-12,
  };
}

export const matmulTests: readonly OpTest[] = [false, true].flatMap((transposed) => [
  matmulTest(1, 1, 1, transposed),
  matmulTest(3, 17, 129, transposed),
  matmulTest(17, 129, 3, transposed),
  matmulTest(129, 3, 17, transposed),
  matmulTest(1, 129, 17, transposed),
  matmulTest(101, 70, 67, transposed),
  matmulTest(0, 17, 3, transposed),
  matmulTest(5, 33, 19, transposed, [3]),
  matmulTest(7, 3, 17, transposed, [2, 3]),
]);
