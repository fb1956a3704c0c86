/** Many texts through one model: results in order, the batch kept full, a bounded number of them under way. */
import { AbortError, DisposedError, InputError, OptionError } from '../errors.js';
import type { Generation, GenerationResult } from './generation.js';
import { onAbort } from './on_abort.js';
import type { Prompt } from './text_model.js';

/** What became of one of many texts: a result, or an error of its own, which leaves the others alone. */
export type TextOutcome = { readonly index: number; readonly input: Prompt } & (
  | { readonly text: string; readonly result: GenerationResult; readonly error?: undefined }
  | { readonly text?: undefined; readonly result?: undefined; readonly error: Error }
);

interface Pending {
  readonly generation: Generation;
  readonly outcome: Promise<TextOutcome>;
}

/** Errors of the call, not of one text: every text would meet them. */
function concernsAll(error: unknown): boolean {
  return error instanceof OptionError || error instanceof DisposedError || error instanceof AbortError;
}

function begin(index: number, input: Prompt, start: (input: Prompt) => Generation): Pending {
  const generation = start(input);
  const outcome = generation.result().then(
    (result): TextOutcome => ({ index, input, text: result.text, result }),
    (error: unknown): TextOutcome => {
      if (concernsAll(error) || !(error instanceof Error)) throw error;
      return { index, input, error };
    },
  );
  outcome.catch(() => undefined); // it may fail before anyone waits for it
  return { generation, outcome };
}

/** Texts that wait, run or are done but not read yet; at most `ahead` of them. */
class Line {
  readonly #texts: AsyncIterator<Prompt> | Iterator<Prompt>;
  readonly #ahead: number;
  readonly #start: (input: Prompt) => Generation;
  readonly #pending: Pending[] = [];
  #ended = false;
  /** The source said itself that it is at its end, or failed. */
  #exhausted = false;
  #failure: { readonly error: unknown } | undefined;
  #left = false;
  #waiting: (() => void)[] = [];

  constructor(
    texts: AsyncIterable<Prompt> | Iterable<Prompt>,
    ahead: number,
    start: (input: Prompt) => Generation,
    signal: AbortSignal | undefined,
  ) {
    const async = (texts as Partial<AsyncIterable<Prompt>>)[Symbol.asyncIterator];
    this.#texts = async === undefined ? (texts as Iterable<Prompt>)[Symbol.iterator]() : async.call(texts);
    this.#ahead = ahead;
    this.#start = start;
    const aborted = (): void => this.#fail(new AbortError(undefined, { cause: signal?.reason }));
    if (signal?.aborted === true) aborted();
    this.detach = signal === undefined || signal.aborted ? () => undefined : onAbort(signal, aborted);
    void this.#pump();
  }

  readonly detach: () => void;

  /** The next outcome in order; undefined: there is none any more. */
  async next(): Promise<TextOutcome | undefined> {
    while (this.#pending.length === 0 && !this.#ended) await this.#news();
    const [head] = this.#pending;
    if (head !== undefined && !(this.#failure?.error instanceof AbortError)) {
      const outcome = await head.outcome;
      this.#pending.shift();
      this.#wake();
      return outcome;
    }
    if (this.#failure !== undefined) throw this.#failure.error;
    return undefined;
  }

  /** Ends what runs and tells the source that no more is wanted. */
  leave(): void {
    this.#left = true;
    this.detach();
    for (const { generation } of this.#pending) generation.cancel();
    this.#wake();
    // Not awaited: a generator that is waiting for its next text would not answer.
    if (!this.#exhausted) void this.#close().catch(() => undefined);
  }

  async #pump(): Promise<void> {
    try {
      for (let index = 0; !this.#left && !this.#ended; index++) {
        while (this.#pending.length >= this.#ahead && !this.#left) await this.#news();
        if (this.#left) return;
        const next = await this.#next();
        if (next.done === true) break;
        if (this.#left || this.#ended) return;
        this.#pending.push(begin(index, next.value, this.#start));
        this.#wake();
      }
    } catch (error) {
      this.#fail(error);
    }
    this.#ended = true;
    this.#wake();
  }

  async #next(): Promise<IteratorResult<Prompt>> {
    try {
      const next = await this.#texts.next();
      this.#exhausted = next.done === true;
      return next;
    } catch (error) {
      this.#exhausted = true;
      throw error;
    }
  }

  async #close(): Promise<void> {
    await this.#texts.return?.();
  }

  /** Nothing more is read; what was begun before is still told, but for an abort. */
  #fail(error: unknown): void {
    this.#failure ??= { error };
    this.#ended = true;
    this.#wake();
  }

  #news(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }
}

/**
 * Outcomes in the order of the texts. Reading goes on while the consumer is busy, `ahead` texts at most; leaving the loop
 * cancels what runs. An error of the source is thrown after the outcomes of the texts before it; an abort at once.
 */
export async function* inOrder(
  texts: AsyncIterable<Prompt> | Iterable<Prompt>,
  ahead: number,
  start: (input: Prompt) => Generation,
  signal?: AbortSignal,
): AsyncGenerator<TextOutcome, void, undefined> {
  const line = new Line(texts, ahead, start, signal);
  try {
    for (let outcome = await line.next(); outcome !== undefined; outcome = await line.next()) yield outcome;
  } finally {
    line.leave();
  }
}

/** Whether it is one prompt: a text, or ids. */
export function isPrompt(input: unknown): input is Prompt {
  return (
    typeof input === 'string' || ArrayBuffer.isView(input) || (Array.isArray(input) && typeof input[0] === 'number')
  );
}

/** All texts of an array; throws what the first text that fails throws. */
export async function allOf(outcomes: AsyncIterable<TextOutcome>): Promise<string[]> {
  const texts: string[] = [];
  for await (const outcome of outcomes) {
    if (outcome.error !== undefined) throw outcome.error;
    texts.push(outcome.text);
  }
  return texts;
}

/** Throws an InputError unless texts come out of it. */
export function checkTexts(input: unknown): asserts input is AsyncIterable<Prompt> | Iterable<Prompt> {
  const given = input as Partial<AsyncIterable<Prompt> & Iterable<Prompt>> | null | undefined;
  if (typeof given?.[Symbol.asyncIterator] === 'function' || typeof given?.[Symbol.iterator] === 'function') return;
  const expected = 'a text, ids, an array of them, or an (async) iterable';
  throw new InputError('texts', { name: 'texts', expected, found: input });
}
