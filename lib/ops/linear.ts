import type { Tensor, Weight } from '../graph/graph.js';
import { type OpInfo, same } from './op.js';

/** How a linear multiplies: activations as they are, or rounded to bf16, or to int8 with a scale for each 32 or 256. */
export const computes = ['auto', 'f32', 'bf16', 'int8/32', 'int8/256'] as const;

export const linearInfo: OpInfo = {
  name: 'linear',
  inputs: ['x', 'weight', 'bias?', 'weight_1?', 'bias_1?', 'weight_2?', 'bias_2?'],
  outputs: ['y', 'y_1?', 'y_2?'],
  attrs: { compute: computes },
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
