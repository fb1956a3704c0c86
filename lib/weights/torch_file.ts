/**
 * Reader of `pytorch_model.bin`: a state dict written by torch.save, as a zip archive (since torch 1.6) or in the form before
 * it (pickles one after another, then the storages). Nothing of the file is executed (pickle.ts). Tensors keep lying in
 * the file, to be read by range; only those whose elements are not in row-major order are read and put in order at once.
 */
import { CorruptFileError, OutOfMemoryError, UnsupportedError } from '../errors.js';
import { impostor, type OpenFile, Pacer, readExactly, withFile } from './files.js';
import { PickleEnds, readPickle } from './pickle.js';
import { TorchTable, TorchTensor } from './torch_values.js';
import type { FileIdentity, TensorEntry } from './types.js';
import { readZip, storedAt } from './zip.js';

const kMaxPickle = 64 << 20;
const kFirstRead = 1 << 20;
const kMaxTensors = 1 << 16;
/** First and second pickle of the form before torch 1.6. */
const kMagic = 0x1950a86a20f9469cfc6cn;
const kVersion = 1001;

export interface TorchFile {
  readonly identity: FileIdentity;
  readonly tensors: Map<string, TensorEntry>;
}

/** Where the record of each storage begins, and its bytes. */
type Records = ReadonlyMap<string, { readonly offset: number; readonly bytes: number }>;

interface Opened {
  readonly state: unknown;
  readonly records: Records;
}

/** Reads the table of tensors of one file. Throws `CorruptFileError`, `UnsupportedError`, `OutOfMemoryError`. */
export function readTorchFile(path: string): Promise<TorchFile> {
  return withFile(path, async (file) => {
    const head = await readExactly(file, 0, Math.min(file.identity.size, 512));
    const what = impostor(head.subarray(0, 256));
    if (what !== undefined) throw new CorruptFileError(what, { file: path });
    if (head.toString('latin1', 257, 262) === 'ustar') {
      throw new UnsupportedError('a tar archive of torch before 0.2', { file: path, expected: 'a file of torch.save' });
    }
    const zip = head.toString('latin1', 0, 4) === 'PK\x03\x04';
    const { state, records } = await (zip ? openZip(file) : openLegacy(file));
    return { identity: file.identity, tensors: await readState(file, state, records) };
  });
}

async function openZip(file: OpenFile): Promise<Opened> {
  const path = file.identity.path;
  const zip = await readZip(file);
  const pickles = [...zip.entries.values()].filter(({ name }) => /^[^/]+\/data\.pkl$/.test(name));
  const [entry] = pickles;
  if (entry === undefined || pickles.length > 1) {
    throw new UnsupportedError('not an archive of torch.save', { file: path, expected: 'one entry NAME/data.pkl' });
  }
  const root = entry.name.slice(0, -'data.pkl'.length);
  if (zip.entries.has(`${root}constants.pkl`)) {
    throw new UnsupportedError('a TorchScript archive holds a program', { file: path, expected: 'a state dict' });
  }
  if (entry.size > kMaxPickle) throw tooLong(path, entry.size);
  const order = zip.entries.get(`${root}byteorder`);
  if (order !== undefined) {
    const text = (await readExactly(file, await storedAt(file, zip, order), Math.min(order.size, 16))).toString();
    if (text !== 'little') throw new UnsupportedError('byte order', { file: path, expected: 'little', found: text });
  }
  const offset = await storedAt(file, zip, entry);
  const table = new TorchTable(path);
  const { value } = await readPickle(await readExactly(file, offset, entry.size), { file: path, offset }, table);
  const records = new Map<string, { offset: number; bytes: number }>();
  for (const { key, count, element } of table.storages.values()) {
    const record = zip.entries.get(`${root}data/${key}`);
    const bytes = count * (element?.[1] ?? 1);
    if (record === undefined || record.size < bytes) {
      throw new CorruptFileError(`storage ${key} is missing or too short`, {
        file: path,
        expected: `${bytes} bytes in ${root}data/${key}`,
        found: record?.size,
      });
    }
    records.set(key, { offset: await storedAt(file, zip, record), bytes });
  }
  return { state: value, records };
}

function tooLong(file: string, found: number): CorruptFileError {
  return new CorruptFileError('the pickle is too long', { file, expected: `at most ${kMaxPickle} bytes`, found });
}

/** Pickles one after another: magic number, version, sizes of C types, the state, keys of the storages that follow. */
async function openLegacy(file: OpenFile): Promise<Opened> {
  const { path, size } = file.identity;
  for (let bytes = Math.min(size, kFirstRead); ; bytes = Math.min(size, 4 * bytes)) {
    try {
      return await readLegacy(file, await readExactly(file, 0, bytes));
    } catch (cause) {
      if (!(cause instanceof PickleEnds) || bytes === size) throw cause;
      if (bytes >= kMaxPickle) throw tooLong(path, bytes);
    }
  }
}

