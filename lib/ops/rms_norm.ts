import type { Tensor } from '../graph/graph.js';
import { finite, fixed, type OpInfo, require, same } from './op.js';

export const rmsNormInfo: OpInfo = {
  name: 'rms_norm',
  inputs: ['x', 'weight'],
  outputs: ['y'],
  attrs: { eps: 'number', offset: 'number' },
};

export interface RmsNormOptions {
  /** Added to the mean square. */
  readonly eps: number;
  /** Added to the weight: 1 in Gemma. */
  readonly offset?: number;
}

/** x (rows, cols), weight (cols) → x / √(mean x² + eps) · (offset + weight); Zhang & Sennrich 2019, LlamaRMSNorm. */
export function rmsNorm<R extends string, C extends string>(
  x: Tensor<[R, C], 'f32'>,
  weight: Tensor<[NoInfer<C>], 'f32'>,
  options: RmsNormOptions,
): Tensor<[R, C], 'f32'> {
  same(rmsNormInfo, weight.name, x.dims[1], weight.dims[0]);
  return node(x, weight, options);
}

/** Norms each head by itself: x (rows, heads · head_dim), weight (head_dim); Qwen3's q_norm and k_norm. */
export function headRmsNorm<R extends string, C extends string, H extends string>(
  x: Tensor<[R, C], 'f32'>,
  weight: Tensor<[H], 'f32'>,
  options: RmsNormOptions,
): Tensor<[R, C], 'f32'> {
  const [cols, head] = [fixed(rmsNormInfo, x.dims[1]), fixed(rmsNormInfo, weight.dims[0])];
  require(rmsNormInfo, cols % head === 0, `${weight.name}: heads`, `a multiple of ${head}`, cols);
  return node(x, weight, options);
}

function node<R extends string, C extends string>(
  x: Tensor<[R, C], 'f32'>,
  weight: Tensor<[string], 'f32'>,
  options: RmsNormOptions,
): Tensor<[R, C], 'f32'> {
  const attrs = { eps: finite(rmsNormInfo, 'eps', options.eps), offset: options.offset ?? 0 };
  const [y] = x.graph.node('rms_norm', [x, weight], attrs, [{ dims: x.dims, dtype: 'f32' }]);
  return y as Tensor<[R, C], 'f32'>;
}
