/** Writer of safetensors files: u64 length N, N bytes of JSON, then the tensors' bytes without gaps. */
import { InputError } from '../errors.js';
import { writeAll, writeWhole } from './whole_file.js';

/** A tensor to write; the array's kind decides the dtype: F32 or I64. Row-major. */
export interface WritableTensor {
  readonly shape: readonly number[];
  readonly data: Float32Array | BigInt64Array;
}

/** Little-endian bytes, whatever the machine is. */
function littleEndian(data: Float32Array | BigInt64Array): Buffer {
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  if (new Uint8Array(Uint16Array.of(1).buffer)[0] === 1) return bytes;
  return data instanceof Float32Array ? Buffer.from(bytes).swap32() : Buffer.from(bytes).swap64();
}

function header(tensors: ReadonlyMap<string, WritableTensor>): Buffer {
  const entries: Record<string, unknown> = Object.create(null);
  let at = 0;
  for (const [name, { shape, data }] of tensors) {
    const elements = shape.reduce((n, s) => n * s, 1);
    if (elements !== data.length) {
      throw new InputError('shape and data differ', { tensor: name, expected: elements, found: data.length });
    }
    const dtype = data instanceof Float32Array ? 'F32' : 'I64';
    entries[name] = { dtype, shape, data_offsets: [at, at + data.byteLength] };
    at += data.byteLength;
  }
  const json = Buffer.from(JSON.stringify(entries));
  // Spaces bring the data section to a multiple of 8 bytes, so that readers may map it.
  const padded = Buffer.alloc(8 + Math.ceil(json.length / 8) * 8, 0x20);
  padded.writeBigUInt64LE(BigInt(padded.length - 8));
  json.copy(padded, 8);
  return padded;
}

/** Writes a file whole or not at all: a temporary file beside it takes its name at the end. */
export async function writeSafetensors(
  path: string,
  tensors: ReadonlyMap<string, WritableTensor>,
  signal?: AbortSignal,
): Promise<void> {
  const head = header(tensors);
  const total = [...tensors.values()].reduce((n, { data }) => n + data.byteLength, head.length);
  await writeWhole(path, { overwrite: true, total }, async (file) => {
    await writeAll(file, head);
    for (const { data } of tensors.values()) {
      signal?.throwIfAborted();
      await writeAll(file, littleEndian(data));
    }
  });
}
