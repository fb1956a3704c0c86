import type { Tensor } from '../graph/graph.js';
import { type Dim, dim } from '../graph/shape.js';
import { type MoeOptions, moe, moeInfo } from '../ops/moe.js';
import { fixed } from '../ops/op.js';
import { project } from './project.js';
import type { Weights } from './weights.js';

export interface ExpertsOptions extends MoeOptions {
  readonly experts: number;
  /** Width inside an expert. */
  readonly ffn: Dim<string>;
  /** Published names of an expert's matrices, * for its number. */
  readonly names: { readonly gate: string; readonly up: string; readonly down: string };
}

/**
 * A feed-forward layer of experts behind the router gate.weight: each row goes to `top` of them, each of them a gated
 * MLP; x (rows, hidden) → (rows, hidden).
 */
export function mixtureOfExperts<R extends string, H extends string>(
  w: Weights,
  x: Tensor<[R, H], 'f32'>,
  options: ExpertsOptions,
): Tensor<[R, H], 'f32'> {
  const { experts, ffn, names, top, normalise, fn } = options;
  const hidden = x.dims[1];
  const router = project(w, 'gate', x, dim('experts', experts), { exact: true }); // (rows, experts)
  const inner = dim('experts_ffn', experts * fixed(moeInfo, ffn));
  const outer = dim('experts_hidden', experts * fixed(moeInfo, hidden));
  const gate = w.experts(names.gate, experts, inner, hidden);
  const up = w.experts(names.up, experts, inner, hidden);
  const down = w.experts(names.down, experts, outer, ffn);
  return x.graph.scoped('experts', () => moe(x, router, gate, up, down, { top, normalise, fn })); // (rows, hidden)
}
