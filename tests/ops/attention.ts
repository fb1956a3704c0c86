import type { OpTest } from '../support/compare.js';
import { Random } from '../support/random.js';
import { attention } from '../support/reference.js';
import type { OpCase } from '../support/run_op.js';
import { f32, i32, out, u8 } from './inputs.js';

export interface AttentionShape {
  /** Rows of each sequence of the step. */
  readonly rows: readonly number[];
  /** Keys of each sequence; default: as rows. */
  readonly keys?: readonly number[];
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly causal?: boolean;
  readonly window?: number;
  readonly softcap?: number;
  readonly scale?: number;
  readonly bias?: boolean;
  readonly mask?: boolean;
  readonly probs?: boolean;
  /** A slope for each head. */
  readonly slopes?: boolean;
  /** A bias for each distance up to this many places. */
  readonly relative?: number;
  /** Places with gaps. */
  readonly places?: boolean;
  /** A bias for each of this many places of keys. */
  readonly placeBias?: number;
}

export interface AttentionData {
  readonly shape: Required<Pick<AttentionShape, 'rows' | 'keys' | 'causal' | 'window' | 'softcap' | 'scale'>> &
    AttentionShape;
  readonly q: Float32Array;
  readonly k: Float32Array;
  readonly v: Float32Array;
  readonly bias: Float32Array | undefined;
  readonly mask: Uint8Array | undefined;
  readonly slopes: Float32Array | undefined;
  /** (2 d + 1, heads) */
  readonly relative: Float32Array | undefined;
  readonly places: Int32Array | undefined;
  /** (heads, places) */
  readonly placeBias: Float32Array | undefined;
}

const sum = (x: readonly number[]): number => x.reduce((a, b) => a + b, 0);
export const boundsOf = (x: readonly number[]): number[] => [0, ...x.map((_, i) => sum(x.slice(0, i + 1)))];

export function attentionData(given: AttentionShape, seed = 1): AttentionData {
  const shape = {
    keys: given.rows,
    causal: true,
    window: 0,
    softcap: 0,
    scale: 1 / Math.sqrt(given.headDim),
    ...given,
  };
  const random = new Random(seed);
  const [rows, keys, narrow] = [sum(shape.rows), sum(shape.keys), shape.kvHeads * shape.headDim];
  const gaps = new Random(seed + 1);
  let place = 0;
  const extra = {
    slopes: shape.slopes === true ? gaps.normal(shape.heads, 0.1) : undefined,
    relative: shape.relative === undefined ? undefined : gaps.normal((2 * shape.relative + 1) * shape.heads),
    places:
      shape.places === true
        ? Int32Array.from(
            shape.rows.flatMap((n) => {
              place = 0;
              return Array.from({ length: n }, () => (place += gaps.integer(1, 4)));
            }),
          )
        : undefined,
    placeBias: shape.placeBias === undefined ? undefined : gaps.normal(shape.placeBias * shape.heads),
  };
  return {
    shape,
    ...extra,
    q: random.normal(rows * shape.heads * shape.headDim),
    k: random.normal(keys * narrow),
    v: random.normal(keys * narrow),
    bias: shape.bias === true ? random.normal(shape.heads * rows * keys) : undefined,
    // The last row sees nothing: it gives zeros.
    mask:
      shape.mask === true
        ? Uint8Array.from({ length: rows * keys }, (_, i) => (i < (rows - 1) * keys && random.next() < 0.6 ? 1 : 0))
        : undefined,
  };
}

/** Keys of the widest sequence, and some more that nobody sees. */
export function probKeys(data: AttentionData): number {
  return Math.max(...data.shape.keys) + (data.shape.rows.length > 1 ? 3 : 0);
}

export function attentionAttrs(
  data: AttentionData,
  source: 'rows' | 'cache',
  layer = 0,
): Record<string, number | boolean | string> {
  const { heads, kvHeads, headDim, causal, window, scale, softcap } = data.shape;
  return { source, heads, kv_heads: kvHeads, head_dim: headDim, layer, causal, window, scale, softcap };
}

