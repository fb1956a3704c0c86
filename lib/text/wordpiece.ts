/** WordPiece: longest match first within each word. */
import type { IdSink, SpanSink } from './id_sink.js';
import type { WordPieceSpec } from './spec.js';

export class WordPiece {
  private readonly spec: WordPieceSpec;
  private readonly vocab: ReadonlyMap<string, number>;
  private readonly longest: number;

  constructor(spec: WordPieceSpec, vocab: ReadonlyMap<string, number>) {
    this.spec = spec;
    this.vocab = vocab;
    let longest = 0;
    for (const token of vocab.keys()) longest = Math.max(longest, token.length);
    this.longest = longest;
  }

  /** Appends the ids of one word: the unknown token if any part of it is unknown. `spans` takes each token's stretch of it. */
  encode(word: string, out: IdSink, spans?: SpanSink): void {
    const { unkId, prefix, maxChars } = this.spec;
    if (word.length === 0) return;
    // The cap counts characters, not UTF-16 units.
    if (word.length > maxChars && (word.length > 2 * maxChars || [...word].length > maxChars)) {
      out.push(unkId);
      spans?.push(0, word.length);
      return;
    }
    const mark = spans?.length ?? 0;
    const ids: number[] = [];
    for (let start = 0; start < word.length; ) {
      let end = Math.min(word.length, start + this.longest);
      let id: number | undefined;
      for (; end > start; end -= 1) {
        id = this.vocab.get(start > 0 ? prefix + word.slice(start, end) : word.slice(start, end));
        if (id !== undefined) break;
      }
      if (id === undefined) {
        out.push(unkId);
        spans?.truncate(mark);
        spans?.push(0, word.length);
        return;
      }
      spans?.push(start, end);
      ids.push(id);
      start = end;
    }
    out.pushAll(ids);
  }
}
