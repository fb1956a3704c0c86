import type { Tensor } from '../graph/graph.js';
import type { Dim } from '../graph/shape.js';
import { fixed, integer, type OpInfo, require } from './op.js';

export const sliceInfo: OpInfo = { name: 'slice', inputs: ['x'], outputs: ['y'], attrs: { begin: 'integer' } };

/** Columns begin … begin + cols of x (rows, n) → (rows, cols). */
export function slice<R extends string, N extends string>(
  x: Tensor<[R, string], 'f32'>,
  begin: number,
  cols: Dim<N>,
): Tensor<[R, N], 'f32'> {
  const n = fixed(sliceInfo, x.dims[1]);
  require(sliceInfo, integer(sliceInfo, 'begin', begin, 0) + fixed(sliceInfo, cols) <=
    n, 'columns', `within ${n}`, begin + fixed(sliceInfo, cols));
  const [y] = x.graph.node('slice', [x], { begin }, [{ dims: [x.dims[0], cols], dtype: 'f32' }]);
  return y as Tensor<[R, N], 'f32'>;
}
