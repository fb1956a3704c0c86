/**
 * Byte-pair encoding in O(n log n), also for one piece of a megabyte. The merge order is that of Hugging Face's
 * tokenizers and of llama.cpp: lowest rank first, leftmost first among equal ranks.
 */
import { TokenizerError } from '../errors.js';
import { innerPairs, PairTable, RankHeap, span, symbolSizes } from './bpe_tables.js';
import type { IdSink, SpanSink } from './id_sink.js';
import { type BpeSpec, byteChars, byteToken, unknownSymbol } from './spec.js';

const cacheLimit = 50_000;
const cachedLength = 64;
const shortWord = 24;

/** Where the base symbols of a piece stand in it, and how many of them are taken by tokens so far. */
interface Spans {
  /** Begin and end of each base symbol's character, in UTF-16 units. */
  readonly units: Int32Array;
  taken: number;
  readonly out: SpanSink;
}

export class Bpe {
  private readonly spec: BpeSpec;
  private readonly vocab: ReadonlyMap<string, number>;
  private readonly byteLevel: boolean;
  private readonly pairs: PairTable;
  private readonly byteIds: Int32Array;
  private readonly fallbackIds: Int32Array | undefined;
  private readonly charIds = new Map<number, number>();
  private readonly cache = new Map<string, Int32Array>();
  private inner: Set<number> | undefined;
  private sizes: Map<number, number> | undefined;
  /** The symbol before was unknown: across the cuts of a long piece too. */
  private unknownBefore = false;
  private symbols = new Int32Array(256);
  private readonly heap = new RankHeap();
  private readonly utf8 = new TextEncoder();

  /** @param byteLevel pieces are spelled in GPT-2's byte characters in the vocabulary, and given here as plain text */
  constructor(spec: BpeSpec, vocab: ReadonlyMap<string, number>, byteLevel: boolean) {
    this.spec = spec;
    this.byteLevel = byteLevel;
    this.vocab = vocab;
    this.pairs = new PairTable(spec.merges);
    this.byteIds = Int32Array.from(byteChars, (char) => vocab.get(char) ?? -1);
    const fallback = Int32Array.from({ length: 256 }, (_, b) => vocab.get(byteToken(b)) ?? -1);
    this.fallbackIds = spec.byteFallback ? fallback : undefined;
  }

  /** Appends the ids of one piece of text. `spans` takes each token's stretch of it. */
  encode(piece: string, out: IdSink, spans?: SpanSink): void {
    if (piece.length === 0) return;
    if (spans !== undefined) {
      this.encodeSpans(piece, out, spans);
      return;
    }
    const short = piece.length <= cachedLength;
    const known = short ? this.cache.get(piece) : undefined;
    if (known !== undefined) {
      out.pushAll(known);
      return;
    }
    const start = out.length;
    if (!this.whole(piece, out)) {
      const n = this.byteLevel ? this.splitBytes(piece) : this.splitChars(piece);
      this.mergeAll(n, out);
    }
    if (short) {
      if (this.cache.size >= cacheLimit) this.cache.clear();
      this.cache.set(piece, out.slice(start));
    }
  }

  private encodeSpans(piece: string, out: IdSink, spans: SpanSink): void {
    if (this.whole(piece, out)) {
      spans.push(0, piece.length);
      return;
    }
    const n = this.byteLevel ? this.splitBytes(piece) : this.splitChars(piece);
    const units = new Int32Array(2 * n);
    let at = 0;
    for (let i = 0; i < piece.length; ) {
      const code = piece.codePointAt(i) as number;
      const end = i + (code > 0xffff ? 2 : 1);
      const bytes = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
      for (let b = this.byteLevel ? bytes : 1; b > 0; b -= 1, at += 2) {
        units[at] = i;
        units[at + 1] = end;
      }
      i = end;
    }
    this.mergeAll(n, out, { units, taken: 0, out: spans });
  }

