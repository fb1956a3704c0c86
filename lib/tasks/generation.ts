import type { StepTrace } from '../engine/probe_step.js';
import type { FinishReason, SampledToken, Sink } from '../engine/sequence.js';
import { AbortError } from '../errors.js';
import { StopMatcher } from '../generation/stopping.js';
import type { DetokenizerStream } from '../text/detokenizer.js';
import { onAbort } from './on_abort.js';

export interface TokenLogprob {
  readonly id: number;
  readonly logprob: number;
  /** The most likely ids at this place, best first; as many as `logprobs` asked for. */
  readonly top: readonly { readonly id: number; readonly logprob: number }[];
}

/** What became readable after some tokens: whole characters only. Without a tokenizer: one id, no text. */
export interface Piece {
  /** Which of the n completions. */
  readonly index: number;
  readonly text: string;
  /** Ids since the piece before. */
  readonly ids: readonly number[];
  /** One entry per id, when `logprobs` was asked for. */
  readonly logprobs?: readonly TokenLogprob[];
  /** What the steps that drew these ids showed, when `trace` was asked for: one per id, of a prompt one per chunk. */
  readonly traces?: readonly StepTrace[];
}

export interface Completion {
  readonly text: string;
  /** Generated ids; the id that ended the sequence is the last one. */
  readonly ids: readonly number[];
  readonly finishReason: 'stop' | 'length';
  /** The stop string that ended it. */
  readonly stopString?: string;
  /** Of a beam: the sum of its log-probabilities over (new ids) ^ lengthPenalty. */
  readonly score?: number;
  readonly logprobs?: readonly TokenLogprob[];
  /** Those of all pieces, when `trace` was asked for. */
  readonly traces?: readonly StepTrace[];
}

export interface Usage {
  readonly promptTokens: number;
  readonly completionTokens: number;
}

/** Milliseconds; speeds in tokens per second. */
export interface Timings {
  readonly firstTokenMs: number;
  readonly totalMs: number;
  /** Tokens after the first over the time after the first. */
  readonly decodeTokensPerSecond: number;
}

export interface GenerationResult extends Completion {
  /** All n of them; the other fields are those of the first. */
  readonly completions: readonly Completion[];
  readonly seed: bigint;
  readonly usage: Usage;
  readonly timings: Timings;
}

/** What a generation needs to know once its prompt is tokenised. */
export interface GenerationStart {
  readonly n: number;
  readonly stop: readonly string[];
  readonly logprobs: boolean;
  readonly traces?: boolean;
  readonly seed: bigint;
  readonly promptTokens: number;
  /** Text before the first piece (echo). */
  readonly lead: string;
  readonly detokenizer: () => DetokenizerStream | undefined;
  /** Rows of the logits may have no token: their ids have no text. */
  readonly hasText: (id: number) => boolean;
}

class Stream {
  readonly ids: number[] = [];
  readonly logprobs: TokenLogprob[] = [];
  readonly traces: StepTrace[] = [];
  readonly matcher: StopMatcher;
  readonly detokenizer: DetokenizerStream | undefined;
  text = '';
  /** Ids that the last piece did not hold yet. */
  reported = 0;
  reportedTraces = 0;
  reason: 'stop' | 'length' | undefined;
  score: number | undefined;

  constructor(start: GenerationStart) {
    this.matcher = new StopMatcher(start.stop);
    this.detokenizer = start.detokenizer();
  }
}

/**
 * A running generation: iterate over its pieces, or ask for `text()` or `result()`. Leaving the loop cancels it. It starts
 * at once; pieces that nobody reads yet are kept.
 */
export class Generation implements AsyncIterable<Piece>, Sink {
  readonly #controller = new AbortController();
  readonly #pieces: Piece[] = [];
  readonly #started = performance.now();
  #start: GenerationStart | undefined;
  #streams: Stream[] = [];
  #first: number | undefined;
  #last = 0;
  #error: unknown;
  #failed = false;
  #over = false;
  #left = false;
  #detach: () => void = () => undefined;
  #notify: (() => void)[] = [];