async function readLegacy(file: OpenFile, bytes: Buffer): Promise<Opened> {
  const path = file.identity.path;
  const table = new TorchTable(path);
  let at = 0;
  const next = async (): Promise<unknown> => {
    const { value, length } = await readPickle(bytes.subarray(at), { file: path, offset: at }, table);
    at += length;
    return value;
  };
  if ((await next()) !== kMagic) {
    throw new UnsupportedError('a pickle, but not a file of torch.save', { file: path });
  }
  const version = await next();
  if (version !== kVersion) {
    throw new UnsupportedError('version of torch.save', { file: path, expected: kVersion, found: version });
  }
  const system = await next();
  if (system instanceof Map && system.get('little_endian') === false) {
    throw new UnsupportedError('byte order', { file: path, expected: 'little', found: 'big' });
  }
  const state = await next();
  const keys = await next();
  if (!Array.isArray(keys)) throw new CorruptFileError('no list of storages', { file: path, found: `byte ${at}` });
  const records = new Map<string, { offset: number; bytes: number }>();
  for (const key of keys as unknown[]) {
    const storage = typeof key === 'string' ? table.storages.get(key) : undefined;
    if (storage === undefined || records.has(storage.key)) {
      throw new CorruptFileError('a storage that no tensor has, or twice', { file: path, found: key });
    }
    const count = (await readExactly(file, at, 8)).readBigUInt64LE(0);
    const room = count * BigInt(storage.element?.[1] ?? 1);
    if (count !== BigInt(storage.count) || room > BigInt(file.identity.size - at - 8)) {
      const facts = { file: path, expected: `${storage.count} elements that the file holds`, found: count };
      throw new CorruptFileError(`storage ${storage.key} at byte ${at}`, facts);
    }
    records.set(storage.key, { offset: at + 8, bytes: Number(room) });
    at += 8 + Number(room);
  }
  return { state, records };
}

/** The tensors of a state dict by name. */
async function readState(file: OpenFile, state: unknown, records: Records): Promise<Map<string, TensorEntry>> {
  const path = file.identity.path;
  if (!(state instanceof Map) || state.size > kMaxTensors) {
    const expected = `a dict of at most ${kMaxTensors} tensors`;
    throw new UnsupportedError('the file holds something else than a state dict', { file: path, expected });
  }
  const tensors = new Map<string, TensorEntry>();
  const pacer = new Pacer();
  const copier = new Copier(file);
  for (const [name, value] of state) {
    if (typeof name !== 'string' || !(value instanceof TorchTensor)) {
      const found = `${String(typeof name === 'string' ? name : typeof name)}: ${value === null ? 'None' : typeof value}`;
      throw new UnsupportedError('the state dict holds something else than tensors', {
        file: path,
        expected: 'name: tensor',
        found,
      });
    }
    const record = records.get(value.storage.key);
    if (record === undefined)
      throw new CorruptFileError('its storage is not in the file', { file: path, tensor: name });
    const [dtype, bytes] = value.element;
    const offset = record.offset + (value.storage.begin + value.offset) * bytes;
    const { shape } = value;
    const size = value.count * bytes;
    // An empty tensor may lie anywhere.
    const entry: TensorEntry = { name, dtype, shape, file: path, offset: value.count === 0 ? 0 : offset, bytes: size };
    const lies = value.count === 0 || value.contiguous;
    tensors.set(name, lies ? entry : { ...entry, data: await copier.copy(name, value, offset) });
    if (pacer.due()) await pacer.pause();
  }
  return tensors;
}

/** Puts the elements of strided tensors in row-major order. */
class Copier {
  readonly #file: OpenFile;
  /** What may still be read for it: strided views of the same bytes must not multiply them. */
  #left: number;

  constructor(file: OpenFile) {
    this.#file = file;
    this.#left = file.identity.size;
  }

  async copy(name: string, tensor: TorchTensor, offset: number): Promise<Uint8Array> {
    const { shape, stride, count, extent } = tensor;
    const facts = { file: this.#file.identity.path, tensor: name };
    const bytes = tensor.element[1];
    if (count > extent) {
      throw new UnsupportedError('elements of the tensor share memory', { ...facts, found: { shape, stride } });
    }
    this.#left -= extent * bytes;
    if (this.#left < 0) {
      throw new OutOfMemoryError('tensors that are not in row-major order take more than the file', facts);
    }
    const from = await readExactly(this.#file, offset, extent * bytes);
    const to = new Uint8Array(count * bytes);
    const pacer = new Pacer();
    const index = shape.map(() => 0);
    const inner = shape.length - 1;
    const [length, step] = [shape[inner]!, stride[inner]! * bytes];
    for (let done = 0; done < to.length; ) {
      let at = 0;
      for (let d = 0; d < inner; d += 1) at += index[d]! * stride[d]! * bytes;
      for (let i = 0; i < length; i += 1, at += step) {
        for (let b = 0; b < bytes; b += 1) to[done++] = from[at + b]!;
        if ((i & 1023) === 0 && pacer.due()) await pacer.pause();
      }
      for (let d = inner - 1; d >= 0 && ++index[d]! === shape[d]; d -= 1) index[d] = 0;
    }
    return to;
  }
}
