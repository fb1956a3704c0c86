import type { Tensor } from '../graph/graph.js';
import { type OpInfo, same } from './op.js';

export const tokenLogprobInfo: OpInfo = {
  name: 'token_logprob',
  inputs: ['logits', 'targets'],
  outputs: ['logprobs'],
  attrs: {},
};

/** logits (rows, vocab), targets (rows) → log softmax(logits)[target] (rows): what `score` sums. */
export function tokenLogprob<R extends string, V extends string>(
  logits: Tensor<[R, V], 'f32'>,
  targets: Tensor<[NoInfer<R>], 'i32'>,
): Tensor<[R], 'f32'> {
  same(tokenLogprobInfo, 'targets', logits.dims[0], targets.dims[0]);
  const [y] = logits.graph.node('token_logprob', [logits, targets], {}, [{ dims: [logits.dims[0]], dtype: 'f32' }]);
  return y as Tensor<[R], 'f32'>;
}