  /** @internal `begin` tokenises and submits; it gets the signal that cancels everything. */
  constructor(begin: (generation: Generation, signal: AbortSignal) => Promise<void>, signal: AbortSignal | undefined) {
    const forward = (): void => this.cancel(signal?.reason);
    if (signal?.aborted === true) forward();
    else if (signal instanceof AbortSignal) {
      this.#detach = onAbort(signal, forward);
    }
    begin(this, this.#controller.signal)
      .catch((error: unknown) => this.fail(error))
      .finally(() => this.#wake());
  }

  /** Ends the generation within one step; readers get an AbortError. */
  cancel(reason?: unknown): void {
    this.#controller.abort(reason);
    if (this.#start === undefined) this.fail(new AbortError(undefined, { cause: reason }));
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Piece, void, undefined> {
    try {
      for (let at = 0; ; ) {
        while (at < this.#pieces.length) yield this.#pieces[at++]!;
        if (this.#over) break;
        await new Promise<void>((resolve) => this.#notify.push(resolve));
      }
      if (this.#failed) throw this.#error;
    } finally {
      if (!this.#over) this.#leave();
    }
  }

  /** The whole text of the first completion. */
  async text(): Promise<string> {
    return (await this.result()).text;
  }

  /** Everything about the finished generation. */
  async result(): Promise<GenerationResult> {
    while (!this.#over) await new Promise<void>((resolve) => this.#notify.push(resolve));
    if (this.#failed) throw this.#error;
    const start = this.#start!;
    const completions = this.#streams.map((s) => this.#completion(s, start));
    const tokens = this.#streams.reduce((n, s) => n + s.ids.length, 0);
    const first = this.#first ?? this.#last;
    const decoding = (this.#last - first) / 1000;
    return {
      ...completions[0]!,
      completions,
      seed: start.seed,
      usage: { promptTokens: start.promptTokens, completionTokens: tokens },
      timings: {
        firstTokenMs: first - this.#started,
        totalMs: this.#last - this.#started,
        decodeTokensPerSecond: decoding > 0 ? (tokens - completions.length) / decoding : 0,
      },
    };
  }

  /** Pieces of text as a web stream; cancelling it cancels the generation. */
  toReadableStream(): ReadableStream<string> {
    const iterator = this[Symbol.asyncIterator]();
    return new ReadableStream<string>({
      async pull(controller): Promise<void> {
        const next = await iterator.next();
        if (next.done === true) controller.close();
        else controller.enqueue(next.value.text);
      },
      // Not iterator.return(): that waits for the piece that is being read.
      cancel: () => this.#leave(),
    });
  }

  /** @internal */
  begin(start: GenerationStart): void {
    this.#start = start;
    this.#streams = Array.from({ length: start.n }, () => new Stream(start));
    if (start.lead !== '') for (const [index, s] of this.#streams.entries()) this.#emit(index, s, start.lead);
  }

  /** @internal */
  token(index: number, token: SampledToken): boolean {
    if (this.#left) return false; // the signal ends it before the next step
    const s = this.#streams[index]!;
    this.#last = performance.now();
    this.#first ??= this.#last;
    s.ids.push(token.id);
    if (this.#start?.logprobs === true) s.logprobs.push({ id: token.id, logprob: token.logprob, top: token.top });
    if (token.traces !== undefined) s.traces.push(...token.traces);
    const silent = token.stop || this.#start?.hasText(token.id) !== true;
    const text = silent ? '' : (s.detokenizer?.push(token.id) ?? '');
    const { emit, stopped } = s.matcher.push(text);
    // Without a tokenizer there is no text to wait for: each id is a piece.
    if (emit !== '' || s.detokenizer === undefined) this.#emit(index, s, emit);
    return stopped !== undefined;
  }

  /** @internal */
  finish(index: number, reason: FinishReason, score?: number): void {
    if (this.#over) return;
    if (reason === 'aborted' || this.#left) {
      this.fail(new AbortError(undefined, { cause: this.#controller.signal.reason }));
      return;
    }
    const s = this.#streams[index]!;
    s.reason = reason;
    s.score = score;
    if (s.matcher.stopped === undefined) {
      const { emit } = s.matcher.push(s.detokenizer?.flush() ?? '');
      const rest = emit + (s.matcher.stopped === undefined ? s.matcher.flush() : '');
      if (rest !== '' || s.reported < s.ids.length) this.#emit(index, s, rest);
    } else if (s.reported < s.ids.length) this.#emit(index, s, '');
    if (this.#streams.every((o) => o.reason !== undefined)) this.#end();
  }

  /** @internal */
  fail(error: unknown): void {
    if (this.#over) return;
    this.#error = error;
    this.#failed = true;
    this.#end();
  }

  #leave(): void {
    this.#left = true;
    this.cancel();
  }

  #end(): void {
    this.#over = true;
    this.#detach();
    if (this.#last === 0) this.#last = performance.now();
    this.#wake();
  }

  #emit(index: number, s: Stream, text: string): void {
    const from = s.reported;
    s.reported = s.ids.length;
    s.text += text;
    const fromTrace = s.reportedTraces;
    s.reportedTraces = s.traces.length;
    this.#pieces.push({
      index,
      text,
      ids: s.ids.slice(from),
      ...(this.#start?.logprobs === true ? { logprobs: s.logprobs.slice(from) } : {}),
      ...(this.#start?.traces === true ? { traces: s.traces.slice(fromTrace) } : {}),
    });
    this.#wake();
  }

  #wake(): void {
    const waiting = this.#notify;
    this.#notify = [];
    for (const resolve of waiting) resolve();
  }

  #completion(s: Stream, start: GenerationStart): Completion {
    return {
      text: s.text,
      ids: s.ids,
      finishReason: s.reason ?? 'stop',
      ...(s.matcher.stopped === undefined ? {} : { stopString: s.matcher.stopped }),
      ...(s.score === undefined ? {} : { score: s.score }),
      ...(start.logprobs ? { logprobs: s.logprobs } : {}),
      ...(start.traces === true ? { traces: s.traces } : {}),
    };
  }
}
