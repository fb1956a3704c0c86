/**
 * Reader of GGUF v2 and v3 headers: magic, version, counts, typed metadata, tensor table. Every count and length is
 * checked against the bytes that are left before anything of that size is allocated; parsing pauses for the event loop.
 * Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
 */
import { CorruptFileError, UnsupportedError } from '../errors.js';
import { impostor, type OpenFile, readExactly, withFile } from './files.js';
import {
  type GgufNumbers,
  type GgufScalarType,
  type GgufValue,
  ggmlTypes,
  ggufValueBytes,
  ggufValueTypes,
} from './gguf_types.js';
import { HeaderWindow } from './gguf_window.js';
import type { FileIdentity, TensorEntry } from './types.js';

export type { GgufNumbers, GgufScalarType, GgufValue } from './gguf_types.js';

const kMagic = 0x46554747;
const kMaxKey = 65_535;
const kMaxName = 63;
const kMaxTensors = 1 << 18;
const kMaxAlignment = 1 << 20;
/** Key length, one byte of key, type, one byte of value. */
const kSmallestPair = 14;
/** Name length, one byte of name, rank, one dimension, type, offset. */
const kSmallestTensor = 33;

/** An opened GGUF file. The getters check types: a key of another type is `CorruptFileError`, an absent one `undefined`. */
export class GgufFile {
  readonly path: string;
  readonly identity: FileIdentity;
  readonly version: number;
  readonly alignment: number;
  readonly metadata: ReadonlyMap<string, GgufValue>;
  readonly tensors: Map<string, TensorEntry>;

  constructor(
    identity: FileIdentity,
    version: number,
    alignment: number,
    metadata: ReadonlyMap<string, GgufValue>,
    tensors: Map<string, TensorEntry>,
  ) {
    this.path = identity.path;
    this.identity = identity;
    this.version = version;
    this.alignment = alignment;
    this.metadata = metadata;
    this.tensors = tensors;
  }

  #wrong(key: string, expected: string, value: GgufValue): never {
    const found = value.type === 'array' ? `array of ${value.items}` : value.type;
    throw new CorruptFileError(`metadata ${key} has the wrong type`, { file: this.path, name: key, expected, found });
  }

  string(key: string): string | undefined {
    const item = this.metadata.get(key);
    if (item === undefined) return undefined;
    return item.type === 'string' ? item.value : this.#wrong(key, 'string', item);
  }

  bool(key: string): boolean | undefined {
    const item = this.metadata.get(key);
    if (item === undefined) return undefined;
    return item.type === 'bool' ? item.value : this.#wrong(key, 'bool', item);
  }

  /** Any integer type, exact as a double. */
  int(key: string): number | undefined {
    const item = this.metadata.get(key);
    if (item === undefined) return undefined;
    if (item.type === 'array' || typeof item.value === 'string' || typeof item.value === 'boolean') {
      return this.#wrong(key, 'integer', item);
    }
    if (item.type === 'float32' || item.type === 'float64') return this.#wrong(key, 'integer', item);
    const value = Number(item.value);
    if (Number.isSafeInteger(value)) return value;
    const facts = { file: this.path, name: key, expected: 'at most 2^53 - 1', found: item.value };
    throw new CorruptFileError(`metadata ${key} is too large`, facts);
  }

  float(key: string): number | undefined {
    const item = this.metadata.get(key);
    if (item === undefined) return undefined;
    return item.type === 'float32' || item.type === 'float64' ? item.value : this.#wrong(key, 'float', item);
  }

  strings(key: string): readonly string[] | undefined {
    const item = this.metadata.get(key);
    if (item === undefined) return undefined;
    return item.type === 'array' && item.items === 'string' ? item.value : this.#wrong(key, 'array of string', item);
  }

  /** A numeric array whose items have one of the given types. */
  numbers(key: string, types: readonly Exclude<GgufScalarType, 'string'>[]): GgufNumbers | undefined {
    const item = this.metadata.get(key);
    if (item === undefined) return undefined;
    if (item.type !== 'array' || item.items === 'string' || !types.includes(item.items)) {
      return this.#wrong(key, `array of ${types.join(' or ')}`, item);
    }
    return item.value;
  }
}

