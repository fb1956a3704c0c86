import type { Tensor } from '../graph/graph.js';
import type { OpInfo } from './op.js';

export const softmaxInfo: OpInfo = { name: 'softmax', inputs: ['x'], outputs: ['y'], attrs: {} };

/** x (rows, cols) → exp(x − max) / Σ exp(x − max) over cols. */
export function softmax<R extends string, C extends string>(x: Tensor<[R, C], 'f32'>): Tensor<[R, C], 'f32'> {
  const [y] = x.graph.node('softmax', [x], {}, [{ dims: x.dims, dtype: 'f32' }]);
  return y as Tensor<[R, C], 'f32'>;
}
