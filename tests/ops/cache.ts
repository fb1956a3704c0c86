import { Random } from '../support/random.js';
import type { OpCase } from '../support/run_op.js';
import { type AttentionData, attentionAttrs, boundsOf, probKeys } from './attention.js';
import { f32, i32, out } from './inputs.js';

/** Tokens of a KV block, as native/ops/kv_write.h has it. */
export const page = 32;

/** Where sequences stand in a cache: a table of blocks in random order. */
export interface Cache {
  readonly blocks: number;
  readonly layers: number;
  /** (seqs, columns) */
  readonly table: Int32Array;
  readonly columns: number;
}

export function randomCache(lengths: readonly number[], seed: number, layers = 1): Cache {
  const columns = Math.max(1, ...lengths.map((n) => Math.ceil(n / page)));
  const blocks = columns * lengths.length + 3;
  const table = Int32Array.from(new Random(seed).permutation(blocks).slice(0, columns * lengths.length));
  return { blocks, layers, table, columns };
}

export function states(
  data: AttentionData,
  cache: Cache,
): Record<'keys' | 'values', { state: string; dtype: 'f32'; shape: number[] }> {
  const width = cache.layers * data.shape.kvHeads * page * data.shape.headDim;
  const state = (name: string) => ({ state: name, dtype: 'f32', shape: [cache.blocks, width] }) as const;
  return {
    keys: { ...state('keys'), shape: [cache.blocks, width] },
    values: { ...state('values'), shape: [cache.blocks, width] },
  };
}

/** Position and sequence of each row when sequences hold these positions. */
export function places(
  counts: readonly number[],
  first: readonly number[] = counts.map(() => 0),
): { positions: number[]; seqIds: number[] } {
  return {
    positions: counts.flatMap((n, s) => Array.from({ length: n }, (_, i) => first[s]! + i)),
    seqIds: counts.flatMap((n, s) => Array<number>(n).fill(s)),
  };
}

/** Writes all keys and values of `data` to the cache. */
export function writeCase(data: AttentionData, cache: Cache, layer = 0): OpCase {
  const { kvHeads, headDim, keys } = data.shape;
  const { positions, seqIds } = places(keys);
  const rows = positions.length;
  return {
    op: 'kv_write',
    attrs: { layer, kv_heads: kvHeads, head_dim: headDim },
    inputs: {
      k: f32(data.k, rows, kvHeads * headDim),
      v: f32(data.v, rows, kvHeads * headDim),
      ...states(data, cache),
      table: i32(cache.table, keys.length, cache.columns),
      kv_positions: i32(positions),
      seq_ids: i32(seqIds),
    },
  };
}

/** Attention of the last rows of each sequence over the cache. */
export function cacheCase(data: AttentionData, cache: Cache, layer = 0): OpCase {
  const { rows, keys, heads, headDim, probs } = data.shape;
  const { positions } = places(
    rows,
    rows.map((n, s) => keys[s]! - n),
  );
  const { keys: k, values: v } = states(data, cache);
  const inputs = {
    q: f32(data.q, positions.length, heads * headDim),
    ...{ k, v },
    starts: i32(boundsOf(rows)),
    table: i32(cache.table, rows.length, cache.columns),
    kv_positions: i32(positions),
  };
  const shapes = [
    out(positions.length, heads * headDim),
    ...(probs === true ? [out(heads, positions.length, probKeys(data))] : []),
  ];
  return { op: 'attention', attrs: attentionAttrs(data, 'cache', layer), inputs, outputs: shapes };
}
