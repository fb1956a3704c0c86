/** Which tensors a GGUF file of a model has, of which types, and how their bytes are made. */
import type { BuiltDecoder } from '../engine/build.js';
import { UnsupportedError } from '../errors.js';
import { isWeightDType, type WeightDType } from '../graph/dtype.js';
import { cast, concatRows, transpose, type WeightExpr } from '../graph/weight_expr.js';
import { separatedHeads } from '../layers/weights.js';
import { expertOf } from '../models/architecture.js';
import { readWeight } from '../runtime/weights.js';
import type { GgufValue } from '../weights/gguf_types.js';
import { fileTypes, type MatrixType, matrixType, type QuantizeType } from '../weights/quantize_rules.js';
import { fileIdentities, storedExpr, storedGgufName } from '../weights/source.js';
import type { Checkpoint, TensorEntry } from '../weights/types.js';
import type { GgufTensor } from '../weights/write_gguf.js';

export interface QuantizedTensor extends MatrixType {
  /** GGUF's name. */
  readonly name: string;
  /** Outermost first. */
  readonly shape: readonly number[];
}

/** A tensor under its published name, in Hugging Face's layout. */
export interface PublishedTensor {
  readonly name: string;
  /** For messages. */
  readonly file: string;
  /** Outermost first. */
  readonly shape: readonly number[];
  /** What it holds as a matrix (rows, cols); a vector of n is (n, 1). */
  expr(rows: number, cols: number): WeightExpr;
}

/** A tensor of the file and how its bytes are made. */
export interface PlannedTensor extends QuantizedTensor {
  readonly expr: WeightExpr;
  /** Heads whose rows GGUF stores interleaved. */
  readonly heads: number | undefined;
  /** GGUF holds Gemma's norms as 1 + weight. */
  readonly plusOne: boolean;
}

/** Elements that are evaluated at a time: what memory holds is a few times this. */
const kPiece = 1 << 20;

/** The stored matrix or vector as an expression of (rows, cols). */
function stored(checkpoint: Checkpoint, entry: TensorEntry, rows: number, cols: number): WeightExpr {
  const { dtype, name: tensor } = entry;
  if (!isWeightDType(dtype))
    throw new UnsupportedError(`weights of type ${dtype} cannot be written`, { file: entry.file, tensor });
  return storedExpr(entry, fileIdentities(checkpoint).get(entry.file)!, dtype, rows, cols);
}

const as = (expr: WeightExpr, dtype: WeightDType): WeightExpr => (expr.dtype === dtype ? expr : cast(expr, dtype));

/** Tensors of a GGUF file keep their names and layout. */
export function planGguf(checkpoint: Checkpoint, built: BuiltDecoder, type: QuantizeType): PlannedTensor[] {
  const model = { layers: built.layers, tied: !checkpoint.tensors.has('output.weight') };
  return Array.from(checkpoint.tensors.values(), (entry) => {
    const { name, shape } = entry;
    const cols = shape.at(-1)!;
    const rows = shape.reduce((n, s) => n * s, 1) / cols;
    const exact = shape.length === 1 || name === 'position_embd.weight' || name.endsWith('.ffn_gate_inp.weight');
    const types: MatrixType = exact ? { wanted: 'f32', type: 'f32' } : matrixType(type, name, cols, model);
    const expr = as(stored(checkpoint, entry, rows, cols), types.type);
    return { name, shape, ...types, expr, heads: undefined, plusOne: false };
  });
}

/** Tensors of a checkpoint in Hugging Face's form. */
export function planSafetensors(checkpoint: Checkpoint, built: BuiltDecoder, type: QuantizeType): PlannedTensor[] {
  const tensors = Array.from(checkpoint.tensors.values(), (entry): PublishedTensor => {
    const { name, file, shape } = entry;
    return { name, file, shape, expr: (rows, cols) => stored(checkpoint, entry, rows, cols) };
  });
  return planPublished(tensors, built, type);
}

/** The matrices of a layer's experts, in order of their numbers, as the one tensor (experts, rows, cols) of GGUF. */
function stackedExperts(parts: readonly PublishedTensor[]): PublishedTensor {
  const ordered = [...parts].sort((a, b) => expertOf(a.name)! - expertOf(b.name)!);
  const { name, file, shape } = ordered[0]!;
  const expr = (rows: number, cols: number): WeightExpr =>
    concatRows(ordered.map((p) => p.expr(rows / ordered.length, cols)));
  return { name, file, shape: [ordered.length, ...shape], expr };
}

