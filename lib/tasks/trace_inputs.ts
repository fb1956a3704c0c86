import { InputError } from '../errors.js';

/** A float tensor with its shape, row-major. */
export interface TraceTensor {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

/** Numbers of each place of the padded batch: (batch, length). */
export interface TraceInput {
  readonly shape: readonly number[];
  readonly data: ArrayLike<number>;
}

/** Integer inputs under Hugging Face's names, batch first: (batch, length). */
export interface TraceInputs {
  readonly inputIds: TraceInput;
  readonly attentionMask?: TraceInput | undefined;
  /** Segments of an encoder's texts. */
  readonly tokenTypeIds?: TraceInput | undefined;
  readonly positionIds?: TraceInput | undefined;
  /** What an encoder-decoder has written so far, (batch, decoder length). */
  readonly decoderInputIds?: TraceInput | undefined;
  readonly decoderAttentionMask?: TraceInput | undefined;
}

/** A row of the batch without padding. */
export interface TraceRow {
  /** Columns of the padded row that are not masked. */
  readonly kept: readonly number[];
  readonly ids: readonly number[];
  /** As given; undefined: the model's own rule. */
  readonly positions: readonly number[] | undefined;
  readonly tokenTypes: readonly number[];
  /** All of the padded row, masked places too. */
  readonly padded: { readonly ids: readonly number[]; readonly tokenTypes: readonly number[] };
}

export interface TraceRows {
  readonly rows: readonly TraceRow[];
  readonly batch: number;
  readonly length: number;
}

/** What the ids of a batch must stay below. */
export interface TraceLimits {
  readonly vocabSize: number;
  readonly positions: number | undefined;
  /** Positions count the unmasked tokens of a row. */
  readonly counted?: boolean;
  readonly segments?: number | undefined;
}

/** The decoder's inputs of an encoder-decoder as inputs of their own. */
export function decoderInputs(inputs: Pick<TraceInputs, 'decoderAttentionMask'>, inputIds: TraceInput): TraceInputs {
  return { inputIds, attentionMask: inputs.decoderAttentionMask };
}

const names = {
  inputIds: 'input_ids',
  attentionMask: 'attention_mask',
  tokenTypeIds: 'token_type_ids',
  positionIds: 'position_ids',
  decoderInputIds: 'decoder_input_ids',
  decoderAttentionMask: 'decoder_attention_mask',
} as const;

/** Every input is a (batch, length) list of numbers of its shape, all alike. Throws InputError. */
function checkInputs(inputs: TraceInputs): void {
  if (typeof inputs !== 'object' || inputs === null) throw new InputError('no inputs', { found: inputs });
  const unknown = Object.keys(inputs).find((key) => !Object.hasOwn(names, key));
  if (unknown !== undefined)
    throw new InputError(`unknown input ${unknown}`, { expected: Object.keys(names).join(', ') });
  for (const [key, name] of Object.entries(names)) {
    const t = inputs[key as keyof TraceInputs];
    if (t === undefined && key !== 'inputIds') continue;
    const { shape, data } = (t ?? {}) as { shape?: unknown; data?: unknown };
    if (!Array.isArray(shape) || shape.length !== 2 || !shape.every((n) => Number.isSafeInteger(n) && n > 0))
      throw new InputError(`${name} must be (batch, length)`, { name, expected: 'two sizes from 1', found: shape });
    const listed = Array.isArray(data) || (ArrayBuffer.isView(data) && !(data instanceof DataView));
    const count = listed ? (data as unknown as ArrayLike<number>).length : undefined;
    if (count !== shape[0] * shape[1])
      throw new InputError(`${name} must hold one number for each place of its shape`, {
        name,
        expected: shape[0] * shape[1],
        found: count ?? data,
      });
    const first = key.startsWith('decoder') ? inputs.decoderInputIds : inputs.inputIds;
    const expected = first?.shape ?? [];
    if (shape[0] !== expected[0] || shape[1] !== expected[1])
      throw new InputError(`${name} must have the shape of its input ids`, { name, expected, found: shape });
  }
}

function checkRange(name: string, value: number, limit: number): void {
  if (!Number.isInteger(value) || value < 0 || value >= limit)
    throw new InputError(`${name} is out of range`, { expected: `0 to ${limit - 1}`, found: value });
}

/** Rows of a padded batch without what the mask hides. Throws InputError. */
export function readTraceRows(inputs: TraceInputs, limits: TraceLimits): TraceRows {
  checkInputs(inputs);
  const [batch, length] = inputs.inputIds.shape as readonly [number, number];
  const columns = Array.from({ length }, (_, c) => c);
  const rows = Array.from({ length: batch }, (_, b): TraceRow => {
    const at = (t: TraceInput, c: number): number => Number(t.data[b * length + c]);
    const row = (t: TraceInput | undefined, of: readonly number[]): number[] =>
      of.map((c) => (t === undefined ? 0 : at(t, c)));
    const mask = inputs.attentionMask;
    const kept = columns.filter((c) => {
      const seen = mask === undefined ? 1 : at(mask, c);
      if (seen !== 0 && seen !== 1)
        throw new InputError(`attention_mask[${b}, ${c}]`, { name: 'attention_mask', expected: '0 or 1', found: seen });
      return seen === 1;
    });
    if (kept.length === 0) throw new InputError(`row ${b} of the batch is wholly masked`);
    const ids = row(inputs.inputIds, kept);
    const positions = inputs.positionIds === undefined ? undefined : row(inputs.positionIds, kept);
    const tokenTypes = row(inputs.tokenTypeIds, kept);
    for (const [i, c] of kept.entries()) {
      checkRange(`input_ids[${b}, ${c}]`, ids[i]!, limits.vocabSize);
      checkRange(
        `position of input_ids[${b}, ${c}]`,
        positions?.[i] ?? (limits.counted === true ? i : c),
        limits.positions ?? 2 ** 30,
      );
      checkRange(`token_type_ids[${b}, ${c}]`, tokenTypes[i]!, limits.segments ?? 1);
    }
    const padded = { ids: row(inputs.inputIds, columns), tokenTypes: row(inputs.tokenTypeIds, columns) };
    return { kept, ids, positions, tokenTypes, padded };
  });
  return { rows, batch, length };
}

/** A result over the kept rows, placed in zeros of the padded size (batch, heads, length, width); `keys`: columns of attention maps. */
export function scatterRows(
  into: Float32Array,
  batch: number,
  kept: readonly number[],
  data: Float32Array,
  heads: number,
  length: number,
  width: number,
  keys: readonly number[] | undefined,
): void {
  const n = kept.length;
  for (let h = 0; h < heads; h++) {
    for (const [i, r] of kept.entries()) {
      const to = ((batch * heads + h) * length + r) * width;
      if (keys === undefined) into.set(data.subarray(i * width, (i + 1) * width), to);
      else for (const [j, k] of keys.entries()) into[to + k] = data[(h * n + i) * keys.length + j]!;
    }
  }
}
