import type { Tensor, Weight } from '../graph/graph.js';
import { type OpInfo, same } from './op.js';

export const linearInfo: OpInfo = {
  name: 'linear',
  inputs: ['x', 'weight', 'bias?'],
  outputs: ['y'],
  attrs: { compute: ['auto', 'f32', 'bf16'] },
};

/** x (rows, in), weight (out, in), bias (out) → x weightᵀ + bias (rows, out); torch.nn.Linear. */
export function linear<R extends string, O extends string, I extends string>(
  x: Tensor<[R, NoInfer<I>], 'f32'>,
  weight: Weight<[O, I]>,
  bias?: Weight<[NoInfer<O>]>,
): Tensor<[R, O], 'f32'> {
  same(linearInfo, `${weight.name}: width`, x.dims[1], weight.dims[1]);
  if (bias !== undefined) same(linearInfo, `${bias.name}: bias`, weight.dims[0], bias.dims[0]);
  const [y] = x.graph.node('linear', [x, weight, bias], { compute: 'auto' }, [
    { dims: [x.dims[0], weight.dims[0]], dtype: 'f32' },
  ]);
  return y as Tensor<[R, O], 'f32'>;
}