/** Tensors by their GGUF names. Throws UnsupportedError for a weight that has none. */
function namedForGguf(tensors: readonly PublishedTensor[], built: BuiltDecoder): Map<string, PublishedTensor> {
  const { gguf } = built.architecture;
  const weights = built.builder.weights;
  const matrices = new Set(weights.matrices.map((m) => m.name));
  const names = new Map<string, PublishedTensor>();
  const experts = new Map<string, PublishedTensor[]>();
  for (const tensor of tensors) {
    const name = gguf === undefined ? undefined : storedGgufName(gguf, tensor.name);
    if (name !== undefined && expertOf(tensor.name) !== undefined)
      experts.set(name, [...(experts.get(name) ?? []), tensor]);
    else if (name !== undefined) names.set(name, tensor);
    else if (matrices.has(tensor.name) || weights.layoutOf(tensor.name) !== undefined)
      throw new UnsupportedError('GGUF has no name for the tensor', { file: tensor.file, tensor: tensor.name });
  }
  for (const [name, parts] of experts) names.set(name, stackedExperts(parts));
  // A tied checkpoint may hold the table under the head's name only.
  const table = names.get('token_embd.weight') ?? names.get('output.weight')!;
  if (names.get('output.weight') === table) names.delete('output.weight');
  return names.set('token_embd.weight', table);
}

/** Tensors of Hugging Face's names and layout, as llama.cpp's converter names and lays them out. */
export function planPublished(
  tensors: readonly PublishedTensor[],
  built: BuiltDecoder,
  type: QuantizeType,
): PlannedTensor[] {
  const weights = built.builder.weights;
  const matrices = new Set(weights.matrices.map((m) => m.name));
  const names = namedForGguf(tensors, built);
  const model = { layers: built.layers, tied: !names.has('output.weight') };
  const gemma = built.architecture.modelType.startsWith('gemma');
  return [...names]
    .sort(([a], [b]) => place(a) - place(b))
    .map(([name, tensor]) => {
      const { conv1d, ggufHeads: heads, exact, perHead } = weights.layoutOf(tensor.name) ?? {};
      const ordered = (e: WeightExpr): WeightExpr => (perHead === undefined ? e : separatedHeads(e, perHead));
      if (!matrices.has(tensor.name)) {
        const n = tensor.shape.reduce((a, b) => a * b, 1);
        const expr = as(ordered(tensor.expr(n, 1)), 'f32');
        const plusOne = gemma && name.endsWith('norm.weight');
        return { name, shape: [n], wanted: 'f32', type: 'f32', expr, heads, plusOne };
      }
      const last = tensor.shape.at(-1)!;
      const first = tensor.shape.reduce((a, b) => a * b, 1) / last;
      const shape = conv1d === true ? [last, first] : tensor.shape;
      const cols = shape.at(-1)!;
      const types: MatrixType = exact === true ? { wanted: 'f32', type: 'f32' } : matrixType(type, name, cols, model);
      const whole = ordered(tensor.expr(first, last));
      const expr = as(conv1d === true ? transpose(whole) : whole, types.type);
      return { name, shape, ...types, expr, heads, plusOne: false };
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
async function* piecesOf({ expr, heads, plusOne }: PlannedTensor): AsyncGenerator<Uint8Array> {
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

export function plannedForGguf(tensor: PlannedTensor): GgufTensor {
  const { name, type: dtype, shape } = tensor;
  return { name, dtype, shape, pieces: () => piecesOf(tensor) };
}

/** Rotary factors, which GGUF holds as tensors. */
export function factorsForGguf(factors: ReadonlyMap<string, Float32Array>): GgufTensor[] {
  return Array.from(factors, ([name, values]): GgufTensor => {
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
}

/** What tells a reader of the file that its matrices are of that type. */
export function setFileType(metadata: Map<string, GgufValue>, type: QuantizeType): void {
  metadata.set('general.file_type', { type: 'uint32', value: fileTypes[type] });
  metadata.set('general.quantization_version', { type: 'uint32', value: 2 });
}
