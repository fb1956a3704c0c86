import { AbortError, ContextOverflowError, DisposedError, NumericError } from '../errors.js';
import { type SampleRow, SampleTables } from '../generation/tables.js';
import type { Executable } from '../runtime/executable.js';
import type { StepResult } from '../runtime/native.js';
import type { BuiltDecoder } from './build.js';
import { type BlockCopy, type BlockTable, KvBlocks } from './kv_blocks.js';
import { planStep, type Share, stepsPerCall } from './scheduler.js';
import { type FinishReason, type GenerationRequest, type Retained, type SampledToken, Sequence } from './sequence.js';
import { packStep, type StepArrays } from './step_inputs.js';

export interface EngineLimits {
  /** Rows of one step. */
  readonly stepRows: number;
  /** Rows of one prompt in one step: a cancelled prompt ends within one chunk. */
  readonly chunk: number;
  /** Sequences that run at once; further ones wait. */
  readonly sequences: number;
  /** Decode steps of one native call, when nothing else waits. */
  readonly decodeSteps: number;
}

export const defaultLimits: EngineLimits = { stepRows: 512, chunk: 512, sequences: 64, decodeSteps: 8 };

/** Milliseconds that one native call should take at most when it takes several decode steps. */
const callTarget = 20;

/** The programs that the engine drives; the last two are made when the first request needs them. */
export interface EnginePrograms {
  readonly step: Executable;
  logits(): Promise<Executable>;
  sampler(): Promise<Executable>;
}

/**
 * Continuous batching: requests join the running batch at the next step and leave it when done. One step is in flight at a
 * time; what a sequence computes never depends on its neighbours.
 */
export class Engine {
  readonly blocks: KvBlocks;
  readonly #built: BuiltDecoder;
  readonly #programs: EnginePrograms;
  readonly #limits: EngineLimits;
  readonly #groups: readonly string[];
  readonly #maxContext: number;
  readonly #tables = new SampleTables();
  readonly #retained = new Set<Retained>();
  #waiting: GenerationRequest[] = [];
  #running: Sequence[] = [];
  #leaseWaiters: (() => void)[] = [];
  #looping: Promise<void> | undefined;
  #disposed = false;
  #stepMs = callTarget;

  constructor(built: BuiltDecoder, programs: EnginePrograms, blocks: KvBlocks, maxContext: number, limits: EngineLimits) {
    this.#built = built;
    this.#programs = programs;
    this.blocks = blocks;
    this.#maxContext = maxContext;
    this.#limits = limits;
    this.#groups = built.groups.map((g) => g.name);
  }

