import { UnsupportedError } from '../errors.js';
import type { FileIdentity, WeightExpr } from '../graph/weight_expr.js';
import type { SourceTensor, WeightSource } from '../layers/weights.js';
import { type GgufNames, ggufName } from '../models/architecture.js';
import { matrixType, type QuantizeType } from './quantize_rules.js';
import type { Checkpoint, TensorEntry } from './types.js';

/** GGUF's name of a tensor whose name may lack the base model's prefix; undefined: the table has none. */
export function storedGgufName(names: GgufNames, name: string): string | undefined {
  return ggufName(names, name) ?? ggufName(names, `model.${name}`) ?? ggufName(names, `transformer.${name}`);
}

/** Types of blocks; anything else that is no weight type is refused where a weight of it is used. */
const kBlocks = /^(?:i?q|tq|mxfp|nvfp)\d/;

/** Quantised blocks are never decoded and quantised again: that would lose quality in silence. */
export function refuseQuantised(checkpoint: Checkpoint): void {
  for (const { name, dtype, file } of checkpoint.tensors.values()) {
    if (!kBlocks.test(dtype)) continue;
    throw new UnsupportedError('the weights are already quantised, and quantising them again would lose quality', {
      file,
      tensor: name,
      expected: 'f32, f16 or bf16',
      found: dtype,
      hint: 'Quantise the original checkpoint, or load this one as it is',
    });
  }
}

function quantizer(
  checkpoint: Checkpoint,
  gguf: GgufNames | undefined,
  quantize: QuantizeType,
  layers: number,
): NonNullable<WeightSource['quantize']> {
  refuseQuantised(checkpoint);
  const as = (name: string): string => (gguf === undefined ? undefined : storedGgufName(gguf, name)) ?? name;
  const tied = ![...checkpoint.tensors.keys()].some((name) => name === 'output.weight' || as(name) === 'output.weight');
  return (name, cols) => matrixType(quantize, as(name), cols, { layers, tied });
}

/** The bytes of a stored tensor as a matrix of these sizes. */
export function storedExpr(
  entry: TensorEntry,
  file: FileIdentity,
  dtype: WeightExpr['dtype'],
  rows: number,
  cols: number,
): WeightExpr {
  const { data, offset, name: tensor } = entry;
  if (data !== undefined) return { kind: 'bytes', dtype, rows, cols, data };
  return { kind: 'file', dtype, rows, cols, file, offset, tensor };
}

/** Identities of a checkpoint's files, as native compares them, by path. */
export function fileIdentities(checkpoint: Checkpoint): Map<string, FileIdentity> {
  return new Map(
    checkpoint.files.map(({ path, size, inode, mtimeNs }) => [path, { path, size: BigInt(size), inode, mtimeNs }]),
  );
}

/**
 * The tensors of a checkpoint under Hugging Face's names; native reads them by range from the file. `quantize`: what its
 * matrices are packed in. Throws UnsupportedError where they are quantised already.
 */
export function checkpointSource(
  checkpoint: Checkpoint,
  gguf?: GgufNames,
  quantize?: { readonly type: QuantizeType; readonly layers: number },
): WeightSource {
  const files = fileIdentities(checkpoint);
  return {
    quantize: quantize === undefined ? undefined : quantizer(checkpoint, gguf, quantize.type, quantize.layers),
    kind: checkpoint.kind,
    file: checkpoint.path,
    names: [...checkpoint.tensors.keys()].filter((n) => !checkpoint.absorbed.has(n)),
    find(name: string): SourceTensor | undefined {
      const stored = checkpoint.kind === 'gguf' ? (gguf === undefined ? undefined : ggufName(gguf, name)) : name;
      const entry = stored === undefined ? undefined : checkpoint.tensors.get(stored);
      if (entry === undefined) return undefined;
      const file = files.get(entry.file)!;
      return {
        name: entry.name,
        dtype: entry.dtype,
        shape: entry.shape,
        expr: (dtype, rows, cols) => storedExpr(entry, file, dtype, rows, cols),
      };
    },
  };
}
