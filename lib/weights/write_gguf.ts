/**
 * Writer of GGUF v3: header, metadata, tensor table, then the tensors one after another, each padded to 32 bytes. Tensors
 * are streamed, so memory holds the header and one piece. Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
 */
import type { FileHandle } from 'node:fs/promises';
import { InputError } from '../errors.js';
import { Pacer } from './files.js';
import { type GgufScalarType, type GgufValue, ggmlTypes, ggufValueTypes } from './gguf_types.js';
import type { FileDType } from './types.js';
import { writeAll, writeWhole } from './whole_file.js';

/** A tensor to write: its bytes come in pieces of any size, rows one after another. */
export interface GgufTensor {
  readonly name: string;
  readonly dtype: FileDType;
  /** Outermost first; the last one fills whole blocks of the type. */
  readonly shape: readonly number[];
  pieces(): AsyncIterable<Uint8Array>;
}

export interface WriteGgufOptions {
  /** Whether a file of that name may be replaced. Default false. */
  readonly overwrite?: boolean | undefined;
  /** Bytes written and in all. */
  readonly onProgress?: ((progress: { done: number; total: number }) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

const kAlignment = 32;
const kMagic = 0x46554747;
const kVersion = 3;
const kMaxName = 63;

/** Number, elements and bytes of a block of each type that a file may hold. */
const kTypes: ReadonlyMap<FileDType, readonly [number: number, block: number, bytes: number]> = new Map(
  [...ggmlTypes].flatMap(([number, type]) =>
    typeof type === 'string' ? [] : [[type[0], [number, type[1], type[2]]] as const],
  ),
);

const padded = (bytes: number): number => Math.ceil(bytes / kAlignment) * kAlignment;

/** Bytes of a tensor. Throws InputError for a shape that GGUF cannot hold. */
function tensorBytes({ name, dtype, shape }: GgufTensor): number {
  const type = kTypes.get(dtype);
  const bad = (message: string, expected: unknown, found: unknown): never => {
    throw new InputError(message, { tensor: name, expected, found });
  };
  if (type === undefined) return bad('no GGUF type', [...kTypes.keys()].join(', '), dtype);
  if (Buffer.byteLength(name) > kMaxName) bad('the name is too long for GGUF', `at most ${kMaxName} bytes`, name);
  if (shape.length < 1 || shape.length > 4 || !shape.every((n) => Number.isSafeInteger(n) && n > 0))
    bad('bad shape', '1 to 4 sizes from 1', shape);
  const [, block, bytes] = type;
  if ((shape.at(-1) as number) % block !== 0) bad(`rows of ${dtype} come in blocks`, `a multiple of ${block}`, shape);
  return (shape.reduce((n, s) => n * s, 1) / block) * bytes;
}

/** Little-endian bytes in a buffer that grows. */
class Bytes {
  #buffer = Buffer.allocUnsafe(1 << 16);
  #length = 0;

  #room(bytes: number): number {
    const at = this.#length;
    this.#length += bytes;
    if (this.#length > this.#buffer.length) {
      const larger = Buffer.allocUnsafe(Math.max(this.#length, 2 * this.#buffer.length));
      this.#buffer.copy(larger, 0, 0, at);
      this.#buffer = larger;
    }
    return at;
  }

  u32(value: number): void {
    const at = this.#room(4);
    this.#buffer.writeUInt32LE(value, at);
  }

  u64(value: number | bigint): void {
    const at = this.#room(8);
    this.#buffer.writeBigUInt64LE(BigInt(value), at);
  }

  string(text: string): void {
    const bytes = Buffer.byteLength(text);
    this.u64(bytes);
    const at = this.#room(bytes);
    this.#buffer.write(text, at, 'utf8');
  }

  scalar(type: GgufScalarType, value: number | bigint | boolean | string): void {
    if (type === 'string') {
      this.string(String(value));
      return;
    }
    const size = type === 'bool' || type.endsWith('nt8') ? 1 : type.endsWith('64') ? 8 : type.endsWith('16') ? 2 : 4;
    const at = this.#room(size);
    const b = this.#buffer;
    if (type === 'float32') b.writeFloatLE(Number(value), at);
    else if (type === 'float64') b.writeDoubleLE(Number(value), at);
    else if (type === 'uint64') b.writeBigUInt64LE(BigInt(value as bigint), at);
    else if (type === 'int64') b.writeBigInt64LE(BigInt(value as bigint), at);
    else if (type.startsWith('i')) b.writeIntLE(Number(value), at, size);
    else b.writeUIntLE(Number(value), at, size);
  }

  /** Everything so far, with zeros up to the alignment. */
  finish(): Buffer {
    const length = this.#length;
    this.#room(padded(length) - length);
    return this.#buffer.fill(0, length, this.#length).subarray(0, this.#length);
  }
}

const typeNumber = (type: GgufScalarType | 'array'): number => ggufValueTypes.indexOf(type);

async function value(out: Bytes, item: GgufValue, pacer: Pacer): Promise<void> {
  out.u32(typeNumber(item.type));
  if (item.type !== 'array') {
    out.scalar(item.type, item.value);
    return;
  }
  out.u32(typeNumber(item.items));
  out.u64(item.value.length);
  for (const entry of item.value) {
    out.scalar(item.items, entry);
    if (pacer.due()) await pacer.pause();
  }
}

async function header(
  metadata: ReadonlyMap<string, GgufValue>,
  tensors: readonly (readonly [GgufTensor, number])[],
): Promise<Buffer> {
  const [out, pacer] = [new Bytes(), new Pacer()];
  out.u32(kMagic);
  out.u32(kVersion);
  out.u64(tensors.length);
  out.u64(metadata.size);
  for (const [key, item] of metadata) {
    out.string(key);
    await value(out, item, pacer);
  }
  let offset = 0;
  for (const [{ name, shape, dtype }, bytes] of tensors) {
    out.string(name);
    out.u32(shape.length);
    for (const size of [...shape].reverse()) out.u64(size);
    out.u32(kTypes.get(dtype)![0]);
    out.u64(offset);
    offset += padded(bytes);
  }
  return out.finish();
}

async function fill(
  file: FileHandle,
  head: Buffer,
  tensors: readonly (readonly [GgufTensor, number])[],
  report: (bytes: number) => void,
  signal: AbortSignal | undefined,
): Promise<void> {
  const put = async (bytes: Uint8Array): Promise<void> => {
    signal?.throwIfAborted();
    await writeAll(file, bytes);
    report(bytes.length);
  };
  await put(head);
  for (const [tensor, bytes] of tensors) {
    let done = 0;
    for await (const piece of tensor.pieces()) {
      done += piece.length;
      await put(piece);
    }
    if (done !== bytes)
      throw new InputError('another number of bytes than its shape', {
        tensor: tensor.name,
        expected: bytes,
        found: done,
      });
    await put(new Uint8Array(padded(bytes) - bytes));
  }
}

/**
 * Writes a GGUF file whole or not at all: a temporary file beside it takes its name at the end. Returns its size. Throws
 * InputError: the name is taken, the folder cannot be written, the disk is full.
 */
export async function writeGguf(
  path: string,
  metadata: ReadonlyMap<string, GgufValue>,
  tensors: readonly GgufTensor[],
  options: WriteGgufOptions = {},
): Promise<number> {
  const sized = tensors.map((tensor) => [tensor, tensorBytes(tensor)] as const);
  const head = await header(metadata, sized);
  const total = sized.reduce((n, [, bytes]) => n + padded(bytes), head.length);
  let done = 0;
  const report = (bytes: number): void => {
    done += bytes;
    options.onProgress?.({ done, total });
  };
  const place = { overwrite: options.overwrite === true, total };
  await writeWhole(path, place, (file) => fill(file, head, sized, report, options.signal));
  return total;
}
