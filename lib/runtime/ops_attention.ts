import { InputError, OptionError } from '../errors.js';
import { type CallNode, callNodes, type Operand } from './ops_calls.js';
import {
  type CallOptions,
  checkArray,
  checkFlag,
  checkInteger,
  checkNumber,
  checkOptions,
  checkShape,
  type NdArray,
  type ShapeOf,
} from './ops_types.js';

export interface AttentionOptions extends CallOptions {
  /**
   * Which keys a row sees. `none` (default): all. `causal`: query i of n sees keys 0 … i + (keys − n). A matrix (rows,
   * keys), true or nonzero = sees; a row that sees nothing gives zeros.
   */
  readonly mask?: 'none' | 'causal' | readonly (readonly boolean[])[] | Uint8Array;
  /** With `causal`: only the last `window` of those keys, the row's own included. */
  readonly window?: number;
  /** Added to the scores: (heads, rows, keys), or (rows, keys) for every head. T5, ALiBi. */
  readonly bias?: NdArray<2> | NdArray<3>;
  /** Factor of the dot products; default 1 / √head_dim. */
  readonly scale?: number;
  /** s = softcap · tanh(s / softcap) before bias and mask (Gemma 2); absent: none. */
  readonly softcap?: number;
  /** Heads side by side in rank 2; default 1. Rank 3 says it by its shape. */
  readonly heads?: number;
  /** Heads of k and v in rank 2; default `heads`. */
  readonly kvHeads?: number;
  /** Also give the weights after softmax. */
  readonly probs?: boolean;
}

/** Attention with its weights. */
export interface Attended<R extends 2 | 3> {
  /** Shape of q. */
  readonly y: NdArray<R>;
  /** (heads, rows, keys) */
  readonly probs: NdArray<3>;
}

interface Sizes {
  readonly rows: number;
  readonly keys: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
}

function sizesOf(q: NdArray, k: NdArray, v: NdArray, options: AttentionOptions): Sizes {
  checkArray('attention', 'q', q, [2, 3]);
  checkArray('attention', 'k', k, [q.shape.length]);
  checkArray('attention', 'v', v, [q.shape.length]);
  checkShape('attention', 'v', v, k.shape);
  const [rows, keys] = [q.shape[0], k.shape[0]];
  let sizes: Sizes;
  if (q.shape.length === 3) {
    for (const name of ['heads', 'kvHeads'] as const) {
      if (options[name] !== undefined)
        throw new OptionError(`attention: ${name} is for arrays of rank 2`, {
          name,
          expected: 'none: the shape says it',
          found: options[name],
        });
    }
    sizes = { rows, keys, heads: q.shape[1], kvHeads: k.shape[1]!, headDim: q.shape[2]! };
    checkShape('attention', 'k', k, [keys, sizes.kvHeads, sizes.headDim]);
  } else {
    const heads = checkInteger('attention', 'heads', options.heads ?? 1, 1);
    const kvHeads = checkInteger('attention', 'kvHeads', options.kvHeads ?? heads, 1);
    if (q.shape[1]! % heads !== 0)
      throw new InputError('attention: q: width', {
        name: 'q',
        expected: `a multiple of ${heads} heads`,
        found: q.shape[1],
      });
    sizes = { rows, keys, heads, kvHeads, headDim: q.shape[1]! / heads };
    checkShape('attention', 'k', k, [keys, kvHeads * sizes.headDim]);
  }
  if (sizes.headDim < 1 || sizes.heads < 1)
    throw new InputError('attention: q needs a head of at least one entry', { name: 'q', found: `[${q.shape}]` });
  if (sizes.kvHeads < 1 || sizes.heads % sizes.kvHeads !== 0) {
    throw new InputError('attention: heads must share kv heads evenly', {
      name: 'k',
      expected: `a divisor of ${sizes.heads}`,
      found: sizes.kvHeads,
    });
  }
  return sizes;
}

function maskOf(mask: AttentionOptions['mask'], { rows, keys }: Sizes): Uint8Array | undefined {
  if (mask === undefined || mask === 'none' || mask === 'causal') return undefined;
  const expected = `none, causal, or a matrix of ${rows} rows and ${keys} keys`;
  if (mask instanceof Uint8Array) {
    if (mask.length !== rows * keys)
      throw new InputError('attention: mask', { name: 'mask', expected, found: `${mask.length} entries` });
    return mask;
  }
  if (!Array.isArray(mask)) throw new OptionError('attention: mask', { name: 'mask', expected, found: mask });
  const bad = mask.find(
    (row) => !Array.isArray(row) || row.length !== keys || row.some((seen) => typeof seen !== 'boolean'),
  );
  if (mask.length !== rows || bad !== undefined)
    throw new InputError('attention: mask', {
      name: 'mask',
      expected,
      found: bad === undefined ? `${mask.length} rows` : bad,
    });
  return Uint8Array.from(mask.flat() as boolean[], Number);
}

