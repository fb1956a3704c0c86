import type { State, Tensor } from '../graph/graph.js';
import { fixed, integer, type OpInfo, require } from './op.js';

export const kvWriteInfo: OpInfo = {
  name: 'kv_write',
  inputs: ['k', 'v', 'keys', 'values', 'table', 'kv_positions', 'seq_ids'],
  outputs: [],
  attrs: { layer: 'integer', kv_heads: 'integer', head_dim: 'integer' },
};

export const tokenWriteInfo: OpInfo = {
  name: 'token_write',
  inputs: ['ids', 'tokens', 'table', 'kv_positions', 'seq_ids'],
  outputs: [],
  attrs: {},
};

/** Types of cached keys and values, with the dtype of their states; q8: int8 with f32 scales beside. */
export const kvTypes = { f32: 'f32', bf16: 'bf16', q8: 'u8' } as const;
export type KvType = keyof typeof kvTypes;
export type KvState = State<(typeof kvTypes)[KvType]>;

export function isKvType(name: unknown): name is KvType {
  return typeof name === 'string' && Object.hasOwn(kvTypes, name);
}

const elementBytes: Readonly<Record<KvType, number>> = { f32: 4, bf16: 2, q8: 1 };
const scaleColumns = 32;

/**
 * Elements of a state that the keys, or the values, of one head take in a block of `tokens`. q8: a scale for each value,
 * and for each 32 columns of a key. As kv_head_bytes of native/ops/kv_write.h.
 */
export function kvHeadSize(type: KvType, part: 'keys' | 'values', headDim: number, tokens: number): number {
  const scales = type !== 'q8' ? 0 : part === 'keys' ? Math.ceil(headDim / scaleColumns) : 1;
  return tokens * (headDim + 4 * scales);
}

export function kvElementBytes(type: KvType): number {
  return elementBytes[type];
}

export interface KvWriteOptions {
  readonly layer: number;
  readonly kvHeads: number;
  readonly headDim: number;
}

/** Where rows of a step go in the cache: block table (seqs, blocks), position and sequence of each row. */
export interface CachePlace<R extends string> {
  readonly table: Tensor<readonly ['seqs', string], 'i32'>;
  readonly kvPositions: Tensor<[R], 'i32'>;
  readonly seqIds: Tensor<[R], 'i32'>;
}

/** Stores k and v (rows, kv_heads · head_dim) of this step in the KV blocks of their sequences, rounded to the states' type. */
export function kvWrite<R extends string>(
  k: Tensor<[R, string], 'f32'>,
  v: Tensor<[R, string], 'f32'>,
  keys: KvState,
  values: KvState,
  place: CachePlace<R>,
  options: KvWriteOptions,
): void {
  const width =
    integer(kvWriteInfo, 'kvHeads', options.kvHeads, 1) * integer(kvWriteInfo, 'headDim', options.headDim, 1);
  for (const x of [k, v])
    require(kvWriteInfo, fixed(kvWriteInfo, x.dims[1]) === width, `${x.name}: width`, width, x.dims[1].size);
  const attrs = {
    layer: integer(kvWriteInfo, 'layer', options.layer, 0),
    kv_heads: options.kvHeads,
    head_dim: options.headDim,
  };
  k.graph.node('kv_write', [k, v, keys, values, place.table, place.kvPositions, place.seqIds], attrs, [], true);
}

/** Stores the ids of this step beside the KV blocks: the history that penalties read. */
export function tokenWrite<R extends string>(
  ids: Tensor<[R], 'i32'>,
  tokens: State<'i32'>,
  place: CachePlace<R>,
): void {
  ids.graph.node('token_write', [ids, tokens, place.table, place.kvPositions, place.seqIds], {}, [], true);
}
