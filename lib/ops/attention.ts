import type { Graph, Tensor } from '../graph/graph.js';
import { type Dim, dim } from '../graph/shape.js';
import { floats } from '../graph/weight_expr.js';
import type { KvState } from './kv_write.js';
import { finite, fixed, integer, type OpInfo, require, same } from './op.js';

export const attentionInfo: OpInfo = {
  name: 'attention',
  inputs: [
    'q',
    'k',
    'v',
    'starts',
    'table?',
    'kv_positions?',
    'key_starts?',
    'bias?',
    'mask?',
    'slopes?',
    'relative?',
    'places?',
    'place_bias?',
  ],
  outputs: ['y', 'probs?'],
  attrs: {
    source: ['cache', 'rows'],
    heads: 'integer',
    kv_heads: 'integer',
    head_dim: 'integer',
    layer: 'integer',
    causal: 'boolean',
    window: 'integer',
    scale: 'number',
    softcap: 'number',
  },
};

export interface AttentionOptions {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** Factor of the dot products; default 1 / √head_dim. */
  readonly scale?: number;
  /** Only keys less than `window` places from the row's own, which counts; absent: all. */
  readonly window?: number | undefined;
  /** s = softcap · tanh(s / softcap) before masking; absent: none (Gemma 2). */
  readonly softcap?: number | undefined;
  /** One slope per query head: s += slope · (key place − own place) (ALiBi, Press et al. 2022). */
  readonly alibi?: readonly number[] | undefined;
  /** (2 d + 1, heads): s += its row d + (key place − own place), at most d places apart (T5, Raffel et al. 2020). */
  readonly relative?: Tensor<[string, string], 'f32'> | undefined;
  /** (heads, places): s += its column of the key's place, the last one for places behind it. */
  readonly placeBias?: Tensor<[string, string], 'f32'> | undefined;
}

export interface Attended<R extends string> {
  /** (rows, heads · head_dim) */
  readonly y: Tensor<[R, string], 'f32'>;
  /** (heads, rows, keys): weights after softmax; computed only when a program gives them out. */
  readonly probs: Tensor<['heads', R, 'keys'], 'f32'>;
}

/** K and V of a cache group, and where the rows of a step stand in it. */
export interface CacheSource<R extends string> {
  readonly keys: KvState;
  readonly values: KvState;
  readonly layer: number;
  readonly table: Tensor<readonly ['seqs', string], 'i32'>;
  readonly kvPositions: Tensor<[R], 'i32'>;
  readonly starts: Tensor<['seq_bounds'], 'i32'>;
  /** (rows, keys), nonzero = may see, besides the causal rule and the window; one sequence only. */
  readonly mask?: Tensor<[R, 'keys'], 'u8'> | undefined;
}

/** K and V of this step's rows (encoders, direct calls). */
export interface RowSource<K extends string> {
  readonly k: Tensor<[K, string], 'f32'>;
  readonly v: Tensor<[K, string], 'f32'>;
  readonly starts: Tensor<[string], 'i32'>;
  readonly keyStarts?: Tensor<[string], 'i32'> | undefined;
  readonly causal: boolean;
  readonly bias?: Tensor<[string, string, string], 'f32'> | undefined;
  readonly mask?: Tensor<[string, string], 'u8'> | undefined;
  /** (rows): where each row stands in its sequence, for windows, `alibi` and `relative`; absent: 0, 1, … */
  readonly places?: Tensor<[K], 'i32'> | undefined;
}

const slopeWeights = new WeakMap<Graph, Map<readonly number[], Tensor<[string], 'f32'>>>();

/** Slopes as a weight (heads), one for all layers that give the same list. */
function slopesOf(graph: Graph, options: AttentionOptions): Tensor<[string], 'f32'> | undefined {
  const slopes = options.alibi;
  if (slopes === undefined) return undefined;
  require(attentionInfo, slopes.length === options.heads, 'alibi: slopes', options.heads, slopes.length);
  const known = slopeWeights.get(graph) ?? new Map<readonly number[], Tensor<[string], 'f32'>>();
  slopeWeights.set(graph, known);
  const made =
    known.get(slopes) ??
    graph.weight<[string]>(`alibi${known.size === 0 ? '' : known.size}`, floats(Float32Array.from(slopes)), [
      dim(`heads${options.heads}`, options.heads),
    ]);
  known.set(slopes, made);
  return made;
}

