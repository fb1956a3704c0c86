import type { Tensor } from '../graph/graph.js';
import type { OpInfo } from './op.js';

export const gatherRowsInfo: OpInfo = { name: 'gather_rows', inputs: ['x', 'index'], outputs: ['y'], attrs: {} };

/** x (rows, cols), index (n) → rows of x (n, cols): logits exist only for the rows that need them. */
export function gatherRows<R extends string, C extends string, N extends string>(
  x: Tensor<[R, C], 'f32'>,
  index: Tensor<[N], 'i32'>,
): Tensor<[N, C], 'f32'> {
  const [y] = x.graph.node('gather_rows', [x, index], {}, [{ dims: [index.dims[0], x.dims[1]], dtype: 'f32' }]);
  return y as Tensor<[N, C], 'f32'>;
}
