/** The header of a GGUF file, read piece by piece. */
import { isUtf8 } from 'node:buffer';
import { CorruptFileError, type ErrorFacts } from '../errors.js';
import { type OpenFile, Pacer, readExactly } from './files.js';
import { type GgufNumbers, type GgufScalarType, type GgufValue, ggufValueBytes } from './gguf_types.js';

const kWindow = 1 << 20;
const kMaxString = 16 << 20;
const kMaxHeader = 128 << 20;
const kAscii = Array.from({ length: 128 }, (_, code) => String.fromCharCode(code));

const kArrays = {
  uint8: Uint8Array,
  int8: Int8Array,
  uint16: Uint16Array,
  int16: Int16Array,
  uint32: Uint32Array,
  int32: Int32Array,
  float32: Float32Array,
  bool: Uint8Array,
  uint64: BigUint64Array,
  int64: BigInt64Array,
  float64: Float64Array,
} as const;

/** A window over the file's header that moves forward. Methods are synchronous once `need` said that bytes are there. */
export class HeaderWindow {
  readonly pacer = new Pacer();
  readonly path: string;
  readonly size: number;
  readonly #file: OpenFile;
  #buffer: Buffer = Buffer.alloc(0);
  /** File offset of the window's first byte, and position in the window. */
  #base = 0;
  #pos = 0;

  constructor(file: OpenFile) {
    this.#file = file;
    this.path = file.identity.path;
    this.size = file.identity.size;
  }

  get offset(): number {
    return this.#base + this.#pos;
  }

  get left(): number {
    return this.size - this.offset;
  }

  fail(message: string, facts: ErrorFacts = {}): never {
    throw new CorruptFileError(`${message} (byte ${this.offset})`, { file: this.path, ...facts });
  }

  has(bytes: number): boolean {
    return this.#pos + bytes <= this.#buffer.length;
  }

  /** Makes the next `bytes` bytes readable. */
  async need(bytes: number, what: string): Promise<void> {
    if (this.has(bytes)) return;
    if (bytes > this.left) {
      this.fail(`the file ends inside ${what}`, { expected: `${bytes} bytes`, found: `${this.left} bytes` });
    }
    const start = this.offset;
    if (start + bytes > kMaxHeader) this.fail('the header is too long', { expected: `at most ${kMaxHeader} bytes` });
    this.#buffer = await readExactly(this.#file, start, Math.min(this.left, Math.max(bytes, kWindow)));
    this.#base = start;
    this.#pos = 0;
  }

  #advance(bytes: number): number {
    const at = this.#pos;
    this.#pos += bytes;
    return at;
  }

  u32(): number {
    return this.#buffer.readUInt32LE(this.#advance(4));
  }

  /** An unsigned 64-bit count, length, dimension or offset: exact as a double, at most `most`. */
  u64(what: string, most: number, prefix = ''): number {
    const low = this.#buffer.readUInt32LE(this.#pos);
    const high = this.#buffer.readUInt32LE(this.#pos + 4);
    const value = high * 0x1_0000_0000 + low;
    if (high >= 0x20_0000 || value > most) {
      this.fail(`${prefix}${what} out of range`, {
        expected: `at most ${most}`,
        found: this.#buffer.readBigUInt64LE(this.#pos),
      });
    }
    this.#pos += 8;
    return value;
  }

  text(bytes: number, what: string): string {
    const at = this.#advance(bytes);
    const buffer = this.#buffer;
    const end = at + bytes;
    // Most tokens are short and ASCII: building them here is faster than a call into the decoder.
    let short = '';
    let scan = bytes <= 16 ? at : end;
    for (; scan < end && (buffer[scan] as number) < 0x80; scan += 1) short += kAscii[buffer[scan] as number];
    if (bytes <= 16 && scan === end) return short;
    const text = buffer.toString('utf8', at, end);
    // Invalid bytes decode to U+FFFD, which valid text may hold as well.
    if (text.includes('\ufffd') && !isUtf8(buffer.subarray(at, end))) this.fail(`invalid UTF-8 in ${what}`);
    return text;
  }

  /** Length and text of the next string. */
  async string(what: string, most = kMaxString): Promise<string> {
    await this.need(8, what);
    const bytes = this.u64(what, Math.min(this.left, most), 'length of ');
    await this.need(bytes, what);
    return this.text(bytes, what);
  }

  /** The next string if it lies in the window whole, else undefined and nothing is consumed. */
  stringHere(what: string, most = kMaxString): string | undefined {
    if (!this.has(8)) return undefined;
    const bytes = this.u64(what, Math.min(this.left, most), 'length of ');
    if (this.has(bytes)) return this.text(bytes, what);
    this.#pos -= 8;
    return undefined;
  }

  scalar(type: Exclude<GgufScalarType, 'string'>, what: string): GgufValue {
    const at = this.#advance(ggufValueBytes[type]);
    const b = this.#buffer;
    switch (type) {
      case 'uint8':
        return { type, value: b.readUInt8(at) };
      case 'int8':
        return { type, value: b.readInt8(at) };
      case 'uint16':
        return { type, value: b.readUInt16LE(at) };
      case 'int16':
        return { type, value: b.readInt16LE(at) };
      case 'uint32':
        return { type, value: b.readUInt32LE(at) };
      case 'int32':
        return { type, value: b.readInt32LE(at) };
      case 'float32':
        return { type, value: b.readFloatLE(at) };
      case 'uint64':
        return { type, value: b.readBigUInt64LE(at) };
      case 'int64':
        return { type, value: b.readBigInt64LE(at) };
      case 'float64':
        return { type, value: b.readDoubleLE(at) };
      case 'bool':
        if (b.readUInt8(at) > 1) this.fail(`${what} is neither 0 nor 1`, { found: b.readUInt8(at) });
        return { type, value: b.readUInt8(at) === 1 };
    }
  }

  /** A copy of `count` numbers; the file is little-endian, as every platform that we build for. */
  numbers(type: Exclude<GgufScalarType, 'string'>, count: number, what: string): GgufNumbers {
    const bytes = count * ggufValueBytes[type];
    const at = this.#advance(bytes);
    const copy = new Uint8Array(bytes);
    copy.set(this.#buffer.subarray(at, at + bytes));
    if (type === 'bool' && copy.some((item) => item > 1)) this.fail(`${what} holds a bool that is neither 0 nor 1`);
    return new kArrays[type](copy.buffer);
  }
}