/** Opens a file, reads and checks its whole header. Throws `CorruptFileError` or `UnsupportedError`. */
export function readGguf(path: string): Promise<GgufFile> {
  return withFile(path, async (file) => {
    const what = impostor(await readExactly(file, 0, Math.min(file.identity.size, 256)));
    if (what !== undefined) throw new CorruptFileError(what, { file: path });
    return new GgufReader(file).read();
  });
}

interface TensorInfo {
  readonly name: string;
  readonly dims: readonly number[];
  readonly type: number;
  readonly offset: number;
}

class GgufReader {
  readonly #window: HeaderWindow;
  readonly #identity: FileIdentity;
  readonly #metadata = new Map<string, GgufValue>();

  constructor(file: OpenFile) {
    this.#window = new HeaderWindow(file);
    this.#identity = file.identity;
  }

  async read(): Promise<GgufFile> {
    const w = this.#window;
    await w.need(4, 'the magic');
    const magic = w.u32();
    if (magic !== kMagic) {
      const found = `0x${magic.toString(16).padStart(8, '0')}`;
      throw new CorruptFileError('not a GGUF file: bad magic at byte 0', {
        file: w.path,
        expected: '0x46554747',
        found,
      });
    }
    await w.need(20, 'the counts');
    const version = w.u32();
    this.#checkVersion(version);
    const tensorCount = w.u64('number of tensors', Math.min(kMaxTensors, Math.floor(w.left / kSmallestTensor)));
    const pairCount = w.u64('number of metadata pairs', Math.floor(w.left / kSmallestPair));
    for (let index = 0; index < pairCount; index += 1) {
      await this.#readPair();
      if (w.pacer.due()) await w.pacer.pause();
    }
    const infos = new Map<string, TensorInfo>();
    for (let index = 0; index < tensorCount; index += 1) {
      const info = await this.#readInfo();
      if (infos.has(info.name)) w.fail('the tensor occurs twice', { tensor: info.name });
      infos.set(info.name, info);
      if (w.pacer.due()) await w.pacer.pause();
    }
    const alignment = this.#alignment();
    const tensors = await this.#place(infos, alignment);
    return new GgufFile(this.#identity, version, alignment, this.#metadata, tensors);
  }

  #checkVersion(version: number): void {
    if (version === 2 || version === 3) return;
    const swapped = version !== 0 && (version & 0xffff) === 0;
    const message = swapped ? 'a big-endian GGUF file' : 'unknown GGUF version at byte 4';
    throw new UnsupportedError(message, {
      file: this.#window.path,
      expected: 'version 2 or 3, little-endian',
      found: version,
    });
  }

  async #readPair(): Promise<void> {
    const w = this.#window;
    const key = w.stringHere('a metadata key', kMaxKey) ?? (await w.string('a metadata key', kMaxKey));
    if (key === '') w.fail('an empty metadata key');
    if (key.includes('\0')) w.fail('a NUL in a metadata key', { name: key });
    if (this.#metadata.has(key)) w.fail('the metadata key occurs twice', { name: key });
    const what = `metadata ${key}`;
    if (!w.has(4)) await w.need(4, what);
    const type = this.#type(w.u32(), what);
    if (type !== 'array' && type !== 'string' && w.has(8)) this.#metadata.set(key, w.scalar(type, what));
    else this.#metadata.set(key, type === 'array' ? await this.#readArray(what) : await this.#readScalar(type, what));
  }