export function placeInputs(data: AttentionData): Record<string, OpCase['inputs'][string]> {
  const { slopes, relative, placeBias, shape } = data;
  return {
    ...(placeBias === undefined ? {} : { place_bias: f32(placeBias, shape.heads, placeBias.length / shape.heads) }),
    ...(slopes === undefined ? {} : { slopes: f32(slopes, shape.heads) }),
    ...(relative === undefined ? {} : { relative: f32(relative, relative.length / shape.heads, shape.heads) }),
  };
}

/** Attention over rows of the step. */
export function rowsCase(data: AttentionData): OpCase {
  const { shape, q, k, v, bias, mask, places } = data;
  const [rows, keys, wide, narrow] = [
    sum(shape.rows),
    sum(shape.keys),
    shape.heads * shape.headDim,
    shape.kvHeads * shape.headDim,
  ];
  const inputs = {
    q: f32(q, rows, wide),
    k: f32(k, keys, narrow),
    v: f32(v, keys, narrow),
    starts: i32(boundsOf(shape.rows)),
    ...(shape.keys === shape.rows ? {} : { key_starts: i32(boundsOf(shape.keys)) }),
    ...(bias === undefined ? {} : { bias: f32(bias, shape.heads, rows, keys) }),
    ...(mask === undefined ? {} : { mask: u8(mask, rows, keys) }),
    ...placeInputs(data),
    ...(places === undefined ? {} : { places: i32([...places]) }),
  };
  return {
    op: 'attention',
    attrs: attentionAttrs(data, 'rows'),
    inputs,
    outputs: [out(rows, wide), ...(shape.probs === true ? [out(shape.heads, rows, probKeys(data))] : [])],
  };
}

/** The same in float64, sequence by sequence. */
export function attentionReference(data: AttentionData): { y: Float64Array; probs: Float64Array } {
  const { shape } = data;
  const [rows, wide, narrow, width] = [
    sum(shape.rows),
    shape.heads * shape.headDim,
    shape.kvHeads * shape.headDim,
    probKeys(data),
  ];
  const made = { y: new Float64Array(rows * wide), probs: new Float64Array(shape.heads * rows * width) };
  for (const [s, n] of shape.rows.entries()) {
    const [first, from, keys] = [boundsOf(shape.rows)[s]!, boundsOf(shape.keys)[s]!, shape.keys[s]!];
    const last = (i: number): number => (shape.causal ? i + keys - n : keys - 1);
    const placeOf = (j: number): number => data.places?.[from + j] ?? j;
    const apart = (i: number, j: number): number => placeOf(j) - placeOf(shape.causal ? last(i) : i);
    const far = shape.relative ?? 0;
    const byPlace = (h: number, i: number, j: number): number =>
      (data.slopes?.[h] ?? 0) * apart(i, j) +
      (data.placeBias?.[h * shape.placeBias! + Math.min(placeOf(j), shape.placeBias! - 1)] ?? 0) +
      (data.relative?.[(Math.min(far, Math.max(-far, apart(i, j))) + far) * shape.heads + h] ?? 0);
    const sees = (i: number, j: number): boolean =>
      j <= last(i) &&
      (shape.window === 0 || Math.abs(apart(i, j)) < shape.window) &&
      (data.mask === undefined || data.mask[i * keys + j] !== 0);
    const part = attention(
      data.q.subarray(first * wide),
      data.k.subarray(from * narrow),
      data.v.subarray(from * narrow),
      {
        ...{
          rows: n,
          keys,
          heads: shape.heads,
          kvHeads: shape.kvHeads,
          headDim: shape.headDim,
          scale: shape.scale,
          sees,
        },
        ...(shape.softcap === 0 ? {} : { softcap: shape.softcap }),
        bias: Array.from(
          { length: shape.heads * n * keys },
          (_, at) =>
            (data.bias?.[at] ?? 0) + byPlace(Math.floor(at / (n * keys)), Math.floor(at / keys) % n, at % keys),
        ),
      },
    );
    made.y.set(part.y, first * wide);
    for (let h = 0; h < shape.heads; h++) {
      for (let i = 0; i < n; i++)
        made.probs.set(part.probs.subarray((h * n + i) * keys, (h * n + i + 1) * keys), (h * rows + first + i) * width);
    }
  }
  return made;
}

