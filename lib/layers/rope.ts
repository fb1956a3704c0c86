import type { Tensor } from '../graph/graph.js';
import { dim } from '../graph/shape.js';
import { floats } from '../graph/weight_expr.js';
import { type RopeTableOptions, ropeTable } from '../ops/rope.js';
import type { RopeConfig } from '../weights/rope_config.js';

/** θ^(−2i / dims) for i < dims / 2 (Su et al. 2021). */
function baseFrequencies(theta: number, dims: number): number[] {
  return Array.from({ length: dims / 2 }, (_, i) => 1 / theta ** ((2 * i) / dims));
}

/** Llama 3.1: low frequencies divided by `factor`, high ones kept, a ramp between (transformers: _compute_llama3_parameters). */
function llama3Frequencies(rope: Extract<RopeConfig, { type: 'llama3' }>, dims: number): number[] {
  const original = rope.originalMaxPositionEmbeddings;
  const [lowWave, highWave] = [original / rope.lowFreqFactor, original / rope.highFreqFactor];
  return baseFrequencies(rope.theta, dims).map((f) => {
    const wave = (2 * Math.PI) / f;
    if (wave > lowWave) return f / rope.factor;
    if (wave < highWave) return f;
    const smooth = (original / wave - rope.lowFreqFactor) / (rope.highFreqFactor - rope.lowFreqFactor);
    return ((1 - smooth) * f) / rope.factor + smooth * f;
  });
}

/** YaRN (Peng et al. 2023; transformers: _compute_yarn_parameters): a ramp over dims between scaled and unscaled. */
function yarnFrequencies(rope: Extract<RopeConfig, { type: 'yarn' }>, dims: number): number[] {
  const correction = (rotations: number): number =>
    (dims * Math.log(rope.originalMaxPositionEmbeddings / (rotations * 2 * Math.PI))) / (2 * Math.log(rope.theta));
  let [low, high] = [correction(rope.betaFast), correction(rope.betaSlow)];
  if (rope.truncate) [low, high] = [Math.floor(low), Math.ceil(high)];
  low = Math.max(low, 0);
  high = Math.min(high, dims - 1);
  if (low === high) high += 0.001;
  return baseFrequencies(rope.theta, dims).map((f, i) => {
    const ramp = Math.min(1, Math.max(0, (i - low) / (high - low)));
    return (f / rope.factor) * ramp + f * (1 - ramp);
  });
}

/** Inverse frequencies (one row, or two for longrope) and how the table is made from them. */
export function ropeFrequencies(rope: RopeConfig, dims: number): { rows: number[][]; options: RopeTableOptions } {
  const base = baseFrequencies(rope.theta, dims);
  const fixed: RopeTableOptions = { rule: 'static', attentionScaling: 1 };
  switch (rope.type) {
    case 'default':
      return { rows: [base], options: fixed };
    case 'linear':
      return { rows: [base.map((f) => f / rope.factor)], options: fixed };
    case 'llama3':
      return { rows: [llama3Frequencies(rope, dims)], options: fixed };
    case 'yarn':
      return { rows: [yarnFrequencies(rope, dims)], options: { ...fixed, attentionScaling: rope.attentionFactor } };
    case 'factors':
      return { rows: [base.map((f, i) => f / rope.factors[i]!)], options: fixed };
    case 'dynamic':
      return {
        rows: [base],
        options: {
          rule: 'dynamic',
          attentionScaling: 1,
          theta: rope.theta,
          factor: rope.factor,
          original: rope.maxPositionEmbeddings,
        },
      };
    case 'longrope': {
      const rows = [rope.shortFactor, rope.longFactor].map((factors) => base.map((f, i) => f / factors[i]!));
      return {
        rows,
        options: {
          rule: 'longrope',
          attentionScaling: rope.attentionFactor,
          original: rope.originalMaxPositionEmbeddings,
        },
      };
    }
  }
}

/** The rope table of a step; `headDim` entries per head, of which partialRotaryFactor turn. */
export function ropeTableOf(
  positions: Tensor<['rows'], 'i32'>,
  lengths: Tensor<['rows'], 'i32'>,
  rope: RopeConfig,
  headDim: number,
  name = 'rope',
): Tensor<['rows', 'rope'], 'f32'> {
  const dims = Math.floor(headDim * rope.partialRotaryFactor);
  const { rows, options } = ropeFrequencies(rope, dims);
  const expr = floats(Float32Array.from(rows.flat()), rows.length);
  const shape = [dim(`${name}_variants`, rows.length), dim(`${name}_half`, dims / 2)] as const;
  const graph = positions.graph;
  const invFreq = graph.weight<[string, string]>(`${name}.inv_freq`, expr, shape);
  return graph.scoped(name, () =>
    ropeTable(positions, invFreq, options, options.rule === 'static' ? undefined : lengths),
  );
}
