/** Text → ids: added tokens, normaliser, pre-tokeniser, model, post-processor, in Hugging Face's order. */
import { InputError } from '../errors.js';
import { AddedTokenFinder, type Match } from './added_tokens.js';
import { Bpe } from './bpe.js';
import { IdSink } from './id_sink.js';
import { maxNormalizedLength } from './limits.js';
import { type Normalize, normalizer } from './normalizers.js';
import { type PreTokenize, preTokenizer } from './pre_tokenizers.js';
import type { Segment } from './protocol.js';
import type { AddedToken, TokenizerSpec } from './spec.js';
import { Unigram } from './unigram.js';
import { WordPiece } from './wordpiece.js';

interface Model {
  encode(piece: string, out: IdSink): void;
}

const loneSurrogate = /[\uD800-\uDBFF](?![\uDC00-\uDFFF])|(?<![\uD800-\uDBFF])[\uDC00-\uDFFF]/g;

/** Lone surrogates become U+FFFD, as in UTF-8 encoding. */
function wellFormed(text: string): string {
  return /\p{Surrogate}/u.test(text) ? text.replace(loneSurrogate, '\uFFFD') : text;
}

export class Encoder {
  private readonly spec: TokenizerSpec;
  private readonly normalize: Normalize;
  private readonly split: PreTokenize;
  private readonly model: Model;
  private readonly raw: AddedTokenFinder;
  /** As `raw`, with every special token: for texts in parts, whose limits are known in the raw text only. */
  private readonly rawAndSpecial: AddedTokenFinder;
  private readonly normalized: AddedTokenFinder;

  constructor(spec: TokenizerSpec) {
    this.spec = spec;
    this.normalize = normalizer(spec.normalizer, spec.origin);
    const pre = preTokenizer(spec.preTokenizer, spec.origin);
    this.split = pre.split;
    this.model =
      spec.model.kind === 'bpe'
        ? new Bpe(spec.model, spec.vocab, pre.byteLevel)
        : spec.model.kind === 'unigram'
          ? new Unigram(spec.model)
          : new WordPiece(spec.model, spec.vocab);
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
    if (addSpecial) out.pushAll(this.spec.before);
    if (parts) this.encodeParts(text, texts, segments, out);
    else this.encodeText(text, segments[0]?.special === true, out);
    if (addSpecial) out.pushAll(this.spec.after);
    return out.slice(0);
  }

  private encodeText(text: string, special: boolean, out: IdSink): void {
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
    if (normal.length > maxNormalizedLength) {
      throw new InputError('the text grows too long when normalised', {
        expected: `at most ${maxNormalizedLength} UTF-16 units`,
        found: normal.length,
      });
    }
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
    for (const piece of this.split(text, first)) this.model.encode(piece, out);
  }
}
