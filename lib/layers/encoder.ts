import type { Tensor, Weight } from '../graph/graph.js';
import { dim, stepDim } from '../graph/shape.js';
import { type AttentionOptions, rowAttention } from '../ops/attention.js';
import { embed } from '../ops/embed.js';
import { gatherRows } from '../ops/gather_rows.js';
import { type PoolMode, pool } from '../ops/pool.js';
import type { ConfigReader } from '../weights/config.js';
import { ModelBuilder, type Rows } from './builder.js';
import type { WeightSource } from './weights.js';

/** What stands on top of an encoder, as the name of its class says. */
export type EncoderHead = 'base' | 'masked_lm' | 'sequence' | 'tokens' | 'answer' | 'ctc';

const heads: readonly (readonly [RegExp, EncoderHead])[] = [
  [/ForMaskedLM$/, 'masked_lm'],
  [/ForSequenceClassification$/, 'sequence'],
  [/ForTokenClassification$/, 'tokens'],
  [/ForQuestionAnswering$/, 'answer'],
  [/ForCTC$/, 'ctc'],
];

export function encoderHead(className: string): EncoderHead {
  return heads.find(([pattern]) => pattern.test(className))?.[1] ?? 'base';
}

/** One vector for each sequence: (seqs, cols). */
export type Sequences<C extends string> = Tensor<['seqs', C], 'f32'>;

/**
 * What an encoder's model function works with: each row sees all rows of its sequence. A model declares what it gives
 * with `output`: values over rows or over sequences.
 */
export class EncoderBuilder extends ModelBuilder {
  readonly head: EncoderHead;
  /** (rows): place of each token in its sequence, masked ones counted: windows and relative positions go by it. */
  readonly places: Tensor<['rows'], 'i32'>;
  /** (rows): segment of each token (BERT: 0 the first text, 1 the second). */
  readonly tokenTypes: Tensor<['rows'], 'i32'>;
  /** (seqs): first row of each sequence. */
  readonly firstRows: Tensor<['seqs'], 'i32'>;
  /** (seqs): last row of each sequence. */
  readonly lastRows: Tensor<['seqs'], 'i32'>;
  /** (logit_rows): rows whose logits over the vocabulary are wanted. */
  readonly logitRows: Tensor<['logit_rows'], 'i32'>;
  /** (rows, keys): nonzero = may see; one sequence only, for `trace`, where a row may be there that none sees. */
  readonly mask: Tensor<['rows', 'keys'], 'u8'>;
  /** Names of the classes, in order. */
  readonly labels: readonly string[];
  /** Segments that the table holds; undefined: the model has none. */
  segments: number | undefined;
  /** What the model reads instead of ids: `stride` frames of a spectrogram of so many bands become a row. */
  spectrogram: { readonly bands: number; readonly stride: number } | undefined;
  /** Positions count only ids other than this one, from it on (RoBERTa); undefined: 0, 1, … of the places. */
  positionPadding: number | undefined;

  constructor(name: string, head: EncoderHead, config: ConfigReader, source: WeightSource) {
    super(name, config, source);
    this.head = head;
    this.places = this.rowInput('places');
    this.tokenTypes = this.rowInput('token_type_ids');
    this.firstRows = this.graph.input('first_rows', 'i32', [stepDim('seqs')]);
    this.lastRows = this.graph.input('last_rows', 'i32', [stepDim('seqs')]);
    this.logitRows = this.graph.input('logit_rows', 'i32', [stepDim('logit_rows')]);
    this.mask = this.graph.optionalInput('mask', 'u8', [stepDim('rows'), stepDim('keys')]);
    this.labels = config.labels();
  }

  /** A spectrogram instead of ids: x (frames, bands), and the first frame of each sequence. */
  spectrogramInput(
    bands: number,
    stride: number,
  ): { readonly x: Tensor<['frames', 'bands'], 'f32'>; readonly starts: Tensor<['seq_bounds'], 'i32'> } {
    this.spectrogram = { bands, stride };
    const x = this.graph.input('input_features', 'f32', [stepDim('frames'), dim('bands', bands)] as const);
    const starts = this.graph.input('frame_starts', 'i32', [stepDim('seq_bounds')] as const);
    return { x: x as Tensor<['frames', 'bands'], 'f32'>, starts: starts as Tensor<['seq_bounds'], 'i32'> };
  }

  /** Attends over all rows of the sequence: q (rows, heads · head_dim), k and v (rows, kv_heads · head_dim) → like q. */
  attention<Q extends string, K extends string>(
    q: Rows<Q>,
    k: Rows<K>,
    v: Rows<string>,
    options: AttentionOptions,
  ): Rows<Q> {
    const byPlace = options.window !== undefined || options.relative !== undefined || options.alibi !== undefined;
    const places = byPlace ? this.places : undefined;
    const source = { k, v, starts: this.starts, causal: false, places, mask: this.mask };
    const { y, probs } = rowAttention<'rows', 'rows'>(q, source, stepDim('keys'), options);
    this.recordAttention(probs);
    return y as Rows<Q>;
  }

  /** The first row of each sequence ([CLS], <s>): (rows, cols) → (seqs, cols). */
  first<C extends string>(x: Rows<C>): Sequences<C> {
    return this.scoped('first', () => gatherRows(x, this.firstRows));
  }

  /** The last row of each sequence: (rows, cols) → (seqs, cols). */
  last<C extends string>(x: Rows<C>): Sequences<C> {
    return this.scoped('last', () => gatherRows(x, this.lastRows));
  }

  /** The rows whose logits over the vocabulary are wanted: (rows, cols) → (logit_rows, cols). */
  logitRowsOf<C extends string>(x: Rows<C>): Tensor<['logit_rows', C], 'f32'> {
    return this.scoped('logit_rows', () => gatherRows(x, this.logitRows));
  }

  /** Rows of the table of segments: (rows) → (rows, cols). */
  embedTokenTypes<V extends string, C extends string>(table: Weight<[V, C]>): Rows<C> {
    this.segments = table.dims[0].size;
    return this.scoped('embed_token_types', () => embed(this.tokenTypes, table));
  }

  /** Mean, or largest, over the rows of each sequence: (rows, cols) → (seqs, cols). */
  pool<C extends string>(x: Rows<C>, mode: PoolMode): Sequences<C> {
    return this.scoped('pool', () => pool(x, this.starts, mode));
  }

  /** Declares a result under its Hugging Face name: logits, last_hidden_state, pooler_output … */
  output(name: string, value: Tensor<[string, string], 'f32'>): void {
    this.graph.output(name, value as unknown as Tensor);
  }
}
