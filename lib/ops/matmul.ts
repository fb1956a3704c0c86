import type { Tensor } from '../graph/graph.js';
import { type OpInfo, same } from './op.js';

export const matmulInfo: OpInfo = {
  name: 'matmul',
  inputs: ['a', 'b'],
  outputs: ['y'],
  attrs: { transpose_b: 'boolean' },
};

/** a (m, k), b (k, n) → a b (m, n). */
export function matmul<M extends string, K extends string, N extends string>(
  a: Tensor<[M, K], 'f32'>,
  b: Tensor<[NoInfer<K>, N], 'f32'>,
): Tensor<[M, N], 'f32'> {
  same(matmulInfo, 'inner dim', a.dims[1], b.dims[0]);
  const [y] = a.graph.node('matmul', [a, b], { transpose_b: false }, [{ dims: [a.dims[0], b.dims[1]], dtype: 'f32' }]);
  return y as Tensor<[M, N], 'f32'>;
}

/** a (m, k), b (n, k) → a bᵀ (m, n). */
export function matmulTransposed<M extends string, K extends string, N extends string>(
  a: Tensor<[M, K], 'f32'>,
  b: Tensor<[N, NoInfer<K>], 'f32'>,
): Tensor<[M, N], 'f32'> {
  same(matmulInfo, 'inner dim', a.dims[1], b.dims[1]);
  const [y] = a.graph.node('matmul', [a, b], { transpose_b: true }, [{ dims: [a.dims[0], b.dims[0]], dtype: 'f32' }]);
  return y as Tensor<[M, N], 'f32'>;
}
