/** Text → ids with the stretch of the text that each comes from: the steps of the encoder, with alignments kept. */

import type { AddedTokenFinder } from './added_tokens.js';
import { Aligned, nextCharacter } from './aligned.js';
import { type Align, alignedNormalizer } from './aligned_normalizers.js';
import type { Model } from './encoder.js';
import { IdSink, SpanSink } from './id_sink.js';
import { checkNormalized } from './limits.js';
import type { AlignedPreTokenize } from './pre_tokenizers.js';
import type { AddedToken, TokenizerSpec } from './spec.js';

/** The tokens of one text, without those that a post-processor adds. */
export interface AlignedTokens {
  readonly ids: Int32Array;
  /** Begin and end of each token in the text, in UTF-16 units; 2 per token. */
  readonly offsets: Int32Array;
  /** Tokens up to the piece that reaches `enough`, or all: Hugging Face reads no further in a text that it truncates. */
  readonly counted: number;
}

/** What it shares with the plain encoder. */
export interface EncoderParts {
  readonly spec: TokenizerSpec;
  readonly align: AlignedPreTokenize;
  readonly model: Model;
  readonly raw: AddedTokenFinder;
  readonly normalized: AddedTokenFinder;
}

const spaceMark = 'Ġ';
const isSpace = (character: string): boolean => character === spaceMark || /^\p{White_Space}$/u.test(character);

/** A text on its way: where its tokens go. */
interface Run {
  readonly text: string;
  readonly special: boolean;
  readonly enough: number;
  readonly ids: IdSink;
  readonly spans: SpanSink;
  /** Spellings of added tokens found, by place among the tokens. */
  readonly spelled: Map<number, string>;
  counted: number;
}

export class AlignedEncoder {
  private readonly parts: EncoderParts;
  private readonly normalize: Align;
  private readonly local = new SpanSink();
  private names: Map<number, string> | undefined;

  constructor(parts: EncoderParts) {
    this.parts = parts;
    this.normalize = alignedNormalizer(parts.spec.normalizer, parts.spec.origin);
  }

  /** @param special whether special tokens spelled in the text become their ids */
  encode(text: string, special: boolean, enough: number): AlignedTokens {
    const run: Run = {
      text,
      special,
      enough,
      ids: new IdSink(),
      spans: new SpanSink(),
      spelled: new Map(),
      counted: -1,
    };
    let from = 0;
    for (const match of this.parts.raw.find(text, this.allowed(special))) {
      if (match.start > from) this.section(from, match.start, run);
      this.added(match.token, text.slice(match.start, match.end), match.start, match.end, run);
      from = match.end;
    }
    if (from < text.length) this.section(from, text.length, run);
    const ids = run.ids.slice(0);
    const offsets = new Int32Array(2 * ids.length);
    for (let i = 0; i < ids.length; i += 1) {
      offsets[2 * i] = run.spans.begin(i);
      offsets[2 * i + 1] = run.spans.end(i);
    }
    for (const prefixed of this.parts.spec.post.trims) this.trim(run, offsets, prefixed);
    return { ids, offsets, counted: run.counted < 0 ? ids.length : run.counted };
  }

  private allowed(special: boolean): (token: AddedToken) => boolean {
    return (token) => special || !token.special;
  }

  private section(begin: number, end: number, run: Run): void {
    const normal = this.normalize(Aligned.original(run.text.slice(begin, end), begin));
    const { text } = normal;
    checkNormalized(text);
    const first = begin === 0;
    let from = 0;
    for (const match of this.parts.normalized.find(text, this.allowed(run.special))) {
      if (match.start > from) this.pieces(normal.slice(from, match.start), first && from === 0, run);
      const spelled = text.slice(match.start, match.end);
      this.added(match.token, spelled, normal.begin(match.start), normal.end(match.end - 1), run);
      from = match.end;
    }
    if (from < text.length) this.pieces(normal.slice(from, text.length), first && from === 0, run);
  }

  private added(token: AddedToken, spelled: string, begin: number, end: number, run: Run): void {
    run.spelled.set(run.ids.length, spelled);
    run.ids.push(token.id);
    run.spans.push(begin, end);
  }

  private pieces(text: Aligned, first: boolean, run: Run): void {
    const { local } = this;
    for (const piece of this.parts.align(text, first)) {
      local.truncate(0);
      this.parts.model.encode(piece.text, run.ids, local);
      for (let i = 0; i < local.length; i += 1) {
        run.spans.push(piece.begin(local.begin(i)), piece.end(local.end(i) - 1));
      }
      if (run.counted < 0 && run.ids.length >= run.enough) run.counted = run.ids.length;
    }
  }

  /**
   * ByteLevel's and RobertaProcessing's `trim_offsets`: spaces at the ends of tokens are not theirs, except for the one
   * that `add_prefix_space` put before the text.
   */
  private trim(run: Run, offsets: Int32Array, prefixed: boolean): void {
    const { text } = run;
    for (let i = 0; i < run.ids.length; i += 1) {
      const characters = [...(run.spelled.get(i) ?? this.name(run.ids.get(i)))];
      let leading = 0;
      while (leading < characters.length && isSpace(characters[leading] as string)) leading += 1;
      let trailing = 0;
      while (trailing < characters.length && isSpace(characters[characters.length - 1 - trailing] as string))
        trailing += 1;
      let begin = offsets[2 * i] as number;
      let end = offsets[2 * i + 1] as number;
      if (trailing > end) trailing = 0;
      if (leading === 1 && prefixed && (i === 0 || begin === 0)) leading = 0;
      for (; leading > 0 && begin < end; leading -= 1) begin = nextCharacter(text, begin);
      for (; trailing > 0 && begin < end; trailing -= 1) end = characterBefore(text, end);
      offsets[2 * i] = begin;
      offsets[2 * i + 1] = end;
    }
  }

  private name(id: number): string {
    if (this.names === undefined) {
      this.names = new Map();
      for (const [name, at] of this.parts.spec.vocab) this.names.set(at, name);
    }
    return this.names.get(id) ?? '';
  }
}

function characterBefore(text: string, end: number): number {
  return end - (end >= 2 && (text.codePointAt(end - 2) as number) > 0xffff ? 2 : 1);
}