function attributes(q: Tensor<[string, string], 'f32'>, options: AttentionOptions): Record<string, number> {
  const heads = integer(attentionInfo, 'heads', options.heads, 1);
  const kvHeads = integer(attentionInfo, 'kvHeads', options.kvHeads, 1);
  const headDim = integer(attentionInfo, 'headDim', options.headDim, 1);
  require(attentionInfo, heads % kvHeads === 0, 'heads must share kv heads evenly', `a multiple of ${kvHeads}`, heads);
  require(attentionInfo, fixed(attentionInfo, q.dims[1]) === heads * headDim, `${q.name}: width`, heads * headDim, q
    .dims[1].size);
  return {
    heads,
    kv_heads: kvHeads,
    head_dim: headDim,
    window: integer(attentionInfo, 'window', options.window ?? 0, 0),
    scale: finite(attentionInfo, 'scale', options.scale ?? 1 / Math.sqrt(headDim)),
    softcap: finite(attentionInfo, 'softcap', options.softcap ?? 0),
  };
}

function outputs<R extends string>(
  q: Tensor<[R, string], 'f32'>,
  heads: number,
  keys: Dim,
): { dims: readonly Dim[]; dtype: 'f32'; optional?: boolean }[] {
  return [
    { dims: q.dims, dtype: 'f32' },
    { dims: [dim(`heads${heads}`, heads), q.dims[0], keys], dtype: 'f32', optional: true },
  ];
}

/** Causal attention over the KV cache; row r sees positions 0 … kv_positions[r] of its sequence. Vaswani et al. 2017. */
export function cachedAttention<R extends string>(
  q: Tensor<[R, string], 'f32'>,
  source: CacheSource<R>,
  keys: Dim,
  options: AttentionOptions,
): Attended<R> {
  const attrs = {
    ...attributes(q, options),
    source: 'cache',
    layer: integer(attentionInfo, 'layer', source.layer, 0),
    causal: true,
  };
  const inputs = [
    q,
    source.keys,
    source.values,
    source.starts,
    source.table,
    source.kvPositions,
    undefined,
    undefined,
    source.mask,
    slopesOf(q.graph, options),
    options.relative,
    undefined,
    options.placeBias,
  ];
  const [y, probs] = q.graph.node('attention', inputs, attrs, outputs(q, options.heads, keys));
  return { y: y as Tensor<[R, string], 'f32'>, probs: probs as unknown as Tensor<['heads', R, 'keys'], 'f32'> };
}

/** Attention over rows of this step, causal or in both directions, with an optional bias and boolean mask. */
export function rowAttention<R extends string, K extends string>(
  q: Tensor<[R, string], 'f32'>,
  source: RowSource<K>,
  keys: Dim,
  options: AttentionOptions,
): Attended<R> {
  const width = options.kvHeads * options.headDim;
  for (const x of [source.k, source.v])
    require(attentionInfo, fixed(attentionInfo, x.dims[1]) === width, `${x.name}: width`, width, x.dims[1].size);
  same(attentionInfo, 'v rows', source.k.dims[0], source.v.dims[0]);
  const attrs = { ...attributes(q, options), source: 'rows', layer: 0, causal: source.causal };
  const inputs = [
    q,
    source.k,
    source.v,
    source.starts,
    undefined,
    undefined,
    source.keyStarts,
    source.bias,
    source.mask,
    slopesOf(q.graph, options),
    options.relative,
    source.places,
    options.placeBias,
  ];
  const [y, probs] = q.graph.node('attention', inputs, attrs, outputs(q, options.heads, keys));
  return { y: y as Tensor<[R, string], 'f32'>, probs: probs as unknown as Tensor<['heads', R, 'keys'], 'f32'> };
}
