import type { FileIdentity } from '../graph/weight_expr.js';
import type { SourceTensor, WeightSource } from '../layers/weights.js';
import { type GgufNames, ggufName } from '../models/architecture.js';
import type { Checkpoint } from './types.js';

/** The tensors of a checkpoint under Hugging Face's names; native reads them by range from the file. */
export function checkpointSource(checkpoint: Checkpoint, gguf?: GgufNames): WeightSource {
  const files = new Map<string, FileIdentity>();
  for (const f of checkpoint.files)
    files.set(f.path, { path: f.path, size: BigInt(f.size), inode: f.inode, mtimeNs: f.mtimeNs });
  return {
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
        expr: (dtype, rows, cols) => ({
          kind: 'file',
          dtype,
          rows,
          cols,
          file,
          offset: entry.offset,
          tensor: entry.name,
        }),
      };
    },
  };
}
