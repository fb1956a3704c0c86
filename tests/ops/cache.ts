import { type KvType, kvHeadSize, kvTypes } from '../../lib/ops/kv_write.js';
import { Random } from '../support/random.js';
import type { OpCase } from '../support/run_op.js';
import { type AttentionData, attentionAttrs, boundsOf, placeInputs, probKeys } from './attention.js';
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
  /** What the states hold; default f32. */
  readonly type?: KvType;
}

export function randomCache(lengths: readonly number[], seed: number, layers = 1): Cache {
  const columns = Math.max(1, ...lengths.map((n) => Math.ceil(n / page)));
  const blocks = columns * lengths.length + 3;
  const table = Int32Array.from(new Random(seed).permutation(blocks).slice(0, columns * lengths.length));
  return { blocks, layers, table, columns };
}

type KvStateInput = { state: string; dtype: (typeof kvTypes)[KvType]; shape: number[] };

export function states(data: AttentionData, cache: Cache): Record<'keys' | 'values', KvStateInput> {
  const type = cache.type ?? 'f32';
  const state = (part: 'keys' | 'values'): KvStateInput => {
    const width = cache.layers * data.shape.kvHeads * kvHeadSize(type, part, data.shape.headDim, page);
    return { state: part, dtype: kvTypes[type], shape: [cache.blocks, width] };
  };
  return { keys: state('keys'), values: state('values') };
}

const bf16 = (x: number): number => {
  const bits = new Uint32Array(Float32Array.of(x).buffer);
  bits[0] = (bits[0]! + 0x7fff + ((bits[0]! >>> 16) & 1)) & 0xffff0000;
  return new Float32Array(bits.buffer)[0]!;
};

/** Values that share a scale, as int8 and back, without the rounding of the product. */
function q8(x: Float32Array): Float64Array {
  const largest = Math.max(...x.map(Math.abs));
  const scale = Math.fround(largest * Math.fround(1 / 127));
  const inverse = Math.fround(127 / largest);
  const even = (v: number): number => (Math.abs(v % 1) === 0.5 ? 2 * Math.round(v / 2) : Math.round(v));
  return Float64Array.from(x, (v) => (largest === 0 ? 0 : even(Math.fround(v * inverse)) * scale));
}

/** The same with keys and values as a cache of that type gives them back; of q8 in float64. */
export function rounded(data: AttentionData, type: KvType): AttentionData {
  const head = data.shape.headDim;
  const groups = (x: Float32Array, size: number): Float64Array => {
    const made = new Float64Array(x.length);
    for (let h = 0; h < x.length; h += head)
      for (let i = 0; i < head; i += size) made.set(q8(x.subarray(h + i, h + Math.min(head, i + size))), h + i);
    return made;
  };
  if (type === 'f32') return data;
  if (type === 'bf16') return { ...data, k: data.k.map(bf16), v: data.v.map(bf16) };
  return { ...data, k: groups(data.k, 32), v: groups(data.v, head) } as unknown as AttentionData;
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
    ...placeInputs(data),
    kv_positions: i32(positions),
  };
  const shapes = [
    out(positions.length, heads * headDim),
    ...(probs === true ? [out(heads, positions.length, probKeys(data))] : []),
  ];
  return { op: 'attention', attrs: attentionAttrs(data, 'cache', layer), inputs, outputs: shapes };
}
