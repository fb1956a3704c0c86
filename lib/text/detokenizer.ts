/** Ids → text: byte tables and the streaming detokeniser. */
import { InputError } from '../errors.js';
import { type DecodeRules, hashBytes, type TableData, TokenFlag } from './protocol.js';

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

/** Token strings and decoded bytes of one vocabulary. */
export class TokenTable {
  readonly rules: DecodeRules;
  private readonly data: TableData;

  constructor(data: TableData) {
    this.data = data;
    this.rules = data.rules;
  }

  private has(id: number): boolean {
    return Number.isInteger(id) && id >= 0 && id < this.data.vocabSize && (this.flags(id) & TokenFlag.present) !== 0;
  }

  private flags(id: number): number {
    return this.data.flags[id] as number;
  }

  /** The token as the vocabulary spells it, undefined for a gap or an id out of range. */
  token(id: number): string | undefined {
    return this.has(id) ? decoder.decode(this.tokenBytes(id)) : undefined;
  }

  tokenBytes(id: number): Uint8Array {
    const { tokenBytes, tokenOffsets } = this.data;
    return tokenBytes.subarray(tokenOffsets[id] as number, tokenOffsets[id + 1] as number);
  }

  /** Bytes that the token adds to a text. */
  textBytes(id: number): Uint8Array {
    const { textBytes, textOffsets } = this.data;
    return textBytes.subarray(textOffsets[id] as number, textOffsets[id + 1] as number);
  }

  isSpecial(id: number): boolean {
    return (this.flags(id) & TokenFlag.special) !== 0;
  }

  id(token: string): number | undefined {
    const bytes = encoder.encode(token);
    const { index, tokenBytes, tokenOffsets } = this.data;
    const mask = index.length - 1;
    for (let slot = hashBytes(bytes, 0, bytes.length) & mask; ; slot = (slot + 1) & mask) {
      const id = index[slot] as number;
      if (id < 0) return undefined;
      const start = tokenOffsets[id] as number;
      if ((tokenOffsets[id + 1] as number) - start !== bytes.length) continue;
      if (bytes.every((byte, i) => tokenBytes[start + i] === byte)) return id;
    }
  }

  /** Models pad their logits beyond the vocabulary: such ids have no text. */
  isPadding(id: number): boolean {
    return Number.isInteger(id) && id >= this.data.vocabSize;
  }

  /** Throws unless the id is one that a model with this vocabulary may emit: gaps below vocabSize decode to nothing. */
  check(id: number): void {
    if (!Number.isInteger(id) || id < 0 || id >= this.data.vocabSize) {
      throw new InputError('token id outside the vocabulary', {
        expected: `an integer in 0 … ${this.data.vocabSize - 1}`,
        found: id,
      });
    }
  }
}

/** Length of an unfinished character at the end of `bytes[0 .. length]`: 0 to 3. */
export function unfinishedTail(bytes: Uint8Array, length: number): number {
  for (let back = 1; back <= Math.min(3, length); back += 1) {
    const byte = bytes[length - back] as number;
    if ((byte & 0xc0) === 0x80) continue;
    const size =
      byte >= 0xf0 && byte <= 0xf4 ? 4 : byte >= 0xe0 && byte < 0xf0 ? 3 : byte >= 0xc2 && byte < 0xe0 ? 2 : 1;
    if (back >= size) return 0;
    return back === 1 || validSecond(byte, bytes[length - back + 1] as number) ? back : 0;
  }
  return 0;
}

/** Whether the second byte may follow the lead byte (no overlong forms, surrogates, or values above U+10FFFF). */
function validSecond(lead: number, second: number): boolean {
  if (lead === 0xe0) return second >= 0xa0;
  if (lead === 0xed) return second <= 0x9f;
  if (lead === 0xf0) return second >= 0x90;
  if (lead === 0xf4) return second <= 0x8f;
  return true;
}

/**
 * Decodes ids one by one. `push` returns the characters that are complete; bytes of an unfinished character wait for the
 * next token, and `flush` gives them out as U+FFFD. Work per token is constant on average.
 */