  /** Number of base symbols (bytes or characters) in a merged one. */
  private sizeOf(symbol: number): number {
    if ((symbol & unknownSymbol) !== 0) return 1;
    this.sizes ??= symbolSizes(this.spec.merges);
    return this.sizes.get(symbol) ?? 1;
  }

  private whole(piece: string, out: IdSink): boolean {
    if (!this.spec.ignoreMerges) return false;
    let spelled = piece;
    if (this.byteLevel) spelled = Array.from(this.utf8.encode(piece), (b) => byteChars[b]).join('');
    const id = this.vocab.get(spelled);
    if (id === undefined) return false;
    out.push(id);
    return true;
  }

  private reserve(n: number): void {
    if (this.symbols.length < n) this.symbols = new Int32Array(2 * n);
  }

  /** Piece → one symbol per UTF-8 byte; returns their number. */
  private splitBytes(piece: string): number {
    const bytes = this.utf8.encode(piece);
    const n = bytes.length;
    this.reserve(n);
    let count = 0;
    for (let i = 0; i < n; i += 1) {
      const byte = bytes[i] as number;
      let id = this.byteIds[byte] as number;
      if (i === n - 1 && this.spec.endOfWordSuffix !== '') {
        id = this.vocab.get((byteChars[byte] as string) + this.spec.endOfWordSuffix) ?? -1;
      }
      if (id < 0) {
        if (this.spec.unkId === undefined) {
          throw new TokenizerError('the vocabulary has no token for a byte of the text, and no unknown token', {
            expected: 'all 256 single bytes',
            found: `no byte 0x${byte.toString(16)}`,
          });
        }
        id = unknownSymbol | byte;
      }
      this.symbols[count] = id;
      count += 1;
    }
    return count;
  }

  /** Piece → one symbol per character; returns their number. */
  private splitChars(piece: string): number {
    this.reserve(piece.length);
    const { endOfWordSuffix: suffix, continuingPrefix: prefix } = this.spec;
    let count = 0;
    for (let i = 0; i < piece.length; ) {
      const code = piece.codePointAt(i) as number;
      const next = i + (code > 0xffff ? 2 : 1);
      let id: number;
      if (suffix === '' && prefix === '') id = this.charId(code);
      else {
        const spelled = (i > 0 ? prefix : '') + String.fromCodePoint(code) + (next === piece.length ? suffix : '');
        id = this.vocab.get(spelled) ?? unknownSymbol | code;
      }
      this.symbols[count] = id;
      count += 1;
      i = next;
    }
    return count;
  }

  private charId(code: number): number {
    let id = this.charIds.get(code);
    if (id === undefined) {
      id = this.vocab.get(String.fromCodePoint(code)) ?? unknownSymbol | code;
      if (this.charIds.size > 200_000) this.charIds.clear();
      this.charIds.set(code, id);
    }
    return id;
  }

  /** Merges `symbols[0 .. n]`, cut where no token can reach across, and appends the ids. */
  private mergeAll(n: number, out: IdSink, spans?: Spans): void {
    this.unknownBefore = false;
    if (n <= shortWord) {
      this.emit(0, this.mergeShort(0, n), out, spans);
      return;
    }
    this.inner ??= innerPairs(this.spec.merges);
    const { symbols, inner } = this;
    let from = 0;
    for (let i = 1; i <= n; i += 1) {
      if (i < n && inner.has((symbols[i - 1] as number) * span + (symbols[i] as number))) continue;
      const length = i - from;
      const end = length <= shortWord ? this.mergeShort(from, length) : this.mergeLong(from, length);
      this.emit(from, end, out, spans);
      from = i;
    }
  }

  /** Repeated scan for the lowest rank: quickest for short words. Returns the end of the merged symbols. */
  private mergeShort(from: number, length: number): number {
    const { symbols, pairs } = this;
    const { rank, merged } = this.spec.merges;
    let end = from + length;
    for (;;) {
      let best = -1;
      let at = -1;
      for (let i = from; i + 1 < end; i += 1) {
        const pair = pairs.get(symbols[i] as number, symbols[i + 1] as number);
        if (pair >= 0 && (best < 0 || (rank[pair] as number) < (rank[best] as number))) {
          best = pair;
          at = i;
        }
      }
      if (best < 0) return end;
      symbols[at] = merged[best] as number;
      symbols.copyWithin(at + 1, at + 2, end);
      end -= 1;
    }
  }

