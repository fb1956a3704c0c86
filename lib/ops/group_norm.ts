import type { Tensor, Weight } from '../graph/graph.js';
import { finite, type OpInfo, same } from './op.js';

export const groupNormInfo: OpInfo = {
  name: 'group_norm',
  inputs: ['x', 'weight', 'bias', 'starts'],
  outputs: ['y'],
  attrs: { eps: 'number' },
};

/**
 * torch.nn.GroupNorm with a group for each column: x (rows, cols) → (rows, cols), each column normed over the rows of its
 * sequence (Wu & He 2018).
 */
export function groupNorm<R extends string, C extends string>(
  x: Tensor<[R, C], 'f32'>,
  weight: Weight<[NoInfer<C>]>,
  bias: Weight<[NoInfer<C>]>,
  starts: Tensor<['seq_bounds'], 'i32'>,
  eps: number,
): Tensor<[R, C], 'f32'> {
  for (const w of [weight, bias]) same(groupNormInfo, w.name, x.dims[1], w.dims[0]);
  const attrs = { eps: finite(groupNormInfo, 'eps', eps) };
  const [y] = x.graph.node('group_norm', [x, weight, bias, starts], attrs, [{ dims: x.dims, dtype: 'f32' }]);
  return y as Tensor<[R, C], 'f32'>;
}
