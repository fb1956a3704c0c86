import type { Tensor, Weight } from '../graph/graph.js';
import { dim } from '../graph/shape.js';
import { concat } from '../ops/concat.js';
import { layerNorm } from '../ops/layer_norm.js';
import { slice } from '../ops/slice.js';
import type { Weights } from './weights.js';

/** LayerNorm with w's NAME.weight and NAME.bias, which files of TensorFlow's time call gamma and beta. */
export function norm<R extends string, C extends string>(
  w: Weights,
  name: string,
  x: Tensor<[R, C], 'f32'>,
  eps: number,
  bias = true,
): Tensor<[R, C], 'f32'> {
  const old = !w.has(`${name}.weight`) && w.has(`${name}.gamma`);
  const [scale, shift] = old ? ['gamma', 'beta'] : ['weight', 'bias'];
  const size = x.dims[1];
  const beta = bias ? w.vector(`${name}.${shift}`, size) : undefined;
  return x.graph.scoped(name, () => layerNorm(x, w.vector(`${name}.${scale}`, size), beta, eps));
}

/** Weight and bias (head_dim) of one head's norm. */
export interface HeadNorm {
  readonly weight: Weight<['head']>;
  readonly bias?: Weight<['head']> | undefined;
}

/** Layer norm of each head by itself: x (rows, heads · head_dim), a norm for each head → like x; Phi, StableLM 2. */
export function headLayerNorm<R extends string, C extends string>(
  x: Tensor<[R, C], 'f32'>,
  norms: readonly HeadNorm[],
  eps: number,
): Tensor<[R, C], 'f32'> {
  const head = dim('head', (x.dims[1].size ?? 0) / norms.length);
  const parts = norms.map(({ weight, bias }, h) => {
    const part = slice(x, h * (head.size ?? 0), head); // (rows, head_dim)
    return layerNorm(part, weight, bias, eps);
  });
  return parts.length === 1 ? (parts[0] as unknown as Tensor<[R, C], 'f32'>) : concat(parts, x.dims[1].name);
}
