import type { FinishReason, SampledToken, Sink } from '../engine/sequence.js';

/** A sink of one sequence whose end can be waited for. */
export abstract class EndedSink implements Sink {
  /** Rejects with what the request failed of; a rejection that nobody waits for is no error. */
  readonly done: Promise<void>;
  #resolve!: () => void;
  #reject!: (error: unknown) => void;

  constructor() {
    this.done = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.done.catch(() => undefined);
  }

  abstract token(index: number, token: SampledToken): boolean;

  finish(_index: number, _reason: FinishReason, _score?: number): void {
    this.#resolve();
  }

  fail(error: unknown): void {
    this.#reject(error);
  }
}
