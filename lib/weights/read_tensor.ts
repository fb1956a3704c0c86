/** Reading whole tensors of numbers (token ids, masks), where JavaScript itself needs their values. */
import { FileChangedError, InputError, OutOfMemoryError, UnsupportedError } from '../errors.js';
import { readExactly, withFile } from './files.js';
import type { SafetensorsFile } from './safetensors.js';
import type { FileDType, TensorEntry } from './types.js';

/** Numbers of a tensor, row-major; every dtype becomes double, which holds integers up to 2^53 exactly. */
export interface NumberTensor {
  readonly shape: readonly number[];
  readonly dtype: FileDType;
  readonly data: Float64Array;
}

const kMaxElements = 2 ** 27;

type Read = (bytes: Buffer, at: number) => number | bigint;

const readers: Partial<Record<FileDType, readonly [bytes: number, read: Read]>> = {
  bool: [1, (b, i) => b.readUInt8(i)],
  u8: [1, (b, i) => b.readUInt8(i)],
  i8: [1, (b, i) => b.readInt8(i)],
  u16: [2, (b, i) => b.readUInt16LE(i)],
  i16: [2, (b, i) => b.readInt16LE(i)],
  u32: [4, (b, i) => b.readUInt32LE(i)],
  i32: [4, (b, i) => b.readInt32LE(i)],
  u64: [8, (b, i) => b.readBigUInt64LE(i)],
  i64: [8, (b, i) => b.readBigInt64LE(i)],
  f32: [4, (b, i) => b.readFloatLE(i)],
  f64: [8, (b, i) => b.readDoubleLE(i)],
};

function decode(entry: TensorEntry, bytes: Buffer): Float64Array {
  const [size, read] = readers[entry.dtype]!;
  const data = new Float64Array(bytes.length / size);
  for (let i = 0; i < data.length; i++) {
    const value = read(bytes, i * size);
    const number = Number(value);
    if (typeof value === 'bigint' && !Number.isSafeInteger(number)) {
      throw new InputError(`element ${i} is too large`, {
        file: entry.file,
        tensor: entry.name,
        expected: 'at most 2^53 - 1 in size',
        found: value,
      });
    }
    data[i] = number;
  }
  return data;
}

/**
 * Reads the tensors of an opened safetensors file. Throws UnsupportedError (a dtype that holds no plain numbers),
 * OutOfMemoryError (more than 2^27 elements), InputError (64-bit integers beyond 2^53), FileChangedError.
 */
export async function readNumberTensors(file: SafetensorsFile): Promise<Map<string, NumberTensor>> {
  const path = file.identity.path;
  return withFile(path, async (open) => {
    if (open.identity.size !== file.identity.size || open.identity.mtimeNs !== file.identity.mtimeNs) {
      throw new FileChangedError('the file changed since its header was read', { file: path });
    }
    const made = new Map<string, NumberTensor>();
    for (const entry of file.tensors.values()) {
      const { name, dtype, shape } = entry;
      const reader = readers[dtype];
      if (reader === undefined) {
        const expected = Object.keys(readers).join(', ');
        throw new UnsupportedError('unsupported dtype', { file: path, tensor: name, expected, found: dtype });
      }
      if (entry.bytes / reader[0] > kMaxElements) {
        const facts = { file: path, tensor: name, expected: `at most ${kMaxElements} elements`, found: shape };
        throw new OutOfMemoryError('the tensor is too large', facts);
      }
      made.set(name, { shape, dtype, data: decode(entry, await readExactly(open, entry.offset, entry.bytes)) });
    }
    return made;
  });
}
