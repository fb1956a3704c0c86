import type { Tensor } from '../graph/graph.js';
import { dim } from '../graph/shape.js';
import { finite, fixed, integer, type OpInfo, require } from './op.js';

export const ropeTableInfo: OpInfo = {
  name: 'rope_table',
  inputs: ['positions', 'inv_freq', 'lengths?'],
  outputs: ['table'],
  attrs: {
    rule: ['static', 'longrope', 'dynamic'],
    attention_scaling: 'number',
    attention_scaling_long: 'number',
    theta: 'number',
    factor: 'number',
    original: 'integer',
  },
};

export const ropeInfo: OpInfo = {
  name: 'rope',
  inputs: ['x', 'table'],
  outputs: ['y'],
  attrs: { head_dim: 'integer', interleaved: 'boolean' },
};

export interface RopeTableOptions {
  /** `longrope`: the second row of inv_freq where lengths > original; `dynamic`: theta grows where lengths > original. */
  readonly rule: 'static' | 'longrope' | 'dynamic';
  readonly attentionScaling: number;
  readonly attentionScalingLong?: number;
  readonly theta?: number;
  readonly factor?: number;
  readonly original?: number;
}

/**
 * Cosines and sines of a step: positions (rows), invFreq (variants, half), lengths (rows) → (rows, 2 · half), made once
 * and used by all layers. Angles are computed in double precision.
 */
export function ropeTable<R extends string>(
  positions: Tensor<[R], 'i32'>,
  invFreq: Tensor<[string, string], 'f32'>,
  options: RopeTableOptions,
  lengths?: Tensor<[R], 'i32'>,
): Tensor<[R, 'rope'], 'f32'> {
  const half = fixed(ropeTableInfo, invFreq.dims[1]);
  require(ropeTableInfo, options.rule === 'static' || lengths !== undefined, `rule ${options.rule}`, 'lengths', 'none');
  const attrs = {
    rule: options.rule,
    attention_scaling: finite(ropeTableInfo, 'attentionScaling', options.attentionScaling),
    attention_scaling_long: options.attentionScalingLong ?? options.attentionScaling,
    theta: options.theta ?? 0,
    factor: options.factor ?? 1,
    original: options.original ?? 0,
  };
  const rope = dim(`rope${2 * half}`, 2 * half);
  const [table] = positions.graph.node('rope_table', [positions, invFreq, lengths], attrs, [
    { dims: [positions.dims[0], rope], dtype: 'f32' },
  ]);
  return table as unknown as Tensor<[R, 'rope'], 'f32'>;
}

/** Rotary position embedding of x (rows, heads · head_dim) by a table (Su et al. 2021); halves as in Hugging Face. */
export function rope<R extends string, C extends string>(
  x: Tensor<[R, C], 'f32'>,
  table: Tensor<[NoInfer<R>, 'rope'], 'f32'>,
  headDim: number,
  interleaved = false,
): Tensor<[R, C], 'f32'> {
  const cols = fixed(ropeInfo, x.dims[1]);
  const turned = fixed(ropeInfo, table.dims[1]);
  require(ropeInfo, integer(ropeInfo, 'head_dim', headDim, 2) <= cols &&
    cols % headDim === 0, 'x must hold whole heads', `a multiple of ${headDim}`, cols);
  require(ropeInfo, turned <= headDim, 'the table turns more than a head', `at most ${headDim}`, turned);
  const [y] = x.graph.node('rope', [x, table], { head_dim: headDim, interleaved }, [{ dims: x.dims, dtype: 'f32' }]);
  return y as Tensor<[R, C], 'f32'>;
}
