/**
 * The directory of a zip archive (APPNOTE 6.3.10, with its 64-bit fields) and where stored entries lie in the file. Nothing
 * is inflated: torch.save stores without compression, so that tensors can be read by range.
 */
import { CorruptFileError, type ErrorFacts, UnsupportedError } from '../errors.js';
import { type OpenFile, Pacer, readExactly } from './files.js';

const kEnd = 0x06054b50;
const kEnd64 = 0x06064b50;
const kLocator64 = 0x07064b50;
const kEntry = 0x02014b50;
const kLocal = 0x04034b50;
const kMaxDirectory = 64 << 20;
const kMaxEntries = 1 << 18;

export interface ZipEntry {
  readonly name: string;
  /** Bytes of the content. */
  readonly size: number;
  /** 0: stored as it is. */
  readonly method: number;
  readonly encrypted: boolean;
  /** Absolute offset of the local header. */
  readonly header: number;
}

export interface ZipDirectory {
  readonly entries: ReadonlyMap<string, ZipEntry>;
  /** Absolute offset of the directory: contents end before it. */
  readonly end: number;
}

function corrupt(file: OpenFile, message: string, facts: ErrorFacts = {}): CorruptFileError {
  return new CorruptFileError(message, { file: file.identity.path, ...facts });
}

function u64(bytes: Buffer, at: number, file: OpenFile): number {
  const value = bytes.readBigUInt64LE(at);
  if (value > BigInt(file.identity.size)) {
    throw corrupt(file, 'a 64-bit size or offset lies outside of the archive', {
      expected: file.identity.size,
      found: value,
    });
  }
  return Number(value);
}

interface Bounds {
  readonly begin: number;
  readonly bytes: number;
  readonly count: number;
}

/** The end record, and its 64-bit form where its fields are full. */
async function readBounds(file: OpenFile): Promise<Bounds> {
  const { size } = file.identity;
  const from = Math.max(0, size - 22 - 0xffff);
  const tail = await readExactly(file, from, size - from);
  let at = tail.length - 22;
  // The record's comment reaches to the end of the file.
  while (at >= 0 && !(tail.readUInt32LE(at) === kEnd && at + 22 + tail.readUInt16LE(at + 20) === tail.length)) at -= 1;
  if (at < 0) throw corrupt(file, 'no end of a zip archive: the file is cut off, or longer than it was');
  const [disk, count] = [tail.readUInt16LE(at + 4), tail.readUInt16LE(at + 10)];
  const [bytes, begin] = [tail.readUInt32LE(at + 12), tail.readUInt32LE(at + 16)];
  const end = from + at;
  const locator = at >= 20 && tail.readUInt32LE(at - 20) === kLocator64 ? at - 20 : undefined;
  if (locator === undefined) {
    if (disk !== 0) throw corrupt(file, 'a zip archive in several parts');
    return checked(file, { begin, bytes, count }, end);
  }
  const place = u64(tail, locator + 8, file);
  if (place + 56 > end) throw corrupt(file, 'the 64-bit end record lies outside of the archive', { found: place });
  const record = await readExactly(file, place, 56);
  if (record.readUInt32LE(0) !== kEnd64) throw corrupt(file, 'no 64-bit end record', { found: `byte ${place}` });
  return checked(
    file,
    { begin: u64(record, 48, file), bytes: u64(record, 40, file), count: u64(record, 32, file) },
    place,
  );
}

function checked(file: OpenFile, bounds: Bounds, end: number): Bounds {
  const { begin, bytes, count } = bounds;
  if (begin + bytes > end || bytes > kMaxDirectory || count > kMaxEntries) {
    const expected = `at most ${kMaxEntries} entries in ${kMaxDirectory} bytes that end by byte ${end}`;
    throw corrupt(file, 'bad directory of the archive', {
      expected,
      found: `${count} entries in ${bytes} bytes from byte ${begin}`,
    });
  }
  return bounds;
}