export function shapeName(s: AttentionShape): string {
  const flags = [
    ...(['causal', 'window', 'softcap', 'scale', 'bias', 'mask', 'probs'] as const),
    ...(['slopes', 'relative', 'places', 'placeBias'] as const),
  ];
  const named = flags.filter((f) => s[f] !== undefined).map((f) => `${f} ${s[f]}`);
  return [
    `rows ${s.rows}`,
    ...(s.keys === undefined ? [] : [`keys ${s.keys}`]),
    `heads ${s.heads}/${s.kvHeads} of ${s.headDim}`,
    ...named,
  ].join(', ');
}

export function rowsTest(shape: AttentionShape): OpTest {
  const data = attentionData(shape, sum(shape.rows) + shape.headDim);
  let reference: ReturnType<typeof attentionReference> | undefined;
  return {
    name: shapeName(shape),
    nodes: [rowsCase(data)],
    expected: () => {
      reference ??= attentionReference(data); // once for all tiers
      const { y, probs } = reference;
      return shape.probs === true ? { y, probs } : { y };
    },
    gate: 1e-12,
  };
}

const small = { heads: 2, kvHeads: 1, headDim: 17 };

export const attentionTests: readonly OpTest[] = [
  { rows: [1], heads: 1, kvHeads: 1, headDim: 1 },
  { rows: [3], heads: 3, kvHeads: 3, headDim: 3 },
  { rows: [17], heads: 4, kvHeads: 2, headDim: 16, probs: true },
  { rows: [129], heads: 6, kvHeads: 2, headDim: 17, probs: true },
  { rows: [17, 1, 33], heads: 4, kvHeads: 4, headDim: 8, probs: true },
  { rows: [3, 0, 40], ...small },
  { rows: [0], ...small },
  { rows: [17, 5], causal: false, ...small, probs: true },
  { rows: [5, 17], keys: [40, 3], causal: false, ...small, probs: true },
  { rows: [5], keys: [33], causal: true, ...small },
  { rows: [1], keys: [300], heads: 8, kvHeads: 2, headDim: 64 },
  { rows: [50], window: 7, ...small, probs: true },
  { rows: [50, 33], window: 32, ...small },
  { rows: [300], window: 33, heads: 2, kvHeads: 2, headDim: 32 },
  { rows: [17], softcap: 5, ...small, probs: true },
  { rows: [17], scale: 1, ...small },
  { rows: [17], bias: true, ...small, probs: true },
  { rows: [17], keys: [40], bias: true, causal: false, ...small },
  { rows: [17], mask: true, causal: false, ...small, probs: true },
  { rows: [17], keys: [40], mask: true, bias: true, causal: true, ...small, probs: true },
  ...[255, 256, 257, 600].map((n) => ({ rows: [3], keys: [n], heads: 2, kvHeads: 1, headDim: 32, probs: true })),
  { rows: [600], heads: 1, kvHeads: 1, headDim: 8 },
  { rows: [257], heads: 2, kvHeads: 1, headDim: 40, softcap: 20, window: 100 },
  { rows: [50, 33], window: 8, causal: false, ...small, probs: true },
  { rows: [300], window: 33, causal: false, heads: 2, kvHeads: 2, headDim: 32 },
  { rows: [9, 1], keys: [9, 40], heads: 40, kvHeads: 1, headDim: 8, probs: true },
  { rows: [40, 9], slopes: true, ...small, probs: true },
  { rows: [300], slopes: true, causal: false, heads: 4, kvHeads: 2, headDim: 16 },
  { rows: [40, 33], relative: 12, causal: false, ...small, probs: true },
  { rows: [300, 3], relative: 128, heads: 4, kvHeads: 4, headDim: 16 },
  { rows: [40, 33], relative: 12, slopes: true, places: true, causal: false, ...small, probs: true },
  { rows: [60, 3], window: 9, places: true, causal: false, ...small, probs: true },
  { rows: [40], relative: 5, mask: true, bias: true, ...small, probs: true },
].map(rowsTest);
