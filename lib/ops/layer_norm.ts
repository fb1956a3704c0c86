import type { Tensor } from '../graph/graph.js';
import { finite, type OpInfo, same } from './op.js';

export const layerNormInfo: OpInfo = {
  name: 'layer_norm',
  inputs: ['x', 'weight', 'bias?'],
  outputs: ['y'],
  attrs: { eps: 'number' },
};

/** x (rows, cols), weight and bias (cols) → (x − mean) / √(var + eps) · weight + bias; Ba et al. 2016, torch.nn.LayerNorm. */
export function layerNorm<R extends string, C extends string>(
  x: Tensor<[R, C], 'f32'>,
  weight: Tensor<[NoInfer<C>], 'f32'>,
  bias: Tensor<[NoInfer<C>], 'f32'> | undefined,
  eps: number,
): Tensor<[R, C], 'f32'> {
  same(layerNormInfo, weight.name, x.dims[1], weight.dims[0]);
  if (bias !== undefined) same(layerNormInfo, bias.name, x.dims[1], bias.dims[0]);
  const [y] = x.graph.node('layer_norm', [x, weight, bias], { eps: finite(layerNormInfo, 'eps', eps) }, [
    { dims: x.dims, dtype: 'f32' },
  ]);
  return y as Tensor<[R, C], 'f32'>;
}
