import type { Tensor, Weight } from '../graph/graph.js';
import type { Dim } from '../graph/shape.js';
import { fixed, integer, type OpInfo, require, same } from './op.js';

export const conv1dInfo: OpInfo = {
  name: 'conv1d',
  inputs: ['x', 'weight', 'bias?', 'starts', 'y_starts'],
  outputs: ['y'],
  attrs: { kernel: 'integer', stride: 'integer', padding: 'integer', groups: 'integer' },
};

export interface Conv1dOptions {
  readonly kernel: number;
  /** Default 1. */
  readonly stride?: number;
  /** Rows of zeros on both sides of a sequence; default 0. */
  readonly padding?: number;
  /** Outputs of a group see only its own columns; default 1. */
  readonly groups?: number;
}

/** Which rows of x and of y belong to each sequence. */
export interface ConvBounds<Y extends string> {
  readonly from: Tensor<['seq_bounds'], 'i32'>;
  /** A sequence of n rows gives at most ⌊(n + 2 padding − kernel) / stride⌋ + 1. */
  readonly to: Tensor<['seq_bounds'], 'i32'>;
  readonly rows: Dim<Y>;
}

/**
 * torch.nn.Conv1d over the rows of each sequence: x (rows, in), weight (out, kernel · in / groups) tap by tap, bias (out)
 * → (rows of y, out); y[t] = bias + Σ over taps j of weight[j] x[stride · t + j − padding]. Products in f32.
 */
export function conv1d<R extends string, Y extends string, O extends string>(
  x: Tensor<[R, string], 'f32'>,
  weight: Weight<[O, string]>,
  bias: Weight<[NoInfer<O>]> | undefined,
  bounds: ConvBounds<Y>,
  options: Conv1dOptions,
): Tensor<[Y, O], 'f32'> {
  const [out, into] = [fixed(conv1dInfo, weight.dims[0]), fixed(conv1dInfo, x.dims[1])];
  const attrs = {
    kernel: integer(conv1dInfo, 'kernel', options.kernel, 1),
    stride: integer(conv1dInfo, 'stride', options.stride ?? 1, 1),
    padding: integer(conv1dInfo, 'padding', options.padding ?? 0, 0),
    groups: integer(conv1dInfo, 'groups', options.groups ?? 1, 1),
  };
  require(conv1dInfo, into % attrs.groups === 0, 'columns of x', `a multiple of ${attrs.groups}`, into);
  require(conv1dInfo, out % attrs.groups === 0, `${weight.name}: rows`, `a multiple of ${attrs.groups}`, out);
  const cols = (into / attrs.groups) * attrs.kernel;
  require(conv1dInfo, weight.dims[1].size === cols, `${weight.name}: width`, cols, weight.dims[1].size);
  if (bias !== undefined) same(conv1dInfo, `${bias.name}: bias`, weight.dims[0], bias.dims[0]);
  const [y] = x.graph.node('conv1d', [x, weight, bias, bounds.from, bounds.to], attrs, [
    { dims: [bounds.rows, weight.dims[0]], dtype: 'f32' },
  ]);
  return y as Tensor<[Y, O], 'f32'>;
}
