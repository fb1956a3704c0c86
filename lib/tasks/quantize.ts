import { basename, resolve } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { type BuiltDecoder, buildCheckpoint } from '../engine/build.js';
import { AbortError, OptionError, UnsupportedError } from '../errors.js';
import { isWeightDType, type WeightDType } from '../graph/dtype.js';
import { cast, transpose, type WeightExpr } from '../graph/weight_expr.js';
import { type PullOptions, resolveModel } from '../hub/index.js';
import { readWeight } from '../runtime/weights.js';
import { specFromFolder } from '../text/from_folder.js';
import { ggufTokenizer } from '../text/to_gguf.js';
import { openCheckpoint } from '../weights/checkpoint.js';
import { readGenerationConfig } from '../weights/generation_config.js';
import type { GgufValue } from '../weights/gguf_types.js';
import {
  fileTypes,
  isQuantizeType,
  type MatrixType,
  matrixType,
  type QuantizeType,
  quantizeTypes,
} from '../weights/quantize_rules.js';
import { storedGgufName } from '../weights/source.js';
import type { Checkpoint, TensorEntry } from '../weights/types.js';
import { checkPlace, type GgufTensor, writeGguf } from '../weights/write_gguf.js';
import { describeForGguf } from '../weights/write_gguf_config.js';
import { hasTokenizer } from './load.js';

