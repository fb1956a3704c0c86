/**
 * Reader of safetensors headers: u64 length N, N bytes of JSON, then the tensors' bytes without gaps.
 * Format: https://huggingface.co/docs/safetensors. Stricter than most: duplicate keys, gaps, overlaps, foreign padding
 * and a data section longer or shorter than declared are errors, found before any tensor is read.
 */
import { CorruptFileError } from '../errors.js';
import { impostor, type OpenFile, Pacer, readExactly, withFile } from './files.js';
import { JsonScanner } from './json.js';
import type { FileDType, FileIdentity, TensorEntry } from './types.js';

const kMaxHeader = 100_000_000;
const kMaxTensors = 1 << 18;
const kMaxRank = 16;

/** Name in the header → name here, bits per element. */
const kTypes: Readonly<Record<string, readonly [FileDType, number]>> = Object.assign(Object.create(null), {
  BOOL: ['bool', 8],
  F4: ['f4', 4],
  F6_E2M3: ['f6_e2m3', 6],
  F6_E3M2: ['f6_e3m2', 6],
  U8: ['u8', 8],
  I8: ['i8', 8],
  F8_E5M2: ['f8_e5m2', 8],
  F8_E4M3: ['f8_e4m3', 8],
  F8_E8M0: ['f8_e8m0', 8],
  I16: ['i16', 16],
  U16: ['u16', 16],
  F16: ['f16', 16],
  BF16: ['bf16', 16],
  I32: ['i32', 32],
  U32: ['u32', 32],
  F32: ['f32', 32],
  C64: ['c64', 64],
  F64: ['f64', 64],
  I64: ['i64', 64],
  U64: ['u64', 64],
});

export interface SafetensorsFile {
  readonly identity: FileIdentity;
  readonly tensors: Map<string, TensorEntry>;
  /** `__metadata__`: strings only. */
  readonly metadata: ReadonlyMap<string, string>;
}

/** Reads and checks the header of one file. Throws `CorruptFileError` naming the byte or tensor. */
export function readSafetensors(path: string): Promise<SafetensorsFile> {
  return withFile(path, async (file) => {
    const { size } = file.identity;
    const head = await readExactly(file, 0, Math.min(size, 256));
    const what = impostor(head);
    if (what !== undefined) throw new CorruptFileError(what, { file: path });
    if (size < 8) {
      throw new CorruptFileError('too short for safetensors', { file: path, expected: '8 bytes or more', found: size });
    }
    const declared = head.readBigUInt64LE(0);
    const limit = Math.min(kMaxHeader, size - 8);
    if (declared > BigInt(limit)) {
      const expected = `at most ${limit} bytes of header`;
      throw new CorruptFileError('bad header length at byte 0', { file: path, expected, found: declared });
    }
    const bytes = Number(declared);
    const parser = new HeaderParser(file, await readExactly(file, 8, bytes), 8 + bytes);
    return { identity: file.identity, ...(await parser.parse()) };
  });
}

class HeaderParser {
  readonly tensors = new Map<string, TensorEntry>();
  readonly metadata = new Map<string, string>();
  readonly #pacer = new Pacer();
  readonly #scanner: JsonScanner;
  readonly #header: Buffer;
  readonly #file: string;
  /** Absolute offset of the data section, and its length. */
  readonly #data: number;
  readonly #bytes: number;

  constructor(file: OpenFile, header: Buffer, data: number) {
    this.#file = file.identity.path;
    this.#header = header;
    this.#scanner = new JsonScanner(header, this.#file, (message, facts) => new CorruptFileError(message, facts), 8);
    this.#data = data;
    this.#bytes = file.identity.size - data;
  }

