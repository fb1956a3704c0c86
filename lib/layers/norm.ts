import type { Tensor, Weight } from '../graph/graph.js';
import { dim } from '../graph/shape.js';
import { concat } from '../ops/concat.js';
import { layerNorm } from '../ops/layer_norm.js';
import { slice } from '../ops/slice.js';
import type { Weights } from './weights.js';

/** A layer norm by its published name: x (rows, hidden) → like x, with w's NAME.weight and, unless `bias` is false, NAME.bias. */
export function normed<R extends string, C extends string>(
  w: Weights,
  name: string,
  x: Tensor<[R, C], 'f32'>,
  eps: number,
  bias = true,
): Tensor<[R, C], 'f32'> {
  const n = x.dims[1];
  const shift = bias ? w.vector(`${name}.bias`, n) : undefined;
  return x.graph.scoped(name, () => layerNorm(x, w.vector(`${name}.weight`, n), shift, eps));
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
