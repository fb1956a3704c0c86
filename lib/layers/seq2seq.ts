import type { Tensor } from '../graph/graph.js';
import { type Dim, stepDim } from '../graph/shape.js';
import { type AttentionOptions, cachedAttention } from '../ops/attention.js';
import { type KvState, type KvType, kvElementBytes, kvHeadSize, kvTypes, kvWrite } from '../ops/kv_write.js';
import type { ConfigReader } from '../weights/config.js';
import type { Rows } from './builder.js';
import { type CacheGroup, DecoderBuilder, pageTokens } from './decoder.js';
import { EncoderBuilder } from './encoder.js';
import type { WeightSource, Weights } from './weights.js';

/** Heads of cross-attention, alike in all layers. */
export interface CrossHeads {
  readonly kvHeads: number;
  readonly headDim: number;
}

/** One graph's view of the keys and values that decoder layers read of the encoder's text. */
interface CrossTensors {
  readonly keys: KvState;
  readonly values: KvState;
  readonly table: Tensor<readonly ['seqs', string], 'i32'>;
}

/**
 * What the model function of an encoder-decoder works with. Two graphs of one model: the encoder's runs once for each text
 * and leaves keys and values of every decoder layer in a cache group of its own; the decoder's attends over them.
 */
export class Seq2SeqBuilder {
  readonly config: ConfigReader;
  readonly encoder: EncoderBuilder;
  readonly decoder: DecoderBuilder;
  /** Cursors over the same checkpoint for the two graphs. */
  readonly encoderWeights: Weights;
  readonly decoderWeights: Weights;
  readonly cross: CacheGroup;
  readonly #kvType: KvType;
  readonly #widths = {
    keys: { name: 'cross_keys', size: 1 },
    values: { name: 'cross_values', size: 1 },
  };
  readonly #heads: CrossHeads;
  readonly #written: CrossTensors;
  readonly #read: CrossTensors;
  readonly #positions: Tensor<['rows'], 'i32'>;
  readonly #seqIds: Tensor<['rows'], 'i32'>;
  readonly #last: Tensor<['rows'], 'i32'>;
  #reads = 0;

  constructor(name: string, config: ConfigReader, source: WeightSource, heads: CrossHeads, kvType: KvType = 'f32') {
    this.config = config;
    this.#kvType = kvType;
    this.#heads = heads;
    this.encoder = new EncoderBuilder(`${name}.encoder`, 'base', config, source);
    this.decoder = new DecoderBuilder(name, config, source, kvType, this.encoder.weights);
    this.encoderWeights = this.encoder.weights;
    this.decoderWeights = this.decoder.weights;
    this.cross = {
      ...{ name: 'cross', kvHeads: heads.kvHeads, headDim: heads.headDim, window: undefined, layers: 0 },
      ...{ bytesPerBlock: 0, blocks: { name: 'cross_blocks', size: 1 } },
    };
    this.#written = this.#tensors(this.encoder);
    this.#read = this.#tensors(this.decoder);
    const rows = [stepDim('rows')] as const;
    this.#positions = this.encoder.graph.input('cross_positions', 'i32', rows) as Tensor<['rows'], 'i32'>;
    this.#seqIds = this.encoder.graph.input('seq_ids', 'i32', rows) as Tensor<['rows'], 'i32'>;
    this.#last = this.decoder.graph.input('cross_last', 'i32', rows) as Tensor<['rows'], 'i32'>;
  }

  /** Keeps keys and values (rows, kv_heads · head_dim) of the encoder's rows for the next decoder layer. */
  writeCross(k: Rows<string>, v: Rows<string>): void {
    const place = { table: this.#written.table, kvPositions: this.#positions, seqIds: this.#seqIds };
    const layer = this.cross.layers++;
    kvWrite<'rows'>(k, v, this.#written.keys, this.#written.values, place, { layer, ...this.#heads });
  }

  /**
   * Attends over all of the encoder's text with the keys and values of the next layer: q (rows, heads · head_dim) → like q.
   * Also records cross_attentions.N.
   */
  crossAttention<Q extends string>(q: Rows<Q>, options: Omit<AttentionOptions, keyof CrossHeads>): Rows<Q> {
    const layer = this.#reads++;
    const { keys, values, table } = this.#read;
    const source = { keys, values, layer, table, kvPositions: this.#last, starts: this.decoder.starts };
    const { y, probs } = cachedAttention<'rows'>(q, source, stepDim('source_keys'), { ...options, ...this.#heads });
    this.decoder.graph.output(`cross_attentions.${layer}`, probs as unknown as Tensor);
    return y as Rows<Q>;
  }

  /** The decoder's own cache groups; sizes of all, `cross` too, are final. */
  finish(): CacheGroup[] {
    const { cross } = this;
    for (const part of ['keys', 'values'] as const)
      this.#widths[part].size =
        cross.layers * cross.kvHeads * kvHeadSize(this.#kvType, part, cross.headDim, pageTokens);
    cross.bytesPerBlock = kvElementBytes(this.#kvType) * (this.#widths.keys.size + this.#widths.values.size);
    return this.decoder.finish();
  }

  #tensors({ graph }: EncoderBuilder | DecoderBuilder): CrossTensors {
    const state = (part: 'keys' | 'values'): KvState =>
      graph.state(`cross.${part}`, kvTypes[this.#kvType], [this.cross.blocks as Dim, this.#widths[part] as Dim]);
    const shape = [stepDim('seqs'), stepDim('cross_columns')] as const;
    return {
      keys: state('keys'),
      values: state('values'),
      table: graph.input('table_cross', 'i32', shape) as unknown as CrossTensors['table'],
    };
  }
}
