import { AbortError } from '../errors.js';

type Results = Readonly<Record<string, Float32Array>>;

/** One input of an encoder, waiting for a step. */
interface Job<T> {
  readonly input: T;
  readonly signal: AbortSignal | undefined;
  readonly resolve: (result: Results) => void;
  readonly reject: (error: unknown) => void;
}

/** Inputs that want the same outputs, in order: those that wait run together, as many as fit `most`, a larger one alone. */
export class Lane<T> {
  readonly #most: number;
  readonly #sizeOf: (input: T) => number;
  readonly #run: (inputs: readonly T[]) => Promise<readonly Results[]>;
  #waiting: Job<T>[] = [];
  #running = false;

  constructor(most: number, sizeOf: (input: T) => number, run: (inputs: readonly T[]) => Promise<readonly Results[]>) {
    this.#most = most;
    this.#sizeOf = sizeOf;
    this.#run = run;
  }

  /** Results of one input; running with others changes no bit of them. */
  add(input: T, signal: AbortSignal | undefined): Promise<Results> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ input, signal, resolve, reject });
      if (this.#running) return;
      this.#running = true;
      setImmediate(() => void this.#pump());
    });
  }

  rejectAll(error: unknown): void {
    for (const job of this.#waiting.splice(0)) job.reject(error);
  }

  async #pump(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#take();
      if (batch.length === 0) continue;
      try {
        const results = await this.#run(batch.map((job) => job.input));
        for (const [i, job] of batch.entries()) job.resolve(results[i]!);
      } catch (error) {
        for (const job of batch) job.reject(error);
      }
    }
    this.#running = false;
  }

  /** Jobs of the next step, in order, without those that were given up. */
  #take(): Job<T>[] {
    const batch: Job<T>[] = [];
    let size = 0;
    while (this.#waiting.length > 0) {
      const job = this.#waiting[0]!;
      if (job.signal?.aborted === true) {
        this.#waiting.shift();
        job.reject(new AbortError(undefined, { cause: job.signal.reason }));
        continue;
      }
      size += this.#sizeOf(job.input);
      if (batch.length > 0 && size > this.#most) break;
      batch.push(job);
      this.#waiting.shift();
    }
    return batch;
  }
}