export class DetokenizerStream {
  private pending = new Uint8Array(64);
  private pendingLength = 0;
  private toStrip: number;
  private first = true;
  private held = '';
  private readonly table: TokenTable;
  private readonly skipSpecial: boolean;

  constructor(table: TokenTable, skipSpecial: boolean) {
    this.table = table;
    this.skipSpecial = skipSpecial;
    this.toStrip = table.rules.stripLeading;
  }

  /** Adds one token; returns the text that became complete, often a word, sometimes nothing (ids past the vocabulary: none). */
  push(id: number): string {
    if (this.table.isPadding(id)) return '';
    this.table.check(id);
    if (this.skipSpecial && this.table.isSpecial(id)) return '';
    const rawFirst = this.first && this.table.rules.rawFirst;
    this.first = false;
    return this.take(rawFirst ? this.table.tokenBytes(id) : this.table.textBytes(id), false);
  }

  /**
   * Takes ids that come before without giving their text out: the first token then keeps the space that a text's start
   * would lose, and a character that they leave unfinished is completed by what follows.
   */
  follow(ids: ArrayLike<number>): void {
    for (let i = 0; i < ids.length; i += 1) this.push(ids[i] as number);
    this.held = '';
  }

  /** Ends the text: gives out what was held back. The stream then starts afresh. */
  flush(): string {
    const text = this.take(new Uint8Array(0), true);
    this.first = true;
    this.toStrip = this.table.rules.stripLeading;
    return text;
  }

  private take(bytes: Uint8Array, end: boolean): string {
    const length = this.pendingLength + bytes.length;
    if (length > this.pending.length) {
      const larger = new Uint8Array(Math.max(length, 2 * this.pending.length));
      larger.set(this.pending.subarray(0, this.pendingLength));
      this.pending = larger;
    }
    this.pending.set(bytes, this.pendingLength);
    const tail = end ? 0 : unfinishedTail(this.pending, length);
    let text = decoder.decode(this.pending.subarray(0, length - tail));
    this.pending.copyWithin(0, length - tail, length);
    this.pendingLength = tail;
    while (this.toStrip > 0 && text.length > 0) {
      if (text[0] !== ' ') this.toStrip = 0;
      else {
        text = text.slice(1);
        this.toStrip -= 1;
      }
    }
    return this.hold(text, end);
  }

  /** Keeps back what the rules for spaces may still change. */
  private hold(text: string, end: boolean): string {
    const { cleanUp, dropTrailingSpace } = this.table.rules;
    if (!cleanUp && !dropTrailingSpace) return text;
    let all = this.held + text;
    if (end && dropTrailingSpace && all.endsWith(' ')) all = all.slice(0, -1);
    let cut = all.length;
    if (!end) cut = cleanUp ? safeCut(all) : all.endsWith(' ') ? all.length - 1 : all.length;
    this.held = all.slice(cut);
    const out = all.slice(0, cut);
    return cleanUp ? cleanUpSpaces(out) : out;
  }
}

/** Hugging Face's `clean_up_tokenization`: removes the space before punctuation and English contractions. */
export function cleanUpSpaces(text: string): string {
  return text
    .replaceAll(' .', '.')
    .replaceAll(' ?', '?')
    .replaceAll(' !', '!')
    .replaceAll(' ,', ',')
    .replaceAll(" ' ", "'")
    .replaceAll(" n't", "n't")
    .replaceAll(" 'm", "'m")
    .replaceAll(" 's", "'s")
    .replaceAll(" 've", "'ve")
    .replaceAll(" 're", "'re");
}

/**
 * Last position where the text can be cut so that cleaning both sides apart equals cleaning the whole: the right side
 * starts with a space and the left ends in neither space nor apostrophe, or no space or apostrophe stands in the four
 * characters before the cut (no rule is longer).
 */
function safeCut(text: string): number {
  for (let p = text.length; p > 0; p -= 1) {
    const before = text[p - 1];
    if (before === ' ' || before === "'") continue;
    if (p < text.length && text[p] === ' ') return p;
    if (p >= 4 && !/[ ']/.test(text.slice(p - 4, p))) return p;
  }
  return 0;
}