  get load(): { running: number; waiting: number; blocksUsed: number; blocks: number } {
    return { running: this.#running.length, waiting: this.#waiting.length, blocksUsed: this.blocks.used, blocks: this.blocks.capacity };
  }

  /** Queues a request; its sink hears of it from the next step on. */
  submit(request: GenerationRequest): void {
    if (this.#disposed) throw new DisposedError('the model was disposed');
    const { options, prompt } = request;
    if (prompt.length + options.maxTokens > this.#maxContext) {
      throw new ContextOverflowError('prompt and maxTokens do not fit the context', {
        expected: `at most ${this.#maxContext} tokens`,
        found: `${prompt.length} + ${options.maxTokens}`,
      });
    }
    const worst = this.#blocksOf(request);
    if (worst > this.blocks.capacity) {
      throw new ContextOverflowError('the request needs more KV blocks than there are', { expected: `at most ${this.blocks.capacity}`, found: worst, hint: 'Raise kvMemory, or ask for fewer completions' });
    }
    this.#waiting.push(request);
    this.#wake();
  }

  /** A block table for a caller's own steps (forward, score, trace); waits until there is room. Close it afterwards. */
  async lease(tokens: number): Promise<BlockTable> {
    for (;;) {
      if (this.#disposed) throw new DisposedError('the model was disposed');
      const table = this.#open(tokens);
      if (table !== undefined) return table;
      await new Promise<void>((resolve) => this.#leaseWaiters.push(resolve));
    }
  }

  /** Gives a leased table back and lets those who wait try again. */
  release(table: BlockTable): void {
    table.close();
    this.#blocksFreed();
  }

  retain(retained: Retained): void {
    this.#retained.add(retained);
  }

  forget(retained: Retained): void {
    this.#retained.delete(retained);
    if (!retained.busy) retained.table?.close();
    retained.table = undefined;
    this.#blocksFreed();
  }

  /** Ends all requests with a DisposedError; resolves when no step is in flight. */
  async dispose(): Promise<void> {
    this.#disposed = true;
    this.#blocksFreed();
    await this.#looping;
    const error = new DisposedError('the model was disposed');
    for (const request of new Set([...this.#waiting, ...this.#running.map((s) => s.request)])) request.sink.fail(error);
    for (const s of this.#running) s.table.close();
    this.#waiting = [];
    this.#running = [];
  }

  #blocksOf(request: GenerationRequest): number {
    const n = request.options.n;
    const one = Math.ceil((request.prompt.length + request.options.maxTokens) / 32);
    const shared = Math.floor(request.prompt.length / 32);
    return one + (n - 1) * (one - shared + 1);
  }

  /** Opens a table, taking blocks from idle sessions, the longest unused first, if need be. */
  #open(tokens: number): BlockTable | undefined {
    for (;;) {
      const table = this.blocks.open(tokens);
      if (table !== undefined) return table;
      const idle = [...this.#retained].find((r) => !r.busy && r.table !== undefined);
      if (idle === undefined) return undefined;
      idle.table?.close();
      idle.table = undefined;
    }
  }

  #blocksFreed(): void {
    const waiters = this.#leaseWaiters;
    this.#leaseWaiters = [];
    for (const resolve of waiters) resolve();
    this.#wake();
  }

  #wake(): void {
    if (this.#looping !== undefined || this.#disposed || (this.#waiting.length === 0 && this.#running.length === 0)) return;
    this.#looping = this.#loop().finally(() => {
      this.#looping = undefined;
      if (this.#running.length > 0 || (this.#waiting.length > 0 && this.blocks.available > 0 && !this.#starved)) this.#wake();
    });
  }

  #starved = false;

  async #loop(): Promise<void> {
    while (!this.#disposed) {
      this.#dropAborted();
      this.#admit();
      if (this.#running.length === 0) return;
      try {
        await this.#step();
      } catch (error) {
        this.#failAll(error);
      }
    }
  }

  #dropAborted(): void {
    for (const s of this.#running) if (!s.done && s.request.options.signal?.aborted === true) this.#finish(s, 'aborted');
    this.#running = this.#running.filter((s) => !s.done);
    const aborted = this.#waiting.filter((r) => r.options.signal?.aborted === true);
    if (aborted.length === 0) return;
    this.#waiting = this.#waiting.filter((r) => r.options.signal?.aborted !== true);
    for (const r of aborted) r.sink.fail(new AbortError(undefined, { cause: r.options.signal?.reason }));
  }

  #admit(): void {
    this.#starved = false;
    while (this.#waiting.length > 0 && this.#running.length < this.#limits.sequences) {
      const request = this.#waiting[0]!;
      const sequence = this.#start(request);
      this.#starved = sequence === undefined;
      if (sequence === undefined) return;
      this.#waiting.shift();
      this.#running.push(sequence);
    }
  }

  /** Room for the first completion in full; the others fork from it once the prompt is in. */
  #start(request: GenerationRequest): Sequence | undefined {
    const total = request.prompt.length + request.options.maxTokens;
    if (this.#blocksOf(request) > this.blocks.available + this.#idleBlocks(request)) return undefined;
    const ids = Array.from(request.prompt);
    const kept = request.retained;
    if (kept?.table !== undefined) {
      const cached = this.#commonPrefix(kept, ids);
      const table = kept.table;
      table.truncate(cached);
      if (table.reserve(total)) {
        kept.busy = true;
        return new Sequence(request, 0, table, ids, cached);
      }
      table.close();
      kept.table = undefined;
    }
    const table = this.#open(total);
    if (table === undefined) return undefined;
    if (kept !== undefined) Object.assign(kept, { table, busy: true });
    return new Sequence(request, 0, table, ids, 0);
  }

  #idleBlocks(request: GenerationRequest): number {
    let blocks = 0;
    for (const r of this.#retained) if (!r.busy && (r.table !== undefined || r === request.retained)) blocks += r.table?.blocks.length ?? 0;
    return blocks;
  }

  /** How much of the cache a session can use again: at least one id must be taken in, so that there are logits. */
  #commonPrefix(kept: Retained, ids: readonly number[]): number {
    const limit = this.#built.builder.ropeSwitch;
    if (limit !== undefined && ids.length > limit) return 0;
    let n = 0;
    while (n < kept.ids.length && n < ids.length - 1 && kept.ids[n] === ids[n]) n++;
    return n;
  }

  async #step(): Promise<void> {
    const sequences = this.#running;
    for (const s of sequences) this.#switchRope(s);
    const shares = planStep(sequences, this.#limits.stepRows, this.#limits.chunk);
    const most = Math.max(1, Math.min(this.#limits.decodeSteps, Math.floor(callTarget / this.#stepMs)));
    const k = stepsPerCall(shares, this.#waiting.length, most, this.#built.builder.ropeSwitch);
    const copies: BlockCopy[] = [];
    for (const { sequence: s, rows } of shares) copies.push(...s.table.write(s.cached, Math.min(s.cached + rows + k - 1, s.promptLength + s.request.options.maxTokens)));
    const step = packStep(
      shares.map(({ sequence: s, rows, samples }) => ({
        ids: s.ids.slice(s.cached, s.cached + rows),
        from: s.cached,
        ropeLength: s.decoding ? s.ids.length : s.prefillLength,
        blocks: s.table.blocks,
        logits: samples ? Array.from({ length: this.#samplesOf(s) }, () => rows - 1) : [],
      })),
      copies,
      this.#groups,
    );
    const sampled = shares.filter((s) => s.samples);
    this.#fillTables(step, sampled);
    const started = performance.now();
    const result = await this.#run(step, sampled, k);
    this.#stepMs = 0.7 * this.#stepMs + 0.3 * ((performance.now() - started) / Math.max(1, result.steps));
    this.#apply(shares, sampled, result);
    this.#running = this.#running.filter((s) => !s.done);
  }

  /** n completions draw their first ids from the same row of logits. */
  #samplesOf(s: Sequence): number {
    return s.generated === 0 && s.index === 0 ? s.request.options.n : 1;
  }

  /** Longrope: past the switch all keys have other angles, so the whole sequence is taken in again. */
  #switchRope(s: Sequence): void {
    const limit = this.#built.builder.ropeSwitch;
    if (limit === undefined || !s.decoding || s.ids.length <= limit || s.prefillLength > limit) return;
    s.cached = 0;
    s.prefillLength = s.ids.length;
  }

  #fillTables(step: StepArrays, sampled: readonly Share[]): void {
    const rows: SampleRow[] = [];
    const remaining: number[] = [];
    for (const { sequence: s } of sampled) {
      for (let i = 0; i < this.#samplesOf(s); i++) {
        rows.push({ options: s.request.options, sampleIndex: s.index + i, promptLength: s.promptLength, mu: s.mu });
        remaining.push(s.remaining);
      }
    }
    this.#tables.fill(rows);
    Object.assign(step.dims, this.#tables.dims);
    Object.assign(step.inputs, this.#tables.inputs, { remaining: Int32Array.from(remaining) });
  }

  async #run(step: StepArrays, sampled: readonly Share[], k: number): Promise<StepResult> {
    if (!sampled.some((s) => s.sequence.request.options.logitsProcessor !== undefined)) return this.#programs.step.run(step.dims, step.inputs, k);
    const { outputs } = await (await this.#programs.logits()).run(step.dims, step.inputs);
    const logits = outputs.logits as Float32Array;
    const vocab = this.#built.vocabSize;
    let row = 0;
    for (const { sequence: s } of sampled) {
      const process = s.request.options.logitsProcessor;
      for (let i = 0; i < this.#samplesOf(s); i++, row++) {
        if (process === undefined) continue;
        const view = logits.subarray(row * vocab, (row + 1) * vocab);
        try {
          const changed = process(view, { ids: Int32Array.from(s.ids), position: s.ids.length });
          if (changed !== undefined && changed !== view) view.set(changed);
        } catch (error) {
          this.#fail(s, error);
        }
      }
    }
    const result = await (await this.#programs.sampler()).run(step.dims, { ...step.inputs, logits });
    return { ...result, status: new Int32Array(0) };
  }

  #apply(shares: readonly Share[], sampled: readonly Share[], result: StepResult): void {
    for (const { sequence: s, rows } of shares) s.cached += rows;
    const samples = sampled.reduce((n, s) => n + this.#samplesOf(s.sequence), 0);
    let sample = 0;
    for (const { sequence: s } of sampled) {
      const count = this.#samplesOf(s);
      const heirs = [s, ...this.#fork(s, count)];
      for (const [i, heir] of heirs.entries()) this.#take(heir, sample + i, samples, result);
      sample += count;
    }
  }

  /** The other completions of a request share the blocks of its prompt. */
  #fork(s: Sequence, count: number): Sequence[] {
    const forks: Sequence[] = [];
    for (let i = 1; i < count && !s.done; i++) {
      const table = s.table.fork(s.promptLength + s.request.options.maxTokens);
      if (table === undefined) {
        this.#fail(s, new ContextOverflowError('no KV blocks for a further completion'));
        break;
      }
      const fork = new Sequence(s.request, i, table, [...s.ids], s.cached);
      fork.prefillLength = s.prefillLength;
      forks.push(fork);
      this.#running.push(fork);
    }
    return forks;
  }

  /** Hands the sampled ids of one sequence to its request, step by step, until it ends. */
  #take(s: Sequence, sample: number, samples: number, result: StepResult): void {
    const { ids, logprobs, top_ids: topIds, top_logprobs: topLogprobs, mu } = result.outputs as Record<string, Float32Array | Int32Array>;
    const top = (topIds?.length ?? 0) / Math.max(1, samples * result.steps);
    for (let step = 0; step < result.steps && !s.done; step++) {
      const at = step * samples + sample;
      const id = ids![at]!;
      if (step > 0) s.cached++;
      if (id < 0) return this.#fail(s, new NumericError('the logits of this request hold a NaN, or no token is allowed', { found: `after ${s.ids.length} tokens` }));
      s.ids.push(id);
      s.mu = mu![at]!;
      const wanted = s.request.options.topLogprobs;
      const token: SampledToken = {
        id,
        logprob: logprobs![at]!,
        top: Array.from({ length: wanted }, (_, i) => ({ id: topIds![at * top + i]!, logprob: topLogprobs![at * top + i]! })),
        stop: s.request.options.stopIds.includes(id),
      };
      const ended = this.#tell(s, token);
      if (token.stop || ended) this.#finish(s, 'stop');
      else if (s.remaining <= 0) this.#finish(s, 'length');
    }
  }

  #tell(s: Sequence, token: SampledToken): boolean {
    try {
      return s.request.sink.token(s.index, token);
    } catch (error) {
      this.#fail(s, error);
      return true;
    }
  }

  #finish(s: Sequence, reason: FinishReason): void {
    if (s.done) return;
    this.#end(s);
    s.request.sink.finish(s.index, reason);
  }

  /** Ends all completions of a request. */
  #fail(s: Sequence, error: unknown): void {
    for (const other of [s, ...this.#running.filter((o) => o.request === s.request)]) if (!other.done) this.#end(other);
    s.request.sink.fail(error);
  }

  #failAll(error: unknown): void {
    for (const s of this.#running) if (!s.done) this.#fail(s, error);
    this.#running = [];
  }

  #end(s: Sequence): void {
    s.done = true;
    const kept = s.request.retained;
    if (kept !== undefined && s.index === 0 && kept.table === s.table && this.#retained.has(kept)) {
      s.table.truncate(s.cached);
      kept.ids = s.ids.slice(0, s.cached);
      kept.busy = false;
      this.#retained.delete(kept);
      this.#retained.add(kept);
    } else {
      s.table.close();
    }
    this.#blocksFreed();
  }
}
