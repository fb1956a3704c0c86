import type { State, Tensor } from '../graph/graph.js';
import { type Dim, dim, stepDim } from '../graph/shape.js';
import { type AttentionOptions, cachedAttention } from '../ops/attention.js';
import { copyBlocks } from '../ops/copy_blocks.js';
import { gatherRows } from '../ops/gather_rows.js';
import {
  type KvState,
  type KvType,
  kvElementBytes,
  kvHeadSize,
  kvTypes,
  kvWrite,
  tokenWrite,
} from '../ops/kv_write.js';
import { sample } from '../ops/sample.js';
import { tokenLogprob } from '../ops/token_logprob.js';
import type { ConfigReader } from '../weights/config.js';
import { ModelBuilder, type Rows } from './builder.js';
import type { WeightSource, Weights } from './weights.js';

/** Tokens of a KV block, as in native/ops/kv_write.h. */
export const pageTokens = 32;

/** Layers alike in (kv heads, head size, window) share block tables: one group of KV blocks. */
export interface CacheGroup {
  readonly name: string;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly window: number | undefined;
  layers: number;
  /** Bytes of one block over all layers. */
  bytesPerBlock: number;
  /** Set before lowering: how many blocks the state holds. */
  readonly blocks: { readonly name: string; size: number };
}

interface GroupTensors {
  readonly group: CacheGroup;
  readonly keys: KvState;
  readonly values: KvState;
  readonly widths: Record<'keys' | 'values', { readonly name: string; size: number }>;
  readonly table: Tensor<readonly ['seqs', string], 'i32'>;
  /** Only where a window must count positions that the cache does not hold (`trace` with holes in its mask). */
  readonly mask: Tensor<['rows', 'keys'], 'u8'> | undefined;
}

/**
 * What a decoder's model function works with, besides what every model has: a cache of keys and values, and logits of the
 * rows that need them.
 */
export class DecoderBuilder extends ModelBuilder {
  /** What the cache holds keys and values in. */
  readonly kvType: KvType;
  /** (rows): index of each token in the cache of its sequence. */
  readonly kvPositions: Tensor<['rows'], 'i32'>;
  readonly seqIds: Tensor<['rows'], 'i32'>;
  /** (logit_rows): rows that need logits. */
  readonly logitRows: Tensor<['logit_rows'], 'i32'>;
  /** Positions count the unmasked tokens of a padded row (OPT); else they are its places. */
  positionsFromMask = false;
  readonly #groups = new Map<string, GroupTensors>();
  #tokens: { group: CacheGroup; state: State<'i32'>; table: Tensor<readonly ['seqs', string], 'i32'> } | undefined;

  constructor(name: string, config: ConfigReader, source: WeightSource, kvType: KvType = 'f32', beside?: Weights) {
    super(name, config, source, beside);
    this.kvType = kvType;
    this.kvPositions = this.rowInput('kv_positions');
    this.seqIds = this.rowInput('seq_ids');
    this.logitRows = this.graph.input('logit_rows', 'i32', [stepDim('logit_rows')]);
    this.#writeTokens();
  }

  /**
   * Writes k and v (rows, kv_heads · head_dim) to the cache and attends over it, causally: q (rows, heads · head_dim) →
   * the same shape. Also records attentions.N.
   */
  attention<Q extends string, K extends string>(
    q: Rows<Q>,
    k: Rows<K>,
    v: Rows<string>,
    options: AttentionOptions,
  ): Rows<Q> {
    const { group, keys, values, table, mask } = this.#group(options);
    const layer = group.layers++;
    const place = { table, kvPositions: this.kvPositions, seqIds: this.seqIds };
    kvWrite<'rows'>(k, v, keys, values, place, { layer, kvHeads: options.kvHeads, headDim: options.headDim });
    const source = { keys, values, layer, table, kvPositions: this.kvPositions, starts: this.starts, mask };
    const { y, probs } = cachedAttention<'rows'>(q, source, stepDim('keys'), options);
    this.recordAttention(probs);
    return y as Rows<Q>;
  }

  /** Rows that need logits, out of all rows. */
  logitRowsOf<C extends string>(x: Rows<C>): Tensor<['logit_rows', C], 'f32'> {
    return this.scoped('logit_rows', () => gatherRows(x, this.logitRows));
  }

