/**
 * Unigram: the segmentation with the highest sum of log-probabilities, by one forward pass (no recursion, no lattice
 * objects). Ties go to the earlier start, as in Hugging Face's `encode_optimized`.
 */
import { TokenizerError } from '../errors.js';
import type { IdSink, SpanSink } from './id_sink.js';
import { byteToken, type UnigramSpec } from './spec.js';

/** An unknown character scores this much below the worst piece. */
const unknownPenalty = 10;
const cacheLimit = 50_000;
const cachedLength = 64;

interface TrieNode {
  id: number;
  readonly children: Map<number, TrieNode>;
}

export class Unigram {
  private readonly root: TrieNode = { id: -1, children: new Map() };
  private readonly scores: Float64Array;
  /** Sums are kept in f32 (SentencePiece's own arithmetic): ties can depend on it. */
  private readonly round: (sum: number) => number;
  private readonly unkId: number | undefined;
  private readonly unkScore: number;
  private readonly byteIds: readonly number[] | undefined;
  private readonly cache = new Map<string, Int32Array>();

  constructor(spec: UnigramSpec) {
    this.scores = Float64Array.from(spec.pieces, (piece) => piece[1]);
    this.unkId = spec.unkId;
    let worst = 0;
    for (const score of this.scores) worst = Math.min(worst, score);
    this.round = spec.float32 === true ? Math.fround : (sum) => sum;
    this.unkScore = this.round(worst - unknownPenalty);
    for (const [id, piece] of spec.pieces.entries()) this.insert(piece[0], id);
    if (spec.byteIds !== undefined) this.byteIds = spec.byteIds;
    else if (spec.byteFallback) {
      const ids = new Map(spec.pieces.map((piece, id) => [piece[0], id]));
      const bytes = Array.from({ length: 256 }, (_, b) => ids.get(byteToken(b)) ?? -1);
      this.byteIds = bytes.includes(-1) ? undefined : bytes;
    }
  }

  private insert(piece: string, id: number): void {
    let node = this.root;
    for (let i = 0; i < piece.length; i += 1) {
      const unit = piece.charCodeAt(i);
      let child = node.children.get(unit);
      if (child === undefined) {
        child = { id: -1, children: new Map() };
        node.children.set(unit, child);
      }
      node = child;
    }
    // The first of equal pieces wins, except that the empty piece never matches.
    if (node !== this.root) node.id = id;
  }

  /** Appends the ids of one piece of text. `spans` takes each token's stretch of it. */
  encode(piece: string, out: IdSink, spans?: SpanSink): void {
    if (piece.length === 0) return;
    if (spans !== undefined) {
      this.viterbi(piece, out, spans);
      return;
    }
    const short = piece.length <= cachedLength;
    const known = short ? this.cache.get(piece) : undefined;
    if (known !== undefined) {
      out.pushAll(known);
      return;
    }
    const start = out.length;
    this.viterbi(piece, out);
    if (short) {
      if (this.cache.size >= cacheLimit) this.cache.clear();
      this.cache.set(piece, out.slice(start));
    }
  }

  private viterbi(piece: string, out: IdSink, spans?: SpanSink): void {
    const n = piece.length;
    const best = new Float64Array(n + 1);
    const from = new Int32Array(n + 1).fill(-1);
    const ids = new Int32Array(n + 1).fill(-1);
    for (let start = 0; start < n; ) {
      const code = piece.codePointAt(start) as number;
      const size = code > 0xffff ? 2 : 1;
      const base = best[start] as number;
      let single = false;
      let node: TrieNode | undefined = this.root;
      for (let i = start; i < n; i += 1) {
        node = node.children.get(piece.charCodeAt(i));
        if (node === undefined) break;
        if (node.id < 0) continue;
        const end = i + 1;
        const score = base + (node.id === this.unkId ? this.unkScore : (this.scores[node.id] as number));
        if (from[end] === -1 || score > (best[end] as number)) {
          best[end] = this.round(score);
          from[end] = start;
          ids[end] = node.id;
        }
        if (end === start + size) single = true;
      }
      const end = start + size;
      if (!single && (from[end] === -1 || base + this.unkScore > (best[end] as number))) {
        best[end] = this.round(base + this.unkScore);
        from[end] = start;
        ids[end] = -2;
      }
      start = end;
    }
    this.emit(piece, from, ids, out, spans);
  }

  /** Walks back from the end; neighbouring unknown characters are one unknown token. */
  private emit(piece: string, from: Int32Array, ids: Int32Array, out: IdSink, spans?: SpanSink): void {
    const ends: number[] = [];
    for (let end = piece.length; end > 0; end = from[end] as number) ends.push(end);
    let unknownFrom = -1;
    const flush = (end: number): void => {
      if (unknownFrom >= 0) {
        const before = out.length;
        this.unknown(piece.slice(unknownFrom, end), out);
        for (let n = before; n < out.length; n += 1) spans?.push(unknownFrom, end);
      }
      unknownFrom = -1;
    };
    for (let i = ends.length - 1; i >= 0; i -= 1) {
      const end = ends[i] as number;
      const start = from[end] as number;
      const id = ids[end] as number;
      if (id === -2 || id === this.unkId) {
        if (unknownFrom < 0) unknownFrom = start;
      } else {
        flush(start);
        out.push(id);
        spans?.push(start, end);
      }
    }
    flush(piece.length);
  }

  private unknown(text: string, out: IdSink): void {
    const { byteIds } = this;
    if (byteIds !== undefined) out.pushAll(Array.from(new TextEncoder().encode(text), (b) => byteIds[b] as number));
    else if (this.unkId !== undefined) out.push(this.unkId);
    else
      throw new TokenizerError('a character is not in the vocabulary, and there is no unknown token', { found: text });
  }
}
