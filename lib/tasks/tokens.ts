import { InputError, OptionError } from '../errors.js';
import { checkCall, type EncoderCallOptions, EncoderModel } from './encoder_model.js';
import { softmax } from './largest.js';

const aggregations = ['simple', 'none', 'first', 'average', 'max'] as const;
/** The strategies of transformers' TokenClassificationPipeline. */
export type Aggregation = (typeof aggregations)[number];

export interface TokensOptions extends EncoderCallOptions {
  /**
   * 'none': each token by itself. 'simple' (default): neighbouring tokens of one entity as one. 'first', 'max', 'average': so
   * too, but a word has one class: that of its first token, of its surest one, or the best by the mean over its tokens.
   */
  readonly aggregate?: Aggregation | undefined;
}

/** A piece of the text with its class; pieces of class O are left out. */
export interface TokenEntity {
  /** The class; where tokens were put together without what stands before its first hyphen (B-, I-). */
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
  const groups: { label: string; name: string; score: number; start: number; end: number; count: number }[] = [];
  for (const piece of pieces) {
    const { begins, tag } = parts(piece.label);
    const last = groups.at(-1);
    if (last !== undefined && last.label === tag && !begins) {
      last.score += piece.score;
      last.count++;
      last.end = piece.end;
    } else {
      const name = piece.label.slice(piece.label.indexOf('-') + 1);
      groups.push({ label: tag, name, score: piece.score, start: piece.start, end: piece.end, count: 1 });
    }
  }
  return groups.map(({ name, ...g }) => ({ ...g, label: name, score: g.score / g.count }));
}

/** A token with the probabilities of all classes. */
export interface ScoredToken {
  readonly scores: Float64Array;
  readonly start: number;
  readonly end: number;
  /** It goes on with the word of the token before. */
  readonly continues: boolean;
}

const sure = (scores: Float64Array): number => scores.reduce((a, b) => Math.max(a, b));

/** The probabilities of a word, from those of its tokens. */
function wordScores(word: readonly ScoredToken[], how: 'first' | 'average' | 'max'): Float64Array {
  if (how === 'first') return word[0]!.scores;
  if (how === 'max') return word.reduce((best, t) => (sure(t.scores) > sure(best.scores) ? t : best)).scores;
  return word[0]!.scores.map((_, c) => word.reduce((sum, t) => sum + t.scores[c]!, 0) / word.length);
}

/** Tokens as words, each with probabilities of its own (transformers: TokenClassificationPipeline.aggregate_words). */
export function joinWords(tokens: readonly ScoredToken[], how: 'first' | 'average' | 'max'): ScoredToken[] {
  const words: ScoredToken[][] = [];
  for (const token of tokens) {
    if (token.continues && words.length > 0) words.at(-1)!.push(token);
    else words.push([token]);
  }
  return words.map((word) => ({ ...word[0]!, end: word.at(-1)!.end, scores: wordScores(word, how) }));
}

/** A classifier of tokens: named entities, parts of speech. */
export class TokensModel extends EncoderModel {
  #wordPiece: boolean | undefined;

  get labels(): readonly string[] {
    return this.host.built.builder.labels;
  }

  /** As transformers tells words: by the length of WordPiece tokens, else by the space before. */
  #continues(id: number, text: string, start: number, end: number): boolean {
    const { words } = this;
    if (id === words.unkId) return false;
    this.#wordPiece ??= Array.from({ length: words.vocabSize }, (_, i) => words.idToToken(i)).some(
      (token) => token?.startsWith('##') === true,
    );
    if (!this.#wordPiece) return start > 0 && !text.slice(start - 1, start + 1).includes(' ');
    return [...(words.idToToken(id) ?? '')].length !== [...text.slice(start, end)].length;
  }

  /** Entities of a text, in order. Throws InputError, OptionError, ContextOverflowError, AbortError. */
  async tokens(text: string, options: TokensOptions = {}): Promise<TokenEntity[]> {
    checkCall(options, ['aggregate']);
    const { aggregate = 'simple' } = options;
    if (!aggregations.includes(aggregate))
      throw new OptionError('bad aggregate', {
        ...{ name: 'aggregate', expected: aggregations.join(', '), found: aggregate },
      });
    if (typeof text !== 'string') throw new InputError('the text must be a string', { name: 'text', found: text });
    const encoded = await this.words.encodeWithOffsets(text);
    const places = await this.places(encoded.ids.length, options.truncate);
    const keep = (x: Int32Array): Int32Array => Int32Array.from(places, (i) => x[i]!);
    const types = this.host.built.builder.segments === undefined ? undefined : keep(encoded.typeIds);
    const { logits } = await this.run({ ids: keep(encoded.ids), tokenTypes: types }, options);
    const count = this.labels.length;
    const tokens = places.flatMap((place, i): ScoredToken[] => {
      if (encoded.sequence[place] !== 0) return [];
      const [start, end] = [encoded.offsets[2 * place]!, encoded.offsets[2 * place + 1]!];
      const scores = Float64Array.from(softmax(logits!.subarray(i * count, (i + 1) * count)));
      return [{ scores, start, end, continues: this.#continues(encoded.ids[place]!, text, start, end) }];
    });
    const whole = aggregate === 'none' || aggregate === 'simple' ? tokens : joinWords(tokens, aggregate);
    const pieces = whole.map(({ scores, start, end }): Piece => {
      const best = scores.indexOf(sure(scores));
      return { label: this.labels[best] ?? '', score: scores[best] ?? Number.NaN, start, end };
    });
    const found = aggregate === 'none' ? pieces : groupEntities(pieces);
    return found
      .filter((p) => p.label !== 'O')
      .map(({ label, score, start, end }) => ({ label, score, text: text.slice(start, end), start, end }));
  }
}
