/** Text → ids: added tokens, normaliser, pre-tokeniser, model, post-processor, in Hugging Face's order. */
import { AddedTokenFinder, type Match } from './added_tokens.js';
import { AlignedEncoder } from './aligned_encoder.js';
import { Bpe } from './bpe.js';
import { IdSink, type SpanSink } from './id_sink.js';
import { type JoinOptions, joinPair, joinSingle, singleAround } from './join.js';
import { checkNormalized } from './limits.js';
import { type Normalize, normalizer } from './normalizers.js';
import { PieceIdModel } from './piece_ids.js';
import { type PreTokenizer, preTokenizer } from './pre_tokenizers.js';
import type { Encoding, Segment } from './protocol.js';
import type { AddedToken, TokenizerSpec } from './spec.js';
import { Unigram } from './unigram.js';
import { WordPiece } from './wordpiece.js';

export interface Model {
  /** Appends the ids of a piece, and to `spans` the stretch of the piece, in UTF-16 units, that each comes from. */
  encode(piece: string, out: IdSink, spans?: SpanSink): void;
}

const loneSurrogate = /[\uD800-\uDBFF](?![\uDC00-\uDFFF])|(?<![\uD800-\uDBFF])[\uDC00-\uDFFF]/g;

/** Lone surrogates become U+FFFD, as in UTF-8 encoding. */
function wellFormed(text: string): string {
  return /\p{Surrogate}/u.test(text) ? text.replace(loneSurrogate, '\uFFFD') : text;
}

function modelOf(spec: TokenizerSpec, byteLevel: boolean): Model {
  const { model, vocab, pieceIds } = spec;
  if (model.kind === 'wordpiece') return new WordPiece(model, vocab);
  const own = pieceIds?.pieces ?? vocab;
  const made = model.kind === 'bpe' ? new Bpe(model, own, byteLevel) : new Unigram(model);
  return pieceIds === undefined ? made : new PieceIdModel(made, pieceIds, vocab);
}

export class Encoder {
  private readonly spec: TokenizerSpec;
  private readonly normalize: Normalize;
  private readonly pre: PreTokenizer;
  private readonly model: Model;
  private readonly raw: AddedTokenFinder;
  /** As `raw`, with every special token: for texts in parts, whose limits are known in the raw text only. */
  private readonly rawAndSpecial: AddedTokenFinder;
  private readonly normalized: AddedTokenFinder;
  /** Ids that the post-processor puts before and after a single text. */
  private readonly before: readonly number[];
  private readonly after: readonly number[];
  private aligned: AlignedEncoder | undefined;

  constructor(spec: TokenizerSpec) {
    this.spec = spec;
    this.normalize = normalizer(spec.normalizer, spec.origin);
    const pre = preTokenizer(spec.preTokenizer, spec.origin);
    this.pre = pre;
    [this.before, this.after] = singleAround(spec.post.single);
    this.model = modelOf(spec, pre.byteLevel);
    const spelled = (token: AddedToken): readonly [string, AddedToken] => [token.content, token];
    const raw = spec.added.filter((token) => !token.normalized);
    this.raw = new AddedTokenFinder(raw.map(spelled));
    this.rawAndSpecial = new AddedTokenFinder(spec.added.filter((t) => !t.normalized || t.special).map(spelled));
    const normalized = spec.added.filter((token) => token.normalized);
    this.normalized = new AddedTokenFinder(normalized.map((t) => [this.normalize(t.content), t] as const));
  }

  /** @param parts whether the segments differ in trust: special tokens are then matched within single segments only */
  encode(segments: readonly Segment[], addSpecial: boolean, parts: boolean): Int32Array {
    const out = new IdSink();
    const texts = segments.map((segment) => wellFormed(segment.text));
    const text = texts.join('');
    if (addSpecial) out.pushAll(this.before);
    if (parts) this.encodeParts(text, texts, segments, out);
    else this.encodeText(text, segments[0]?.special === true, out);
    if (addSpecial) out.pushAll(this.after);
    return out.slice(0);
  }

  /** One text with what each token comes from. */
  encodeAligned(text: string, special: boolean, addSpecial: boolean): Encoding {
    const tokens = this.aligner().encode(wellFormed(text), special, Number.POSITIVE_INFINITY);
    return joinSingle(this.spec.post, tokens, addSpecial);
  }

  /** Two texts as the post-processor joins them. Special tokens spelled in them are ordinary text. */
  encodePair(first: string, second: string, options: JoinOptions): Encoding {
    const enough = options.maxLength ?? Number.POSITIVE_INFINITY;
    const a = this.aligner().encode(wellFormed(first), false, enough);
    const b = this.aligner().encode(wellFormed(second), false, enough);
    return joinPair(this.spec, a, b, options);
  }

  private aligner(): AlignedEncoder {
    const { spec, model, raw, normalized } = this;
    this.aligned ??= new AlignedEncoder({ spec, model, raw, normalized, align: this.pre.align });
    return this.aligned;
  }

  /** The text behind a code `>>…<<` that it begins with; the code's id goes to `out`. */
  private afterCode(text: string, out: IdSink): string {
    const end = this.spec.leadingCode === true && text.startsWith('>>') ? text.indexOf('<<') + 2 : 0;
    if (end < 2) return text;
    const id = this.spec.vocab.get(text.slice(0, end)) ?? this.spec.pieceIds?.unkId ?? this.spec.model.unkId;
    if (id !== undefined) out.push(id);
    return text.slice(end);
  }

  private encodeText(whole: string, special: boolean, out: IdSink): void {
    const text = this.afterCode(whole, out);
    const allowed = (token: AddedToken): boolean => special || !token.special;
    this.sections(text, this.raw.find(text, allowed), special, out);
  }

  private encodeParts(text: string, texts: readonly string[], segments: readonly Segment[], out: IdSink): void {
    const ends: number[] = [];
    let end = 0;
    for (const part of texts) {
      end += part.length;
      ends.push(end);
    }
    let at = 0;
    const allowed = (token: AddedToken, start: number, stop: number): boolean => {
      if (!token.special) return true;
      while (at > 0 && start < (ends[at - 1] as number)) at -= 1;
      while (start >= (ends[at] as number)) at += 1;
      return segments[at]?.special === true && stop <= (ends[at] as number);
    };
    this.sections(text, this.rawAndSpecial.find(text, allowed), false, out);
  }

  /** Encodes what lies between the matches, and the matches. */
  private sections(text: string, matches: readonly Match[], special: boolean, out: IdSink): void {
    let from = 0;
    for (const match of matches) {
      if (match.start > from) this.section(text.slice(from, match.start), from === 0, special, out);
      out.push(match.token.id);
      from = match.end;
    }
    if (from < text.length) this.section(text.slice(from), from === 0, special, out);
  }

  private section(text: string, first: boolean, special: boolean, out: IdSink): void {
    const normal = this.normalize(text);
    checkNormalized(normal);
    const allowed = (token: AddedToken): boolean => special || !token.special;
    let from = 0;
    for (const match of this.normalized.find(normal, allowed)) {
      if (match.start > from) this.pieces(normal.slice(from, match.start), first && from === 0, out);
      out.push(match.token.id);
      from = match.end;
    }
    if (from < normal.length) this.pieces(from === 0 ? normal : normal.slice(from), first && from === 0, out);
  }

  private pieces(text: string, first: boolean, out: IdSink): void {
    for (const piece of this.pre.split(text, first)) this.model.encode(piece, out);
  }
}
