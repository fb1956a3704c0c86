/**
 * SentencePiece's precompiled normalisation: a Darts double-array trie over UTF-8 and a blob of replacements.
 * Layout: u32 trie bytes, trie units (u32, little endian), then NUL-terminated replacement strings.
 */
import { TokenizerError } from '../errors.js';

const encoder = new TextEncoder();
const segmenter = new Intl.Segmenter('en', { granularity: 'grapheme' });

/** ASCII before ASCII is a grapheme by itself; the rest, with an ASCII letter that may carry a mark, is segmented. */
const runs = /(?:[\x20-\x7e](?![^\x20-\x7e]))+|(?:[^\x20-\x7e]|[\x20-\x7e](?=[^\x20-\x7e]))+/g;

export class CharsMap {
  private readonly units: Uint32Array;
  private readonly strings: Uint8Array;
  private readonly cache = new Map<string, string>();

  constructor(base64: string, origin: string) {
    const bytes = Buffer.from(base64, 'base64');
    const size = bytes.length >= 4 ? bytes.readUInt32LE(0) : -1;
    if (base64 !== '' && (size < 0 || size % 4 !== 0 || 4 + size > bytes.length)) {
      throw new TokenizerError('precompiled_charsmap is broken', {
        file: origin,
        expected: 'u32 size, that many bytes of trie, strings',
        found: `${bytes.length} bytes, size ${size}`,
      });
    }
    this.units = new Uint32Array(Math.max(0, size / 4));
    for (let i = 0; i < this.units.length; i += 1) this.units[i] = bytes.readUInt32LE(4 + 4 * i);
    this.strings = bytes.subarray(Math.min(bytes.length, 4 + Math.max(0, size)));
  }

  /** Replaces each grapheme if the map has it whole, else each character that the map has. */
  apply(text: string): string {
    if (this.units.length === 0) return text;
    let out = '';
    for (const run of text.match(runs) ?? []) {
      if (/^[\x20-\x7e]+$/.test(run)) out += this.characters(run);
      else for (const { segment } of segmenter.segment(run)) out += this.grapheme(segment);
    }
    return out;
  }

  /** The same, told step by step: each grapheme that is replaced whole, and each other character with what stands for it. */
  visit(text: string, put: (old: string, replaced: string) => void): void {
    if (this.units.length === 0) {
      put(text, text);
      return;
    }
    const characters = (part: string): void => {
      for (const char of part) put(char, this.characters(char));
    };
    for (const run of text.match(runs) ?? []) {
      if (/^[\x20-\x7e]+$/.test(run)) characters(run);
      else {
        for (const { segment } of segmenter.segment(run)) {
          const whole = encoder.encode(segment).length < 6 ? this.lookup(segment) : undefined;
          if (whole !== undefined) put(segment, whole);
          else characters(segment);
        }
      }
    }
  }

  /**
   * What stands for the longest stretch from `at` on that the map has, and its length in UTF-16 units: the rule of the
   * sentencepiece library. Without one, the character at `at` itself.
   */
  longest(text: string, at: number): { readonly length: number; readonly text: string } {
    const { units } = this;
    const code = text.codePointAt(at) as number;
    let [length, value] = [0, -1];
    let unit = units[0] ?? 0;
    let node = offset(unit);
    walk: for (let i = at; units.length > 0 && i < text.length; ) {
      const char = text.codePointAt(i) as number;
      for (const byte of utf8Of(char)) {
        node ^= byte;
        unit = units[node] ?? 0;
        if (byte === 0 || node >= units.length || (unit & 0x800000ff) !== byte) break walk;
        node ^= offset(unit);
      }
      i += char > 0xffff ? 2 : 1;
      // A rule ends within a character only in broken files: it is then not one of this text.
      if ((unit & 0x100) !== 0)
        [length, value] = [i - at, node < units.length ? (units[node] as number) & 0x7fffffff : -1];
    }
    if (value >= 0 && value < this.strings.length) return { length, text: this.stringAt(value) };
    return { length: code > 0xffff ? 2 : 1, text: String.fromCodePoint(code) };
  }

  private stringAt(value: number): string {
    const end = this.strings.indexOf(0, value);
    return new TextDecoder().decode(this.strings.subarray(value, end < 0 ? this.strings.length : end));
  }

  private grapheme(text: string): string {
    let known = this.cache.get(text);
    if (known === undefined) {
      known = (encoder.encode(text).length < 6 ? this.lookup(text) : undefined) ?? this.characters(text);
      if (this.cache.size > 20_000) this.cache.clear();
      this.cache.set(text, known);
    }
    return known;
  }

  private characters(text: string): string {
    let out = '';
    for (const char of text) {
      let known = this.cache.get(char);
      if (known === undefined) {
        known = this.lookup(char) ?? char;
        this.cache.set(char, known);
      }
      out += known;
    }
    return out;
  }

  /** Replacement for the shortest prefix of `text` in the trie, as the reference takes the first result. */
  private lookup(text: string): string | undefined {
    const { units, strings } = this;
    let unit = units[0] as number;
    let at = offset(unit);
    for (const byte of encoder.encode(text)) {
      if (byte === 0) return undefined;
      at ^= byte;
      if (at >= units.length) return undefined;
      unit = units[at] as number;
      // The label must be the byte, and the unit no leaf.
      if ((unit & 0x800000ff) !== byte) return undefined;
      at ^= offset(unit);
      if ((unit & 0x100) === 0) continue;
      const value = at < units.length ? (units[at] as number) & 0x7fffffff : strings.length;
      if (value >= strings.length) return undefined;
      return this.stringAt(value);
    }
    return undefined;
  }
}

function utf8Of(code: number): readonly number[] {
  if (code < 0x80) return [code];
  const tail = (shift: number): number => 0x80 | ((code >> shift) & 0x3f);
  if (code < 0x800) return [0xc0 | (code >> 6), tail(0)];
  if (code < 0x10000) return [0xe0 | (code >> 12), tail(6), tail(0)];
  return [0xf0 | (code >> 18), tail(12), tail(6), tail(0)];
}

function offset(unit: number): number {
  return (unit >>> 10) << ((unit & 0x200) >>> 6);
}