/** Sizes and offset that do not fit 32 bits stand in the extra field 1, in this order, those that are full only. */
function wide(extra: Buffer, file: OpenFile, fields: readonly number[]): number[] {
  for (let at = 0; at + 4 <= extra.length; ) {
    const [id, bytes] = [extra.readUInt16LE(at), extra.readUInt16LE(at + 2)];
    const end = at + 4 + bytes;
    if (end > extra.length) break;
    if (id === 1) {
      let next = at + 4;
      return fields.map((field) => {
        if (field !== 0xffffffff) return field;
        if (next + 8 > end) throw corrupt(file, 'a 64-bit field of an entry is missing');
        next += 8;
        return u64(extra, next - 8, file);
      });
    }
    at = end;
  }
  return [...fields];
}

function readEntry(directory: Buffer, at: number, file: OpenFile): { entry: ZipEntry; next: number } {
  const bad = (): CorruptFileError =>
    corrupt(file, 'the directory of the archive is broken', { found: `entry at ${at}` });
  if (at + 46 > directory.length || directory.readUInt32LE(at) !== kEntry) throw bad();
  const [flags, method] = [directory.readUInt16LE(at + 8), directory.readUInt16LE(at + 10)];
  const [nameBytes, extraBytes] = [directory.readUInt16LE(at + 28), directory.readUInt16LE(at + 30)];
  const nameEnd = at + 46 + nameBytes;
  const next = nameEnd + extraBytes + directory.readUInt16LE(at + 32);
  if (next > directory.length) throw bad();
  const fields = [directory.readUInt32LE(at + 24), directory.readUInt32LE(at + 20), directory.readUInt32LE(at + 42)];
  const [size, packed, header] = wide(directory.subarray(nameEnd, nameEnd + extraBytes), file, fields) as [
    number,
    number,
    number,
  ];
  const name = directory.toString('utf8', at + 46, nameEnd);
  if (method === 0 && size !== packed) throw bad();
  return { entry: { name, size, method, encrypted: (flags & 1) === 1, header }, next };
}

/** Reads and checks the directory of an archive. Throws `CorruptFileError`. */
export async function readZip(file: OpenFile): Promise<ZipDirectory> {
  const { begin, bytes, count } = await readBounds(file);
  const directory = await readExactly(file, begin, bytes);
  const entries = new Map<string, ZipEntry>();
  const pacer = new Pacer();
  for (let at = 0, i = 0; i < count; i += 1) {
    const { entry, next } = readEntry(directory, at, file);
    if (entries.has(entry.name)) throw corrupt(file, 'an entry of the archive occurs twice', { found: entry.name });
    entries.set(entry.name, entry);
    at = next;
    if (pacer.due()) await pacer.pause();
  }
  return { entries, end: begin };
}

/** Absolute offset of an entry's bytes. Throws `UnsupportedError` for compressed or encrypted ones. */
export async function storedAt(file: OpenFile, zip: ZipDirectory, entry: ZipEntry): Promise<number> {
  const { name, size, method, encrypted, header } = entry;
  if (method !== 0 || encrypted) {
    throw new UnsupportedError(`an entry of the archive is ${encrypted ? 'encrypted' : 'compressed'}`, {
      file: file.identity.path,
      name,
      expected: 'stored entries, as torch.save writes them',
    });
  }
  const bad = (found: string): CorruptFileError => corrupt(file, 'an entry of the archive is broken', { name, found });
  if (header + 30 > zip.end) throw bad(`its header at byte ${header}`);
  const local = await readExactly(file, header, 30);
  if (local.readUInt32LE(0) !== kLocal) throw bad(`no header at byte ${header}`);
  const offset = header + 30 + local.readUInt16LE(26) + local.readUInt16LE(28);
  if (offset + size > zip.end) throw bad(`${size} bytes at ${offset}, the directory begins at ${zip.end}`);
  return offset;
}