  async parse(): Promise<{ tensors: Map<string, TensorEntry>; metadata: ReadonlyMap<string, string> }> {
    const scanner = this.#scanner;
    if (this.#header[0] !== 0x7b) scanner.fail('the header does not start with {');
    scanner.pos = 1;
    let metadata = false;
    if (scanner.peek() === 0x7d) scanner.pos += 1;
    else {
      do {
        const name = scanner.key();
        if (name === '__metadata__') {
          if (metadata) scanner.fail('the key "__metadata__" occurs twice');
          metadata = true;
          await this.#readMetadata();
        } else this.#readEntry(name);
        if (this.#pacer.due()) await this.#pacer.pause();
      } while (scanner.more(0x7d));
    }
    await this.#checkPadding();
    await this.#checkCoverage();
    return { tensors: this.tensors, metadata: this.metadata };
  }

  async #readMetadata(): Promise<void> {
    const scanner = this.#scanner;
    scanner.expect(0x7b);
    if (scanner.peek() === 0x7d) {
      scanner.pos += 1;
      return;
    }
    do {
      const key = scanner.key();
      if (this.metadata.has(key)) scanner.fail(`the metadata key ${JSON.stringify(key)} occurs twice`);
      if (scanner.peek() !== 0x22) scanner.fail(`__metadata__ ${JSON.stringify(key)} is not a string`);
      this.metadata.set(key, scanner.string());
      if (this.#pacer.due()) await this.#pacer.pause();
    } while (scanner.more(0x7d));
  }

  #readEntry(name: string): void {
    const scanner: JsonScanner = this.#scanner;
    if (this.tensors.size >= kMaxTensors) scanner.fail(`more than ${kMaxTensors} tensors`);
    let dtype: string | undefined;
    let shape: number[] | undefined;
    let offsets: number[] | undefined;
    scanner.object((key) => {
      const twice = () => scanner.fail(`the key "${key}" occurs twice`, { tensor: name });
      if (key === 'dtype') {
        if (dtype !== undefined) twice();
        dtype = scanner.string();
      } else if (key === 'shape') {
        if (shape !== undefined) twice();
        shape = this.#integers(name, 'shape', kMaxRank);
      } else if (key === 'data_offsets') {
        if (offsets !== undefined) twice();
        offsets = this.#integers(name, 'data_offsets', 2);
      } else scanner.fail(`unknown key ${JSON.stringify(key)}`, { tensor: name });
    });
    if (dtype === undefined || shape === undefined || offsets === undefined) {
      scanner.fail('an entry lacks dtype, shape or data_offsets', { tensor: name });
    }
    const before = this.tensors.size;
    this.tensors.set(name, this.#check(name, dtype, shape, offsets));
    if (this.tensors.size === before) scanner.fail('the tensor occurs twice', { tensor: name });
  }

  #integers(tensor: string, what: string, most: number): number[] {
    const scanner = this.#scanner;
    const values: number[] = [];
    scanner.list(() => {
      if (values.length >= most) scanner.fail(`more than ${most} numbers in ${what}`, { tensor });
      values.push(scanner.integer(`${what} of tensor ${tensor}`));
    });
    return values;
  }

  #check(name: string, type: string, shape: readonly number[], offsets: readonly number[]): TensorEntry {
    const wrong = (message: string, expected: unknown, found: unknown): never => {
      throw new CorruptFileError(message, { file: this.#file, tensor: name, expected, found });
    };
    const known = kTypes[type];
    if (known === undefined) return wrong('unknown dtype', 'a safetensors dtype', type);
    const [dtype, bits] = known;
    const [begin, end] = offsets;
    if (begin === undefined || end === undefined) return wrong('data_offsets', '[begin, end]', offsets);
    if (begin > end || end > this.#bytes) {
      return wrong('data_offsets outside of the file', `begin <= end <= ${this.#bytes}`, offsets);
    }
    let count = 1;
    for (const dim of shape) if (dim !== 0) count *= dim;
    if (count > Number.MAX_SAFE_INTEGER / bits) return wrong('shape too large', 'fewer than 2^53 bits', shape);
    if (shape.includes(0)) count = 0;
    if ((count * bits) % 8 !== 0) return wrong(`elements of ${type} do not fill whole bytes`, 'whole bytes', shape);
    const bytes = (count * bits) / 8;
    if (end - begin !== bytes)
      return wrong(`data_offsets do not fit ${type} ${JSON.stringify(shape)}`, bytes, end - begin);
    return { name, dtype, shape, file: this.#file, offset: this.#data + begin, bytes };
  }

  /** After the closing brace only spaces may follow. */
  async #checkPadding(): Promise<void> {
    const scanner = this.#scanner;
    for (; scanner.pos < this.#header.length; scanner.pos += 1) {
      if (this.#header[scanner.pos] !== 0x20) scanner.fail('the header is padded with something else than spaces');
      if (this.#pacer.due()) await this.#pacer.pause();
    }
  }

  /** Follows the tensors from offset 0 to the file's end: no gap, no overlap, linear time. */
  async #checkCoverage(): Promise<void> {
    // Writers list tensors in the order of their bytes: then one walk is enough.
    let walked = this.#data;
    for (const entry of this.tensors.values()) {
      if (entry.offset !== walked) return this.#checkUnordered();
      walked += entry.bytes;
      if (this.#pacer.due()) await this.#pacer.pause();
    }
    this.#checkEnd(walked);
  }

  #checkEnd(at: number): void {
    const end = this.#data + this.#bytes;
    if (at === end) return;
    const facts = { file: this.#file, expected: end, found: at };
    throw new CorruptFileError('bytes after the last tensor: the tensors must end where the file ends', facts);
  }

  async #checkUnordered(): Promise<void> {
    const byOffset = new Map<number, TensorEntry>();
    for (const entry of this.tensors.values()) {
      if (entry.bytes > 0) {
        const other = byOffset.get(entry.offset);
        if (other !== undefined) throw this.#overlap(entry, other.name);
        byOffset.set(entry.offset, entry);
      }
      if (this.#pacer.due()) await this.#pacer.pause();
    }
    const ends = new Set([this.#data]);
    let at = this.#data;
    for (let next = byOffset.get(at); next !== undefined; next = byOffset.get(at)) {
      at += next.bytes;
      ends.add(at);
      if (this.#pacer.due()) await this.#pacer.pause();
    }
    if (ends.size !== byOffset.size + 1) {
      const lost = [...byOffset.values()].find((entry) => !ends.has(entry.offset)) as TensorEntry;
      if (lost.offset < at) throw this.#overlap(lost, 'another tensor');
      const facts = { file: this.#file, tensor: lost.name, expected: at - this.#data, found: lost.offset - this.#data };
      throw new CorruptFileError('a gap, or an overlap, lies before data offset', facts);
    }
    this.#checkEnd(at);
    for (const entry of this.tensors.values()) {
      if (entry.bytes === 0 && !ends.has(entry.offset)) throw this.#overlap(entry, 'another tensor');
      if (this.#pacer.due()) await this.#pacer.pause();
    }
  }

  #overlap(entry: TensorEntry, other: string): CorruptFileError {
    const facts = { file: this.#file, tensor: entry.name, found: `data offset ${entry.offset - this.#data}` };
    return new CorruptFileError(`overlaps ${other}`, facts);
  }
}