  /** Linked list plus heap. Returns the end of the merged symbols, which are packed from `from` on. */
  private mergeLong(from: number, length: number): number {
    const { heap, pairs } = this;
    const { rank, merged } = this.spec.merges;
    const symbols = this.symbols.subarray(from, from + length);
    const next = new Int32Array(length);
    const previous = new Int32Array(length);
    const pending = new Int32Array(length).fill(-1);
    const consider = (i: number, j: number): void => {
      const pair = pairs.get(symbols[i] as number, symbols[j] as number);
      pending[i] = pair;
      if (pair >= 0) heap.push((rank[pair] as number) * span + i);
    };
    for (let i = 0; i < length; i += 1) {
      next[i] = i + 1 < length ? i + 1 : -1;
      previous[i] = i - 1;
      if (i + 1 < length) consider(i, i + 1);
    }
    for (let key = heap.pop(); key >= 0; key = heap.pop()) {
      const order = Math.floor(key / span);
      const i = key - order * span;
      const pair = pending[i] as number;
      // Stale: the symbol is gone or its neighbour changed.
      if (pair < 0 || (rank[pair] as number) !== order) continue;
      const j = next[i] as number;
      symbols[i] = merged[pair] as number;
      pending[i] = -1;
      pending[j] = -1;
      symbols[j] = -1;
      const after = next[j] as number;
      next[i] = after;
      if (after >= 0) {
        previous[after] = i;
        consider(i, after);
      }
      const before = previous[i] as number;
      if (before >= 0) consider(before, i);
    }
    let end = 0;
    for (let i = 0; i >= 0; i = next[i] as number) {
      symbols[end] = symbols[i] as number;
      end += 1;
    }
    return from + end;
  }

  /** Symbols → ids: unknown characters become bytes, the unknown token, or nothing. */
  private emit(from: number, end: number, out: IdSink, spans?: Spans): void {
    let { unknownBefore } = this;
    for (let i = from; i < end; i += 1) {
      const symbol = this.symbols[i] as number;
      const before = out.length;
      let fused = false;
      if ((symbol & unknownSymbol) === 0) {
        out.push(symbol);
        unknownBefore = false;
      } else if (this.fallback(symbol & ~unknownSymbol, out)) unknownBefore = false;
      else {
        fused = unknownBefore && this.spec.fuseUnk;
        if (this.spec.unkId !== undefined && !fused) out.push(this.spec.unkId);
        unknownBefore = true;
      }
      if (spans !== undefined) this.cover(symbol, out.length - before, fused, spans);
    }
    this.unknownBefore = unknownBefore;
  }

  /** Gives the stretch of one symbol to the tokens that it became, or to the unknown token before it. */
  private cover(symbol: number, tokens: number, fused: boolean, spans: Spans): void {
    const { units, taken, out } = spans;
    spans.taken += this.sizeOf(symbol);
    let begin = units[2 * taken] as number;
    const end = units[2 * spans.taken - 1] as number;
    let count = tokens;
    if (fused && out.length > 0 && this.spec.unkId !== undefined) {
      begin = out.begin(out.length - 1);
      out.truncate(out.length - 1);
      count = 1;
    }
    for (let n = 0; n < count; n += 1) out.push(begin, end);
  }

  private fallback(code: number, out: IdSink): boolean {
    if (this.fallbackIds === undefined) return false;
    const ids = Array.from(this.utf8.encode(String.fromCodePoint(code)), (b) => this.fallbackIds?.[b] ?? -1);
    if (ids.some((id) => id < 0)) return false;
    out.pushAll(ids);
    return true;
  }
}