export interface QuantizeOptions {
  /** Type of every matrix, or a mixture; `load()`'s option of the same meaning lists the rules. */
  readonly type: QuantizeType;
  /** Whether a file of that name may be replaced. Default false. */
  readonly overwrite?: boolean | undefined;
  /** For hub ids: revision, offline, cacheDir, endpoint, token … */
  readonly hub?: Omit<PullOptions, 'signal'> | undefined;
  /** Bytes written and in all. */
  readonly onProgress?: ((progress: { done: number; total: number }) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface QuantizedTensor extends MatrixType {
  /** GGUF's name. */
  readonly name: string;
  /** Outermost first. */
  readonly shape: readonly number[];
}

export interface QuantizeResult {
  readonly path: string;
  readonly bytes: number;
  readonly tensors: readonly QuantizedTensor[];
  /** What of the model a GGUF file cannot hold, or llama.cpp is known not to heed. */
  readonly notes: readonly string[];
}

/** A tensor of the file and how its bytes are made. */
interface Planned extends QuantizedTensor {
  readonly expr: WeightExpr;
  /** Heads whose rows GGUF stores interleaved. */
  readonly heads: number | undefined;
  /** GGUF holds Gemma's norms as 1 + weight. */
  readonly plusOne: boolean;
}

/** Elements that are evaluated at a time: what memory holds is a few times this. */
const kPiece = 1 << 20;

function checkQuantizeOptions(output: string, options: QuantizeOptions): void {
  if (typeof options !== 'object' || options === null)
    throw new OptionError('quantize: options', { name: 'options', expected: 'an object', found: options });
  const known = ['type', 'overwrite', 'hub', 'onProgress', 'signal'];
  const must = (name: string, good: boolean, expected: string, found: unknown): void => {
    if (!good) throw new OptionError(`quantize: bad ${name}`, { name, expected, found });
  };
  for (const name of Object.keys(options))
    if (!known.includes(name))
      throw new OptionError(`quantize: unknown option ${name}`, { name, expected: known.join(', ') });
  const { type, overwrite, hub, onProgress, signal } = options;
  must('type', isQuantizeType(type), quantizeTypes.join(', '), type);
  must('overwrite', overwrite === undefined || typeof overwrite === 'boolean', 'true or false', overwrite);
  must('hub', hub === undefined || (typeof hub === 'object' && hub !== null), 'an object of options for pull()', hub);
  must('onProgress', onProgress === undefined || typeof onProgress === 'function', 'a function', onProgress);
  must('signal', signal === undefined || signal instanceof AbortSignal, 'an AbortSignal', signal);
  must(
    'output',
    typeof output === 'string' && /[^/\\]\.gguf$/.test(output) && !output.includes('\0'),
    'NAME.gguf',
    output,
  );
}

/** The stored matrix or vector as an expression of (rows, cols). */
function stored(checkpoint: Checkpoint, entry: TensorEntry, rows: number, cols: number): WeightExpr {
  const { dtype, offset, name: tensor } = entry;
  if (!isWeightDType(dtype))
    throw new UnsupportedError(`weights of type ${dtype} cannot be written`, { file: entry.file, tensor });
  const { path, size, inode, mtimeNs } = checkpoint.files.find((f) => f.path === entry.file)!;
  return { kind: 'file', dtype, rows, cols, file: { path, size: BigInt(size), inode, mtimeNs }, offset, tensor };
}

const as = (expr: WeightExpr, dtype: WeightDType): WeightExpr => (expr.dtype === dtype ? expr : cast(expr, dtype));

/** Tensors of a GGUF file keep their names and layout. */
function planGguf(checkpoint: Checkpoint, built: BuiltDecoder, type: QuantizeType): Planned[] {
  const model = { layers: built.layers, tied: !checkpoint.tensors.has('output.weight') };
  return Array.from(checkpoint.tensors.values(), (entry) => {
    const { name, shape } = entry;
    const cols = shape.at(-1)!;
    const rows = shape.reduce((n, s) => n * s, 1) / cols;
    const exact = shape.length === 1 || name === 'position_embd.weight';
    const types: MatrixType = exact ? { wanted: 'f32', type: 'f32' } : matrixType(type, name, cols, model);
    const expr = as(stored(checkpoint, entry, rows, cols), types.type);
    return { name, shape, ...types, expr, heads: undefined, plusOne: false };
  });
}

/** Tensors of Hugging Face's names and layout, as llama.cpp's converter names and lays them out. */
function planSafetensors(checkpoint: Checkpoint, built: BuiltDecoder, type: QuantizeType): Planned[] {
  const { gguf } = built.architecture;
  const weights = built.builder.weights;
  const matrices = new Map(weights.matrices.map((m) => [m.name, m]));
  const names = new Map<string, TensorEntry>();
  for (const entry of checkpoint.tensors.values()) {
    const name = gguf === undefined ? undefined : storedGgufName(gguf, entry.name);
    if (name !== undefined) names.set(name, entry);
    else if (matrices.has(entry.name) || weights.layoutOf(entry.name) !== undefined)
      throw new UnsupportedError('GGUF has no name for the tensor', { file: entry.file, tensor: entry.name });
  }
  // A tied checkpoint may hold the table under the head's name only.
  const table = names.get('token_embd.weight') ?? names.get('output.weight')!;
  if (names.get('output.weight') === table) names.delete('output.weight');
  names.set('token_embd.weight', table);
  const model = { layers: built.layers, tied: !names.has('output.weight') };
  const gemma = built.architecture.modelType.startsWith('gemma');
  return [...names]
    .sort(([a], [b]) => place(a) - place(b))
    .map(([name, entry]) => {
      const matrix = matrices.get(entry.name);
      const { conv1d, ggufHeads: heads, exact } = weights.layoutOf(entry.name) ?? {};
      if (matrix === undefined) {
        const n = entry.shape.reduce((a, b) => a * b, 1);
        const expr = as(stored(checkpoint, entry, n, 1), 'f32');
        const plusOne = gemma && name.endsWith('norm.weight');
        return { name, shape: [n], wanted: 'f32', type: 'f32', expr, heads, plusOne };
      }
      const [first, last] = entry.shape as readonly [number, number];
      const [rows, cols] = conv1d === true ? [last, first] : [first, last];
      const types: MatrixType = exact === true ? { wanted: 'f32', type: 'f32' } : matrixType(type, name, cols, model);
      const whole = stored(checkpoint, entry, first, last);
      const expr = as(conv1d === true ? transpose(whole) : whole, types.type);
      return { name, shape: [rows, cols], ...types, expr, heads, plusOne: false };
    });
}

/** Order in the file: embeddings, layers, output. */
function place(name: string): number {
  const layer = /^blk\.(\d+)\./.exec(name)?.[1];
  return layer !== undefined ? Number(layer) : name.startsWith('output') ? 1 << 20 : -1;
}

/** Rows of each head in halves → interleaved: row i of the first half becomes 2 i, of the second 2 i + 1. */
function interleave(bytes: Uint8Array, rows: number, perHead: number): Uint8Array {
  const stride = bytes.length / rows;
  const made = new Uint8Array(bytes.length);
  for (let r = 0; r < rows; r++) {
    const [base, i] = [r - (r % perHead), r % perHead];
    const half = perHead / 2;
    const to = base + (i < half ? 2 * i : 2 * (i - half) + 1);
    made.set(bytes.subarray(r * stride, (r + 1) * stride), to * stride);
  }
  return made;
}

/** The bytes of a tensor; the next piece is evaluated while one is written. */
async function* piecesOf({ expr, heads, plusOne }: Planned): AsyncGenerator<Uint8Array> {
  const perHead = heads === undefined ? 1 : expr.rows / heads;
  const most = Math.max(perHead, Math.floor(kPiece / expr.cols / perHead) * perHead);
  const read = (row: number): Promise<Uint8Array<ArrayBuffer>> | undefined => {
    if (row >= expr.rows) return undefined;
    const piece = readWeight(expr, row, Math.min(most, expr.rows - row));
    piece.catch(() => undefined); // it may fail before anyone waits for it
    return piece;
  };
  let next = read(0);
  for (let row = 0; next !== undefined; row += most) {
    const bytes = await next;
    next = read(row + most);
    if (plusOne) {
      const values = new Float32Array(bytes.buffer);
      for (let i = 0; i < values.length; i++) values[i] = values[i]! + 1;
    }
    yield heads === undefined ? bytes : interleave(bytes, Math.min(most, expr.rows - row), perHead);
  }
}

const text = (value: string): GgufValue => ({ type: 'string', value });
const number = (value: number): GgufValue => ({ type: 'uint32', value });

/** Name of the model: its folder's, or the hub's. */
function nameOf(path: string): string {
  const full = resolve(path);
  const hub = /models--(.+?)[/\\]snapshots[/\\]/.exec(full)?.[1];
  return hub?.split('--').at(-1) ?? basename(full).replace(/\.(?:gguf|safetensors)$/, '');
}

/** Ids that end a text: GGUF has three names for them. */
function endings(ids: readonly number[], notes: string[]): [string, GgufValue][] {
  const keys = ['eos', 'eot', 'eom'];
  if (ids.length > keys.length)
    notes.push(`GGUF names at most ${keys.length} ids that end a text; left out: ${ids.slice(keys.length).join(', ')}`);
  return ids.slice(0, keys.length).map((value, i) => [`tokenizer.ggml.${keys[i]}_token_id`, number(value)]);
}

/** Metadata of a checkpoint in Hugging Face's form, and the tensors that GGUF holds config values in. */
async function describe(
  checkpoint: Checkpoint,
  built: BuiltDecoder,
): Promise<{ metadata: Map<string, GgufValue>; tensors: GgufTensor[]; notes: string[] }> {
  const { metadata: config, factors, notes: found } = describeForGguf(built.config);
  const notes = [...found];
  const metadata = new Map<string, GgufValue>([
    ['general.type', text('model')],
    ['general.name', text(nameOf(checkpoint.path))],
    ...config,
  ]);
  await nextTurn();
  const defaults = readGenerationConfig(checkpoint, built.config, built.vocabSize);
  const ends = new Set<number>();
  const spec = hasTokenizer(checkpoint.folder) ? specFromFolder(checkpoint.folder) : undefined;
  if (spec === undefined) metadata.set('tokenizer.ggml.model', text('none'));
  else {
    await nextTurn();
    const tokenizer = ggufTokenizer(spec, built.vocabSize);
    for (const [key, value] of tokenizer.metadata) metadata.set(key, value);
    notes.push(...tokenizer.notes);
    for (const id of spec.eosIds) ends.add(id);
  }
  for (const id of defaults.eosTokenIds) ends.add(id);
  for (const [key, value] of endings([...ends], notes)) metadata.set(key, value);
  const { bosTokenId: bos, padTokenId: pad } = defaults;
  if (bos !== undefined && !metadata.has('tokenizer.ggml.bos_token_id'))
    metadata.set('tokenizer.ggml.bos_token_id', number(bos));
  if (pad !== undefined && !metadata.has('tokenizer.ggml.padding_token_id'))
    metadata.set('tokenizer.ggml.padding_token_id', number(pad));
  const tensors = Array.from(factors, ([name, values]): GgufTensor => {
    const bytes = new Uint8Array(values.buffer);
    return {
      name,
      dtype: 'f32',
      shape: [values.length],
      pieces: async function* () {
        yield bytes;
      },
    };
  });
  return { metadata, tensors, notes };
}

/**
 * Writes a model as a GGUF v3 file that llama.cpp reads: `input` is a folder with safetensors, an unquantised .gguf file,
 * or a hub id. Tensors are read, encoded and written piece by piece; the file takes its name when it is whole. Throws
 * OptionError, InputError (the place is taken or cannot be written, the disk is full), UnsupportedError (quantised
 * already; something that GGUF cannot express), what `load()` throws for a bad checkpoint, AbortError. Reading the
 * tokenizer occupies the calling thread for a moment.
 */
export async function quantize(input: string, output: string, options: QuantizeOptions): Promise<QuantizeResult> {
  checkQuantizeOptions(output, options);
  const { type, signal, hub, overwrite = false, onProgress } = options;
  try {
    signal?.throwIfAborted();
    await checkPlace(output, overwrite);
    const found = await resolveModel(input, { ...hub, ...(signal === undefined ? {} : { signal }) });
    const checkpoint = await openCheckpoint(found);
    const built = buildCheckpoint(checkpoint, undefined, type);
    const planned = (checkpoint.kind === 'gguf' ? planGguf : planSafetensors)(checkpoint, built, type);
    const described =
      checkpoint.gguf === undefined
        ? await describe(checkpoint, built)
        : { metadata: copied(checkpoint.gguf.metadata), tensors: [], notes: [] };
    described.metadata.set('general.file_type', number(fileTypes[type]));
    described.metadata.set('general.quantization_version', number(2));
    const tensors = planned.map(
      (p): GgufTensor => ({ name: p.name, dtype: p.type, shape: p.shape, pieces: () => piecesOf(p) }),
    );
    const all = [...described.tensors, ...tensors];
    const bytes = await writeGguf(output, described.metadata, all, { overwrite, onProgress, signal });
    const list = planned.map(({ name, shape, wanted, type: made }) => ({ name, shape, wanted, type: made }));
    return { path: output, bytes, tensors: list, notes: described.notes };
  } catch (cause) {
    throw signal?.aborted === true ? new AbortError(undefined, { cause: signal.reason }) : cause;
  }
}

/** Metadata of another GGUF file, without what belongs to its bytes. */
function copied(metadata: ReadonlyMap<string, GgufValue>): Map<string, GgufValue> {
  return new Map([...metadata].filter(([key]) => key !== 'general.alignment' && !key.startsWith('split.')));
}
