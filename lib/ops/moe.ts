import type { Tensor, Weight } from '../graph/graph.js';
import { type Activation, activations } from './elementwise.js';
import { computes } from './linear.js';
import { fixed, integer, type OpInfo, require, same } from './op.js';

export const moeInfo: OpInfo = {
  name: 'moe',
  inputs: ['x', 'router', 'gate', 'up', 'down'],
  outputs: ['y'],
  attrs: { top: 'integer', normalise: 'boolean', fn: activations, compute: computes },
};

export interface MoeOptions {
  /** Experts of a row. */
  readonly top: number;
  /** The weights of a row's experts sum to 1. */
  readonly normalise: boolean;
  readonly fn: Activation;
}

/**
 * A mixture of experts: x (rows, hidden), router logits (rows, experts), gate and up (experts · ffn, hidden), down
 * (experts · hidden, ffn): the matrices of all experts under each other. p = softmax(router) over all experts; a row's
 * `top` experts with the largest p, the lower number where they are equal, give
 * y = Σ p · down(fn(gate x) · up x) (rows, hidden), experts ascending. Only matrices of chosen experts are read.
 */
export function moe<R extends string, H extends string, F extends string, A extends string, B extends string>(
  x: Tensor<[R, H], 'f32'>,
  router: Tensor<[NoInfer<R>, string], 'f32'>,
  gate: Weight<[A, NoInfer<H>]>,
  up: Weight<[NoInfer<A>, NoInfer<H>]>,
  down: Weight<[B, F]>,
  options: MoeOptions,
): Tensor<[R, H], 'f32'> {
  const [rows, hidden] = x.dims;
  same(moeInfo, 'rows of router', rows, router.dims[0]);
  for (const w of [gate, up]) same(moeInfo, `${w.name}: width`, hidden, w.dims[1]);
  same(moeInfo, `${up.name}: rows`, gate.dims[0], up.dims[0]);
  const [experts, ffn] = [fixed(moeInfo, router.dims[1]), fixed(moeInfo, down.dims[1])];
  for (const [w, each] of [
    [gate, ffn],
    [down, fixed(moeInfo, hidden)],
  ] as const)
    require(moeInfo, w.dims[0].size === experts * each, `${w.name}: rows`, experts * each, w.dims[0].size);
  const top = integer(moeInfo, 'top', options.top, 1);
  require(moeInfo, top <= experts, 'top', `at most ${experts}`, top);
  const attrs = { top, normalise: options.normalise, fn: options.fn, compute: 'auto' };
  const [y] = x.graph.node('moe', [x, router, gate, up, down], attrs, [{ dims: [rows, hidden], dtype: 'f32' }]);
  return y as Tensor<[R, H], 'f32'>;
}
