import type { Tensor } from '../graph/graph.js';
import type { Dim } from '../graph/shape.js';
import { type Activation, activation, gated } from '../ops/elementwise.js';
import { type ProjectOptions, project } from './project.js';
import type { Weights } from './weights.js';

/** A layer's feed-forward: the layer's weights, x (rows, hidden) and the layer's number → (rows, hidden). */
export type FeedForward = <H extends string>(
  layer: Weights,
  x: Tensor<['rows', H], 'f32'>,
  index: number,
) => Tensor<['rows', H], 'f32'>;

/** down_proj(fn(gate_proj(x)) · up_proj(x)): SwiGLU and GeGLU (Shazeer 2020); x (rows, hidden) → (rows, hidden). */
export function gatedMlp<R extends string, H extends string>(
  w: Weights,
  x: Tensor<[R, H], 'f32'>,
  ffn: Dim<string>,
  fn: Activation,
  bias = false,
): Tensor<[R, H], 'f32'> {
  const gate = project(w, 'gate_proj', x, ffn, { bias }); // (rows, ffn)
  const up = project(w, 'up_proj', x, ffn, { bias }); // (rows, ffn)
  return project(w, 'down_proj', gated(gate, up, fn), x.dims[1], { bias }); // (rows, hidden)
}

/** down(fn(up(x))) with two linear layers by their published names: x (rows, hidden) → (rows, hidden). */
export function plainMlp<R extends string, H extends string>(
  w: Weights,
  [up, down]: readonly [up: string, down: string],
  x: Tensor<[R, H], 'f32'>,
  ffn: Dim<string>,
  fn: Activation,
  options: ProjectOptions = { bias: true },
): Tensor<[R, H], 'f32'> {
  const wide = activation(project(w, up, x, ffn, options), fn); // (rows, ffn)
  return project(w, down, wide, x.dims[1], options); // (rows, hidden)
}
