import type { State, Tensor } from '../graph/graph.js';
import { type Dim, dim, stepDim } from '../graph/shape.js';
import type { OpInfo } from './op.js';

export const sampleNumberColumns = [
  'temperature',
  'top_p',
  'min_p',
  'typical_p',
  'repetition_penalty',
  'presence_penalty',
  'frequency_penalty',
  'dry_multiplier',
  'dry_base',
  'xtc_probability',
  'xtc_threshold',
  'mirostat_tau',
  'mirostat_eta',
  'mirostat_mu',
] as const;

export const sampleIntegerColumns = [
  'top_k',
  'seed_low',
  'seed_high',
  'sample_index',
  'prompt_length',
  'penalty_window',
  'no_repeat_ngram',
  'min_new',
  'dry_allowed_length',
  'dry_range',
  'mirostat',
  'top_logprobs',
  'beam',
] as const;

export const sampleInfo: OpInfo = {
  name: 'sample',
  inputs: [
    'logits',
    'numbers',
    'integers',
    'rows',
    'kv_positions',
    'seq_ids',
    'tokens',
    'table',
    'bias_offsets',
    'bias_ids',
    'bias_values',
    'bad_offsets',
    'bad_starts',
    'bad_ids',
    'stop_offsets',
    'stop_ids',
    'breaker_offsets',
    'breaker_ids',
    'allowed?',
  ],
  outputs: ['ids', 'logprobs', 'top_ids', 'top_logprobs', 'mu'],
  attrs: {},
};

/** Inputs of `sample` that a program declares: name, dtype, dims. The engine fills them from its sample tables. */
export const sampleInputs = {
  numbers: { dtype: 'f32', dims: [stepDim('logit_rows'), dim('sample_numbers', sampleNumberColumns.length)] },
  integers: { dtype: 'i32', dims: [stepDim('logit_rows'), dim('sample_integers', sampleIntegerColumns.length)] },
  bias_offsets: { dtype: 'i32', dims: [stepDim('sample_bounds')] },
  bias_ids: { dtype: 'i32', dims: [stepDim('biases')] },
  bias_values: { dtype: 'f32', dims: [stepDim('biases')] },
  bad_offsets: { dtype: 'i32', dims: [stepDim('sample_bounds')] },
  bad_starts: { dtype: 'i32', dims: [stepDim('bad_bounds')] },
  bad_ids: { dtype: 'i32', dims: [stepDim('bads')] },
  stop_offsets: { dtype: 'i32', dims: [stepDim('sample_bounds')] },
  stop_ids: { dtype: 'i32', dims: [stepDim('stops')] },
  breaker_offsets: { dtype: 'i32', dims: [stepDim('sample_bounds')] },
  breaker_ids: { dtype: 'i32', dims: [stepDim('breakers')] },
} as const satisfies Record<string, { dtype: 'f32' | 'i32'; dims: readonly Dim[] }>;

export interface SampleSource {
  /** Row of the step that each row of logits belongs to. */
  readonly rows: Tensor<['logit_rows'], 'i32'>;
  readonly kvPositions: Tensor<['rows'], 'i32'>;
  readonly seqIds: Tensor<['rows'], 'i32'>;
  readonly tokens: State<'i32'>;
  readonly table: Tensor<readonly ['seqs', string], 'i32'>;
}

export interface Sampled {
  readonly ids: Tensor<['logit_rows'], 'i32'>;
  readonly logprobs: Tensor<['logit_rows'], 'f32'>;
  readonly topIds: Tensor<['logit_rows', 'top'], 'i32'>;
  readonly topLogprobs: Tensor<['logit_rows', 'top'], 'f32'>;
  readonly mu: Tensor<['logit_rows'], 'f32'>;
}

/**
 * Draws one id per row of logits (logit_rows, vocab). Parameters come as inputs of the program, one row of columns per
 * row of logits; native/ops/sample.h gives order and formulas. Declares those inputs on the graph.
 */
export function sample<V extends string>(logits: Tensor<['logit_rows', V], 'f32'>, source: SampleSource): Sampled {
  const graph = logits.graph;
  const inputs = Object.entries(sampleInputs).map(
    ([name, spec]) => graph.input(name, spec.dtype, spec.dims as unknown as readonly [Dim]) as unknown as Tensor,
  );
  const [numbers, integers, ...lists] = inputs;
  const rows = logits.dims[0];
  const top = stepDim('top');
  const made = graph.node(
    'sample',
    [
      logits as unknown as Tensor,
      numbers,
      integers,
      source.rows as unknown as Tensor,
      source.kvPositions as unknown as Tensor,
      source.seqIds as unknown as Tensor,
      source.tokens,
      source.table as unknown as Tensor,
      ...lists,
    ],
    {},
    [
      { dims: [rows], dtype: 'i32' },
      { dims: [rows], dtype: 'f32' },
      { dims: [rows, top], dtype: 'i32' },
      { dims: [rows, top], dtype: 'f32' },
      { dims: [rows], dtype: 'f32' },
    ],
  ) as unknown[];
  return { ids: made[0], logprobs: made[1], topIds: made[2], topLogprobs: made[3], mu: made[4] } as Sampled;
}
