/**
 * A strict JSON scanner over bytes. Unlike `JSON.parse` it refuses duplicate keys, deep nesting, invalid UTF-8, lone
 * surrogates and numbers beyond the doubles; it makes objects without prototype; and callers can pause between items.
 */
import { isUtf8 } from 'node:buffer';
import type { ErrorFacts, VerdantError } from '../errors.js';
import type { RawConfig, RawValue } from './types.js';

const kMaxDepth = 64;
const kMaxString = 16 << 20;
const kMaxSpace = 1 << 20;
const kNumber = /^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?$/;

const kQuote = 0x22;
const kBackslash = 0x5c;
const kComma = 0x2c;
const kColon = 0x3a;
const kOpen = 0x7b;
const kClose = 0x7d;
const kOpenList = 0x5b;
const kCloseList = 0x5d;

export type MakeError = (message: string, facts: ErrorFacts) => VerdantError;

export class JsonScanner {
  pos = 0;
  readonly #bytes: Buffer;
  readonly #file: string;
  readonly #base: number;
  readonly #error: MakeError;

  /** `base` is the file offset of the first byte, for messages. */
  constructor(bytes: Buffer, file: string, error: MakeError, base = 0) {
    this.#bytes = bytes;
    this.#file = file;
    this.#error = error;
    this.#base = base;
  }

  fail(message: string, facts: ErrorFacts = {}): never {
    throw this.#error(`${message} (byte ${this.#base + this.pos})`, { file: this.#file, ...facts });
  }

  #found(): string {
    const byte = this.#bytes[this.pos];
    if (byte === undefined) return 'the end of the text';
    return byte > 0x20 && byte < 0x7f ? String.fromCharCode(byte) : `byte 0x${byte.toString(16).padStart(2, '0')}`;
  }

  skipSpace(): void {
    const start = this.pos;
    for (;;) {
      const byte = this.#bytes[this.pos];
      if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return;
      this.pos += 1;
      if (this.pos - start > kMaxSpace) this.fail(`more than ${kMaxSpace} bytes of white space`);
    }
  }

  /** Skips white space and looks at the next byte. */
  peek(): number | undefined {
    this.skipSpace();
    return this.#bytes[this.pos];
  }

  expect(byte: number): void {
    if (this.peek() !== byte) {
      this.fail('malformed JSON', { expected: String.fromCharCode(byte), found: this.#found() });
    }
    this.pos += 1;
  }

  string(): string {
    this.expect(kQuote);
    const bytes = this.#bytes;
    const start = this.pos;
    let ascii = true;
    let escaped = false;
    let at = start;
    for (; ; at += 1) {
      const byte = bytes[at];
      if (byte === kQuote) break;
      if (byte === undefined || byte < 0x20 || at - start > kMaxString) {
        this.pos = at;
        const why = byte === undefined ? 'ends' : byte < 0x20 ? 'holds a control character' : 'is longer than 16 MiB';
        this.fail(`a JSON string ${why}`);
      }
      if (byte === kBackslash) {
        escaped = true;
        at += 1;
      } else if (byte >= 0x80) ascii = false;
    }
    if (!ascii && !isUtf8(bytes.subarray(start, at))) this.fail('invalid UTF-8 in a JSON string');
    this.pos = at + 1;
    const text = bytes.toString(ascii ? 'latin1' : 'utf8', start, at);
    return escaped ? this.#unescape(text) : text;
  }

  #unescape(text: string): string {
    let value: string;
    try {
      value = JSON.parse(`"${text}"`) as string;
    } catch (cause) {
      return this.fail('invalid escape in a JSON string', { cause });
    }
    return /\p{Surrogate}/u.test(value) ? this.fail('half of a surrogate pair in a JSON string') : value;
  }

  /** A non-negative integer in plain digits, exact as a double. */
  integer(what: string): number {
    this.skipSpace();
    const start = this.pos;
    let value = 0;
    let byte = this.#bytes[this.pos];
    while (byte !== undefined && byte >= 0x30 && byte <= 0x39) {
      value = value * 10 + (byte - 0x30);
      this.pos += 1;
      if (value > Number.MAX_SAFE_INTEGER) this.fail(`${what} is too large`, { expected: 'at most 2^53 - 1' });
      byte = this.#bytes[this.pos];
    }
    const digits = this.pos - start;
    const plain = digits > 0 && (digits === 1 || this.#bytes[start] !== 0x30);
    if (!plain || byte === 0x2e || byte === 0x65 || byte === 0x45) {
      this.fail(`${what} is not a non-negative integer in plain digits`, { found: this.#found() });
    }
    return value;
  }

  /** Calls `visit(key)` before each value of an object; `visit` must consume the value. */
  object(visit: (key: string) => void): void {
    this.expect(kOpen);
    if (this.peek() === kClose) {
      this.pos += 1;
      return;
    }
    do visit(this.key());
    while (this.more(kClose));
  }

  key(): string {
    const key = this.string();
    this.expect(kColon);
    return key;
  }

  /** After a value: true when a comma follows, false when `close` ends the object or list. */
  more(close: number): boolean {
    const byte = this.peek();
    if (byte !== kComma && byte !== close) {
      this.fail('malformed JSON', { expected: `, or ${String.fromCharCode(close)}`, found: this.#found() });
    }
    this.pos += 1;
    return byte === kComma;
  }

  /** Calls `visit()` before each item of a list; `visit` must consume the item. */
  list(visit: () => void): void {
    this.expect(kOpenList);
    if (this.peek() === kCloseList) {
      this.pos += 1;
      return;
    }
    do visit();
    while (this.more(kCloseList));
  }

  value(depth = 0): RawValue {
    if (depth > kMaxDepth) this.fail(`JSON nested deeper than ${kMaxDepth}`);
    switch (this.peek()) {
      case kOpen: {
        const result: Record<string, RawValue> = Object.create(null);
        this.object((key) => {
          if (key in result) this.fail(`the key ${JSON.stringify(key)} occurs twice`);
          result[key] = this.value(depth + 1);
        });
        return result;
      }
      case kOpenList: {
        const result: RawValue[] = [];
        this.list(() => result.push(this.value(depth + 1)));
        return result;
      }
      case kQuote:
        return this.string();
      default:
        return this.#scalar();
    }
  }

  #scalar(): RawValue {
    const start = this.pos;
    let end = start;
    while (end - start < 400 && /[-+.0-9A-Za-z]/.test(String.fromCharCode(this.#bytes[end] ?? 0))) end += 1;
    const text = this.#bytes.toString('latin1', start, end);
    if (text === 'null' || text === 'true' || text === 'false') {
      this.pos = end;
      return text === 'null' ? null : text === 'true';
    }
    if (!kNumber.test(text)) this.fail('malformed JSON', { expected: 'a value', found: text || this.#found() });
    const value = Number(text);
    if (!Number.isFinite(value)) this.fail('a number is out of range', { found: text });
    this.pos = end;
    return value;
  }

  /** Refuses anything but white space after the value. */
  end(): void {
    if (this.peek() !== undefined) this.fail('text after the end of the JSON', { found: this.#found() });
  }
}

/** A whole JSON text whose top is an object. */
export function parseObject(bytes: Buffer, file: string, error: MakeError): RawConfig {
  const scanner = new JsonScanner(bytes, file, error);
  if (scanner.peek() !== kOpen) scanner.fail('expected a JSON object');
  const value = scanner.value() as RawConfig;
  scanner.end();
  return value;
}
