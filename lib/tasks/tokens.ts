import { InputError, OptionError } from '../errors.js';
import { checkCall, type EncoderCallOptions, EncoderModel } from './encoder_model.js';
import { softmax } from './largest.js';

export interface TokensOptions extends EncoderCallOptions {
  /** 'simple' (default): neighbouring tokens of one entity as one; 'none': each token by itself. */
  readonly aggregate?: 'simple' | 'none' | undefined;
}

/** A piece of the text with its class; pieces of class O are left out. */
export interface TokenEntity {
  /** The class, without B- and I- where tokens were put together. */
  readonly label: string;
  /** Probability, the mean over its tokens. */
  readonly score: number;
  readonly text: string;
  /** UTF-16 places in the text: start to end − 1. */
  readonly start: number;
  readonly end: number;
}

interface Piece {
  readonly label: string;
  readonly score: number;
  readonly start: number;
  readonly end: number;
}

/** B-PER → begins, PER; I-PER → goes on, PER; others count as going on. */
function parts(label: string): { begins: boolean; tag: string } {
  const match = /^([BI])-(.*)$/.exec(label);
  return match === null ? { begins: false, tag: label } : { begins: match[1] === 'B', tag: match[2]! };
}

/** Runs of one tag that no B- interrupts (transformers: TokenClassificationPipeline, aggregation_strategy "simple"). */
export function groupEntities(pieces: readonly Piece[]): (Piece & { readonly count: number })[] {
  const groups: { label: string; score: number; start: number; end: number; count: number }[] = [];
  for (const piece of pieces) {
    const { begins, tag } = parts(piece.label);
    const last = groups.at(-1);
    if (last !== undefined && last.label === tag && !begins) {
      last.score += piece.score;
      last.count++;
      last.end = piece.end;
    } else {
      groups.push({ label: tag, score: piece.score, start: piece.start, end: piece.end, count: 1 });
    }
  }
  return groups.map((g) => ({ ...g, score: g.score / g.count }));
}

/** A classifier of tokens: named entities, parts of speech. */
export class TokensModel extends EncoderModel {
  get labels(): readonly string[] {
    return this.host.built.builder.labels;
  }

  /** Entities of a text, in order. Throws InputError, OptionError, ContextOverflowError, AbortError. */
  async tokens(text: string, options: TokensOptions = {}): Promise<TokenEntity[]> {
    checkCall(options, ['aggregate']);
    const { aggregate = 'simple' } = options;
    if (aggregate !== 'simple' && aggregate !== 'none')
      throw new OptionError('bad aggregate', { name: 'aggregate', expected: "'simple' or 'none'", found: aggregate });
    if (typeof text !== 'string') throw new InputError('the text must be a string', { name: 'text', found: text });
    const encoded = await this.words.encodeWithOffsets(text);
    const n = Math.min(encoded.ids.length, this.maxLength);
    if (n < encoded.ids.length && options.truncate === 'error') throw this.tooLong(encoded.ids.length);
    const types = this.host.built.builder.segments === undefined ? undefined : encoded.typeIds.subarray(0, n);
    const { logits } = await this.run({ ids: encoded.ids.subarray(0, n), tokenTypes: types }, options);
    const count = this.labels.length;
    const pieces = [...Array(n).keys()]
      .filter((i) => encoded.sequence[i] === 0)
      .map((i): Piece => {
        const scores = softmax(logits!.subarray(i * count, (i + 1) * count));
        const best = scores.indexOf(scores.reduce((a, b) => Math.max(a, b)));
        return {
          label: this.labels[best] ?? '',
          score: scores[best] ?? Number.NaN,
          start: encoded.offsets[2 * i]!,
          end: encoded.offsets[2 * i + 1]!,
        };
      });
    return (aggregate === 'simple' ? groupEntities(pieces) : pieces)
      .filter((p) => p.label !== 'O')
      .map(({ label, score, start, end }) => ({ label, score, text: text.slice(start, end), start, end }));
  }
}