  /** Declares the outputs of a language model: logits, sampled ids, log-probabilities of given targets. */
  logits<V extends string>(logits: Tensor<['logit_rows', V], 'f32'>): void {
    const graph = this.graph;
    graph.output('logits', logits as unknown as Tensor);
    const targets = graph.input('targets', 'i32', [stepDim('logit_rows')] as const);
    graph.output(
      'target_logprobs',
      tokenLogprob(logits, targets as Tensor<['logit_rows'], 'i32'>) as unknown as Tensor,
    );
    graph.input('remaining', 'i32', [stepDim('logit_rows')] as const);
    const tokens = this.#tokens!;
    const made = this.scoped('sample', () =>
      sample(logits, {
        rows: this.logitRows,
        kvPositions: this.kvPositions,
        seqIds: this.seqIds,
        tokens: tokens.state,
        table: tokens.table,
      }),
    );
    for (const [name, value] of Object.entries({
      ids: made.ids,
      logprobs: made.logprobs,
      top_ids: made.topIds,
      top_logprobs: made.topLogprobs,
      mu: made.mu,
    })) {
      graph.output(name, value as unknown as Tensor);
    }
  }

  /** All cache groups, the plane of token ids last; sizes are final. */
  finish(): CacheGroup[] {
    for (const { group, widths } of this.#groups.values()) {
      for (const part of ['keys', 'values'] as const)
        widths[part].size = group.layers * group.kvHeads * kvHeadSize(this.kvType, part, group.headDim, pageTokens);
      group.bytesPerBlock = kvElementBytes(this.kvType) * (widths.keys.size + widths.values.size);
    }
    return [...[...this.#groups.values()].map((g) => g.group), this.#tokens!.group];
  }

  #newGroup(name: string, options: { kvHeads: number; headDim: number; window: number | undefined }): CacheGroup {
    return { name, ...options, layers: 0, bytesPerBlock: 4 * pageTokens, blocks: { name: `${name}_blocks`, size: 1 } };
  }

  #table(name: string): Tensor<readonly ['seqs', string], 'i32'> {
    return this.graph.input(`table_${name}`, 'i32', [stepDim('seqs'), stepDim(`${name}_columns`)] as const);
  }

  #copies(name: string): Tensor<[string, string], 'i32'> {
    return this.graph.input(`copies_${name}`, 'i32', [
      stepDim(`${name}_copies`),
      dim('pair', 2),
    ] as const) as unknown as Tensor<[string, string], 'i32'>;
  }

  #mask(name: string, window: number | undefined): Tensor<['rows', 'keys'], 'u8'> | undefined {
    if (window === undefined) return undefined;
    return this.graph.optionalInput(`mask_${name}`, 'u8', [stepDim('rows'), stepDim('keys')] as const) as Tensor<
      ['rows', 'keys'],
      'u8'
    >;
  }

  #group(options: AttentionOptions): GroupTensors {
    const key = `${options.kvHeads} ${options.headDim} ${options.window ?? 'all'}`;
    const known = this.#groups.get(key);
    if (known !== undefined) return known;
    const name = `kv${this.#groups.size}`;
    const group = this.#newGroup(name, { kvHeads: options.kvHeads, headDim: options.headDim, window: options.window });
    const widths = { keys: { name: `${name}_keys`, size: 1 }, values: { name: `${name}_values`, size: 1 } };
    const state = (part: 'keys' | 'values'): KvState =>
      this.graph.state(`${name}.${part}`, kvTypes[this.kvType], [group.blocks as Dim, widths[part] as Dim]);
    const made: GroupTensors = {
      group,
      keys: state('keys'),
      values: state('values'),
      widths,
      table: this.#table(name),
      mask: this.#mask(name, options.window),
    };
    const copies = this.#copies(name);
    copyBlocks(made.keys, copies);
    copyBlocks(made.values, copies);
    this.#groups.set(key, made);
    return made;
  }

  #writeTokens(): void {
    const group = this.#newGroup('tokens', { kvHeads: 0, headDim: 0, window: undefined });
    const state = this.graph.state('tokens', 'i32', [group.blocks as Dim, dim('page', pageTokens)]);
    this.#tokens = { group, state, table: this.#table('tokens') };
    this.scoped('tokens', () => {
      copyBlocks(state, this.#copies('tokens'));
      tokenWrite<'rows'>(this.ids, state, {
        table: this.#tokens!.table,
        kvPositions: this.kvPositions,
        seqIds: this.seqIds,
      });
    });
  }
}