function biasOf(bias: AttentionOptions['bias'], { heads, rows, keys }: Sizes): Float32Array | undefined {
  if (bias === undefined) return undefined;
  checkArray('attention', 'bias', bias, [2, 3]);
  checkShape('attention', 'bias', bias, bias.shape.length === 3 ? [heads, rows, keys] : [rows, keys]);
  if (bias.shape.length === 3) return bias.data;
  const all = new Float32Array(heads * rows * keys);
  for (let h = 0; h < heads; h++) all.set(bias.data, h * rows * keys);
  return all;
}

function attributes(sizes: Sizes, options: AttentionOptions): CallNode['attrs'] {
  const causal = options.mask === 'causal';
  if (options.window !== undefined && !causal)
    throw new OptionError('attention: window needs a causal mask', {
      name: 'mask',
      expected: 'causal',
      found: options.mask ?? 'none',
    });
  const softcap = checkNumber('attention', 'softcap', options.softcap ?? 0);
  if (options.softcap !== undefined && !(softcap > 0))
    throw new OptionError('attention: softcap', { name: 'softcap', expected: 'a positive number', found: softcap });
  return {
    source: 'rows',
    heads: sizes.heads,
    kv_heads: sizes.kvHeads,
    head_dim: sizes.headDim,
    layer: 0,
    causal,
    window: options.window === undefined ? 0 : checkInteger('attention', 'window', options.window, 1),
    scale: checkNumber('attention', 'scale', options.scale ?? 1 / Math.sqrt(sizes.headDim)),
    softcap,
  };
}

const optionNames = ['mask', 'window', 'bias', 'scale', 'softcap', 'heads', 'kvHeads', 'probs'];

/**
 * softmax(scale · q kᵀ + bias) v per head (Vaswani et al. 2017). Rank 3: q (rows, heads, head_dim), k and v (keys, kv_heads,
 * head_dim); rank 2: q (rows, heads · head_dim), k and v (keys, kv_heads · head_dim). Query head h reads kv head
 * ⌊h · kv_heads / heads⌋. Result like q; with `probs` also the weights (heads, rows, keys).
 */
export function attention<R extends 2 | 3>(
  q: NdArray<R>,
  k: NoInfer<NdArray<R>>,
  v: NoInfer<NdArray<R>>,
  options: AttentionOptions & { readonly probs: true },
): Promise<Attended<R>>;
export function attention<R extends 2 | 3>(
  q: NdArray<R>,
  k: NoInfer<NdArray<R>>,
  v: NoInfer<NdArray<R>>,
  options?: AttentionOptions & { readonly probs?: false },
): Promise<NdArray<R>>;
export async function attention<R extends 2 | 3>(
  q: NdArray<R>,
  k: NdArray<R>,
  v: NdArray<R>,
  options: AttentionOptions = {},
): Promise<NdArray<R> | Attended<R>> {
  checkOptions('attention', options, optionNames);
  const wanted = checkFlag('attention', 'probs', options.probs ?? false);
  const sizes = sizesOf(q, k, v, options);
  const [mask, bias, attrs] = [maskOf(options.mask, sizes), biasOf(options.bias, sizes), attributes(sizes, options)];
  const { rows, keys, heads, kvHeads, headDim } = sizes;
  const operands: Record<string, Operand> = {
    q: { dtype: 'f32', data: q.data, dims: ['rows', 'wide'], sizes: [rows, heads * headDim] },
    k: { dtype: 'f32', data: k.data, dims: ['keys', 'narrow'], sizes: [keys, kvHeads * headDim] },
    v: { dtype: 'f32', data: v.data, dims: ['keys', 'narrow'], sizes: [keys, kvHeads * headDim] },
    starts: { dtype: 'i32', data: Int32Array.of(0, rows), dims: ['bounds'], sizes: [2] },
    key_starts: { dtype: 'i32', data: Int32Array.of(0, keys), dims: ['bounds'], sizes: [2] },
  };
  if (bias !== undefined)
    operands.bias = { dtype: 'f32', data: bias, dims: ['heads', 'rows', 'keys'], sizes: [heads, rows, keys] };
  if (mask !== undefined) operands.mask = { dtype: 'u8', data: mask, dims: ['rows', 'keys'], sizes: [rows, keys] };
  const inputs = Object.fromEntries(Object.keys(operands).map((n) => [n, n]));
  const outputs = [['rows', 'wide'], ...(wanted ? [['heads', 'rows', 'keys']] : [])];
  const [data, probs] = await callNodes(
    options.device ?? 'cpu',
    [{ op: 'attention', attrs, inputs, outputs }],
    operands,
    { heads },
  );
  const y: NdArray<R> = { data: data!, shape: [...q.shape] as unknown as ShapeOf<R> };
  return wanted ? { y, probs: { data: probs!, shape: [heads, rows, keys] } } : y;
}