  #type(number: number, what: string): GgufScalarType | 'array' {
    const type = ggufValueTypes[number];
    return type ?? this.#window.fail(`${what} has an unknown value type`, { expected: '0 to 12', found: number });
  }

  async #readScalar(type: GgufScalarType, what: string): Promise<GgufValue> {
    const w = this.#window;
    if (type === 'string') return { type, value: await w.string(what) };
    await w.need(ggufValueBytes[type], what);
    return w.scalar(type, what);
  }

  async #readArray(what: string): Promise<GgufValue> {
    const w = this.#window;
    await w.need(12, what);
    const items = this.#type(w.u32(), what);
    if (items === 'array') return w.fail(`${what} is an array of arrays`);
    const count = w.u64(`length of ${what}`, Math.floor((w.left - 8) / ggufValueBytes[items]));
    if (items !== 'string') {
      await w.need(count * ggufValueBytes[items], what);
      return { type: 'array', items, value: w.numbers(items, count, what) };
    }
    const value: string[] = [];
    for (let index = 0; index < count; index += 1) {
      value.push(w.stringHere(what) ?? (await w.string(what)));
      if (w.pacer.due()) await w.pacer.pause();
    }
    return { type: 'array', items, value };
  }

  async #readInfo(): Promise<TensorInfo> {
    const w = this.#window;
    const name = w.stringHere('a tensor name', kMaxName) ?? (await w.string('a tensor name', kMaxName));
    if (name === '' || name.includes('\0')) w.fail('a tensor name is empty or holds a NUL', { tensor: name });
    if (!w.has(4)) await w.need(4, 'the tensor table');
    const rank = w.u32();
    if (rank < 1 || rank > 4) w.fail('bad number of dimensions', { tensor: name, expected: '1 to 4', found: rank });
    if (!w.has(8 * rank + 12)) await w.need(8 * rank + 12, 'the tensor table');
    const dims: number[] = [];
    for (let axis = 0; axis < rank; axis += 1)
      dims.push(w.u64(`dimension ${axis} of ${name}`, Number.MAX_SAFE_INTEGER));
    return { name, dims, type: w.u32(), offset: w.u64(`offset of ${name}`, this.#identity.size) };
  }

  #alignment(): number {
    const item = this.#metadata.get('general.alignment');
    if (item === undefined) return 32;
    const facts = { file: this.#window.path, name: 'general.alignment' };
    if (item.type !== 'uint32') {
      throw new CorruptFileError('general.alignment has the wrong type', {
        ...facts,
        expected: 'uint32',
        found: item.type,
      });
    }
    const { value } = item;
    if (value < 1 || value > kMaxAlignment || (value & (value - 1)) !== 0) {
      const expected = `a power of two up to ${kMaxAlignment}`;
      throw new CorruptFileError('bad general.alignment', { ...facts, expected, found: value });
    }
    return value;
  }

  /** Bytes of one tensor: checked once, stored, and used by every later step. */
  #bytes(info: TensorInfo): { entry: Pick<TensorEntry, 'dtype' | 'bytes'> } {
    const facts = { file: this.#window.path, tensor: info.name };
    const known = ggmlTypes.get(info.type);
    if (known === undefined) {
      throw new CorruptFileError('unknown tensor type', { ...facts, expected: 'a GGML type', found: info.type });
    }
    if (typeof known === 'string') {
      throw new UnsupportedError(`the tensor type ${known} was removed from GGUF`, { ...facts, found: info.type });
    }
    const [dtype, block, blockBytes] = known;
    let count = 1;
    for (const dim of info.dims) {
      if (dim === 0) throw new CorruptFileError('a dimension is 0', { ...facts, found: info.dims });
      count *= dim;
    }
    if (count > Number.MAX_SAFE_INTEGER / blockBytes) {
      throw new CorruptFileError('too many elements', {
        ...facts,
        expected: 'fewer than 2^53 bytes',
        found: info.dims,
      });
    }
    const row = info.dims[0] as number;
    if (row % block !== 0) {
      throw new CorruptFileError(`row length is not a multiple of ${dtype}'s block`, {
        ...facts,
        expected: block,
        found: row,
      });
    }
    return { entry: { dtype, bytes: (count / block) * blockBytes } };
  }

  /** Tensors lie one after another, each padded to the alignment, in the order of the table. */
  async #place(infos: ReadonlyMap<string, TensorInfo>, alignment: number): Promise<Map<string, TensorEntry>> {
    const w = this.#window;
    const tensors = new Map<string, TensorEntry>();
    const data = Math.ceil(w.offset / alignment) * alignment;
    let expected = 0;
    for (const info of infos.values()) {
      const { entry } = this.#bytes(info);
      const facts = { file: w.path, tensor: info.name };
      if (info.offset !== expected) {
        const message = 'bad data offset: tensors follow one another without gap or overlap, aligned';
        throw new CorruptFileError(message, { ...facts, expected, found: info.offset });
      }
      const room = w.size - data - info.offset;
      if (entry.bytes > room) {
        throw new CorruptFileError('the file ends inside the tensor', {
          ...facts,
          expected: entry.bytes,
          found: Math.max(room, 0),
        });
      }
      const shape = [...info.dims].reverse();
      tensors.set(info.name, { name: info.name, ...entry, shape, file: w.path, offset: data + info.offset });
      expected += Math.ceil(entry.bytes / alignment) * alignment;
      if (w.pacer.due()) await w.pacer.pause();
    }
    return tensors;
  }
}
