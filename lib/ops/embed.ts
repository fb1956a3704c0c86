import type { Tensor, Weight } from '../graph/graph.js';
import type { OpInfo } from './op.js';

export const embedInfo: OpInfo = { name: 'embed', inputs: ['ids', 'table'], outputs: ['y'], attrs: {} };

/** Rows of a table: ids (rows) → (rows, cols). An id outside the table gives NaN; callers check ids first. */
export function embed<R extends string, V extends string, C extends string>(
  ids: Tensor<[R], 'i32'>,
  table: Weight<[V, C]>,
): Tensor<[R, C], 'f32'> {
  const [y] = ids.graph.node('embed', [ids, table], {}, [{ dims: [ids.dims[0], table.dims[1]], dtype: 'f32' }]);
  return y as Tensor<[R, C], 'f32'>;
}
