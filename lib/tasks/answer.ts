import { InputError, OptionError } from '../errors.js';
import { PairModel } from './classify.js';
import { checkCall } from './encoder_model.js';

export interface AnswerOptions {
  /** How many answers, best first; default 1. */
  readonly top?: number | undefined;
  /** Most tokens of an answer; default 15. */
  readonly maxTokens?: number | undefined;
  /** Tokens that windows over a long context share; default 128, at most half a window. */
  readonly overlap?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface Answer {
  readonly text: string;
  /** Probability of its first token times that of its last one. */
  readonly score: number;
  /** UTF-16 places in the context: start to end − 1. */
  readonly start: number;
  readonly end: number;
}

/** Probabilities over the context's tokens of a window: those of the question do not count. */
function overContext(logits: Float32Array, from: number, to: number): Float64Array {
  const part = logits.subarray(from, to);
  const top = part.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const e = Float64Array.from(part, (x) => Math.exp(x - top));
  const sum = e.reduce((a, b) => a + b, 0);
  return e.map((x) => x / sum);
}

/** Finds the answer to a question in a text (Rajpurkar et al. 2016); long texts are read in overlapping windows. */
export class AnswerModel extends PairModel {
  /** Answers from `context`, best first. Throws InputError, OptionError, ContextOverflowError (question too long), AbortError. */
  async answer(question: string, context: string, options: AnswerOptions = {}): Promise<Answer[]> {
    const { signal, ...own } = options;
    checkCall(signal === undefined ? {} : { signal });
    for (const [name, value] of Object.entries(own))
      if (
        !['top', 'maxTokens', 'overlap'].includes(name) ||
        !(value === undefined || (Number.isInteger(value) && value >= (name === 'overlap' ? 0 : 1)))
      )
        throw new OptionError(`bad ${name}`, {
          name,
          expected: 'top, maxTokens and overlap: integers from 1 (overlap from 0)',
          found: value,
        });
    for (const [name, text] of Object.entries({ question, context }))
      if (typeof text !== 'string' || text.trim() === '')
        throw new InputError(`the ${name} must be a text`, { name, expected: 'a text that is not empty', found: text });
    const { top = 1, maxTokens = 15, overlap = 128 } = options;
    const windows = await this.#windows(question, context, overlap);
    const found = await Promise.all(windows.map((w) => this.run(w, { signal })));
    const answers = found.flatMap(({ start_logits: start, end_logits: end }, i) => {
      const { from, to, offsets } = windows[i]!;
      const [begins, ends] = [overContext(start!, from, to), overContext(end!, from, to)];
      return bestSpans(begins, ends, top, maxTokens).map(({ first, last, score }): Answer => {
        const [a, b] = [offsets[2 * (from + first)]!, offsets[2 * (from + last) + 1]!];
        return { text: context.slice(a, b), score, start: a, end: b };
      });
    });
    const seen = new Set<string>();
    return answers
      .sort((a, b) => b.score - a.score)
      .filter(({ start, end }) => !seen.has(`${start} ${end}`) && seen.add(`${start} ${end}`))
      .slice(0, top);
  }

  /** The question with each window of the context; `from` and `to`: the context's tokens in it. */
  async #windows(question: string, context: string, overlap: number) {
    const { ids, typeIds, offsets, sequence } = await this.words.encodePair(question, context);
    const [from, to] = [sequence.indexOf(1), sequence.lastIndexOf(1) + 1];
    if (from < 0) throw new InputError('the context has no tokens', { name: 'context' });
    const room = this.maxLength - from - (ids.length - to);
    if (room < 1) throw this.tooLong(ids.length);
    const step = Math.max(1, room - Math.min(overlap, Math.floor(room / 2)));
    const hasTypes = (this.host.built.builder.segments ?? 1) > 1;
    const made = [];
    for (let at = from; ; at += step) {
      const end = Math.min(to, at + room);
      const cut = (x: Int32Array, width = 1): Int32Array =>
        Int32Array.from([
          ...x.subarray(0, from * width),
          ...x.subarray(at * width, end * width),
          ...x.subarray(to * width),
        ]);
      made.push({
        ids: cut(ids),
        tokenTypes: hasTypes ? cut(typeIds) : undefined,
        offsets: cut(offsets, 2),
        from,
        to: from + end - at,
      });
      if (end === to) return made;
    }
  }
}

/** The k best pairs first ≤ last < first + most, by the product of their probabilities. */
function bestSpans(
  begins: Float64Array,
  ends: Float64Array,
  k: number,
  most: number,
): { first: number; last: number; score: number }[] {
  const best: { first: number; last: number; score: number }[] = [];
  for (let first = 0; first < begins.length; first++)
    for (let last = first; last < Math.min(ends.length, first + most); last++) {
      const score = begins[first]! * ends[last]!;
      if (best.length === k && !(score > best[k - 1]!.score)) continue;
      best.push({ first, last, score });
      best.sort((a, b) => b.score - a.score);
      if (best.length > k) best.pop();
    }
  return best;
}