export interface RopeOptions extends CallOptions {
  /** Base of the frequencies θ^(−2i / dims); default 10000. */
  readonly theta?: number;
  /** Frequencies of your own (dims / 2), instead of theta. */
  readonly invFreq?: Float32Array;
  /** Entries of each head that turn; default all of them. */
  readonly dims?: number;
  /** Pairs (2i, 2i + 1) as in GPT-J; default: halves (i, i + dims / 2) as in Hugging Face. */
  readonly interleaved?: boolean;
  /** Factor of cosines and sines (YaRN, longrope); default 1. */
  readonly attentionScaling?: number;
}

function frequenciesOf(options: RopeOptions, headDim: number): Float32Array {
  const dims = checkInteger(
    'rope',
    'dims',
    options.dims ?? (options.invFreq instanceof Float32Array ? 2 * options.invFreq.length : headDim),
    2,
  );
  if (dims % 2 !== 0 || dims > headDim)
    throw new OptionError('rope: dims', { name: 'dims', expected: `an even number up to ${headDim}`, found: dims });
  if (options.invFreq === undefined) {
    const theta = checkNumber('rope', 'theta', options.theta ?? 10_000);
    if (!(theta > 0))
      throw new OptionError('rope: theta', { name: 'theta', expected: 'a positive number', found: theta });
    return Float32Array.from({ length: dims / 2 }, (_, i) => theta ** ((-2 * i) / dims));
  }
  if (options.theta !== undefined)
    throw new OptionError('rope: theta and invFreq exclude each other', { name: 'theta' });
  if (!(options.invFreq instanceof Float32Array) || options.invFreq.length !== dims / 2) {
    throw new OptionError('rope: invFreq', {
      name: 'invFreq',
      expected: `a Float32Array of ${dims / 2}`,
      found: options.invFreq,
    });
  }
  return options.invFreq;
}

/**
 * Rotary position embedding (Su et al. 2021): x (rows, head_dim) or (rows, heads, head_dim), positions (rows) → like x.
 * Angles are computed in double precision.
 */
export async function rope<R extends 2 | 3>(
  x: NdArray<R>,
  positions: Int32Array | readonly number[],
  options: RopeOptions = {},
): Promise<NdArray<R>> {
  checkOptions('rope', options, ['theta', 'invFreq', 'dims', 'interleaved', 'attentionScaling']);
  checkArray('rope', 'x', x, [2, 3]);
  const [rows, headDim] = [x.shape[0], x.shape.at(-1)!];
  const listed = positions instanceof Int32Array || Array.isArray(positions);
  const at = listed && positions.length === rows ? Int32Array.from(positions) : undefined;
  const bad = at === undefined ? -1 : at.findIndex((p, i) => p !== positions[i]);
  if (at === undefined || bad >= 0) {
    throw new InputError('rope: positions', {
      name: 'positions',
      expected: `${rows} integers of 32 bits`,
      found: bad >= 0 ? positions[bad] : listed ? `${positions.length} entries` : positions,
    });
  }
  const interleaved = checkFlag('rope', 'interleaved', options.interleaved ?? false);
  const frequencies = frequenciesOf(options, headDim);
  const scaling = checkNumber('rope', 'attentionScaling', options.attentionScaling ?? 1);
  const tableAttrs = {
    rule: 'static',
    attention_scaling: scaling,
    attention_scaling_long: scaling,
    theta: 0,
    factor: 1,
    original: 0,
  };
  const operands: Record<string, Operand> = {
    x: {
      dtype: 'f32',
      data: x.data,
      dims: ['rows', 'cols'],
      sizes: [rows, x.shape.slice(1).reduce((a, b) => a * b, 1)],
    },
    positions: { dtype: 'i32', data: at, dims: ['rows'], sizes: [rows] },
    inv_freq: { dtype: 'f32', data: frequencies, dims: ['variants', 'half'], sizes: [1, frequencies.length] },
  };
  const nodes: CallNode[] = [
    {
      op: 'rope_table',
      attrs: tableAttrs,
      inputs: { positions: 'positions', inv_freq: 'inv_freq' },
      outputs: [['rows', 'turned']],
    },
    {
      op: 'rope',
      attrs: { head_dim: headDim, interleaved },
      inputs: { x: 'x', table: 0 },
      outputs: [['rows', 'cols']],
    },
  ];
  const [data] = await callNodes(options.device ?? 'cpu', nodes, operands, { turned: 2 * frequencies.length });
  return { data: data!, shape: [...x.shape] as unknown as ShapeOf<R> };
}
