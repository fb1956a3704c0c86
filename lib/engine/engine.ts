import { AbortError, DisposedError, NumericError } from '../errors.js';
import { type SampleRow, SampleTables } from '../generation/tables.js';
import type { Executable } from '../runtime/executable.js';
import type { StepResult } from '../runtime/native.js';
import { checkRequest, forkFrom, processLogits, sequencesOf } from './admission.js';
import { type BeamJob, tellBeams } from './beams.js';
import type { BuiltDecoder } from './build.js';
import { addTexts, type TextReader } from './encode_texts.js';
import { type BlockCopy, blocksFor, type KvBlocks } from './kv_blocks.js';
import { KvPool } from './kv_pool.js';
import { ProbeStep } from './probe_step.js';
import type { ProbeSpec } from './probes.js';
import { planStep, type Share, stepsPerCall } from './scheduler.js';
import { type FinishReason, type GenerationRequest, type SampledToken, Sequence, sampledToken } from './sequence.js';
import { startSequence } from './start_sequence.js';
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

/** The programs that the engine drives; all but the step are made when the first request needs them. */
export interface EnginePrograms {
  /** The step, or with `logits` the one that gives them, with `probe` in it. */
  program(logits: boolean, probe: ProbeSpec | undefined): Promise<Pick<Executable, 'run'>>;
  sampler(): Promise<Executable>;
  /** Columns of what changes a value. */
  probeWidth(name: string): number;
  /** Of an encoder-decoder. */
  readonly reader?: TextReader | undefined;
}

/**
 * Continuous batching: requests join the running batch at the next step and leave it when done. One step is in flight at a
 * time; what a sequence computes never depends on its neighbours.
 */
export class Engine {
  readonly pool: KvPool;
  readonly #built: BuiltDecoder;
  readonly #programs: EnginePrograms;
  readonly #limits: EngineLimits;
  readonly #groups: readonly string[];
  readonly #maxContext: number;
  readonly #tables = new SampleTables();
  #waiting: GenerationRequest[] = [];
  #running: Sequence[] = [];
  #looping: Promise<void> | undefined;
  /** The first of the waiting found no room: only freed blocks help. */
  #starved = false;
  #disposed = false;
  #stepMs = callTarget;

  constructor(
    built: BuiltDecoder,
    programs: EnginePrograms,
    blocks: KvBlocks,
    maxContext: number,
    limits: EngineLimits,
  ) {
    this.#built = built;
    this.#programs = programs;
    this.pool = new KvPool(blocks, () => this.#freed());
    this.#maxContext = maxContext;
    this.#limits = limits;
    this.#groups = built.groups.map((g) => g.name);
  }

  get blocks(): KvBlocks {
    return this.pool.blocks;
  }

  get load(): { running: number; waiting: number; blocksUsed: number; blocks: number; textBlocksUsed: number } {
    return {
      running: this.#running.length,
      waiting: this.#waiting.length,
      blocksUsed: this.blocks.used,
      blocks: this.blocks.capacity,
      textBlocksUsed: this.#programs.reader?.blocks.used ?? 0,
    };
  }

  /** Queues a request; its sink hears of it from the next step on. */
  submit(request: GenerationRequest): void {
    if (this.#disposed) throw new DisposedError('the model was disposed');
    const { ropeSwitch } = this.#built.builder;
    const { sequences } = this.#limits;
    const blocks = { blocks: this.blocks.capacity, textBlocks: this.#programs.reader?.blocks.capacity ?? 0 };
    checkRequest(request, { maxContext: this.#maxContext, sequences, ropeSwitch, ...blocks });
    this.#waiting.push(request);
    request.options.signal?.addEventListener('abort', () => this.#freed(), { once: true });
    this.#wake();
  }

  /** Ends all requests with a DisposedError; resolves when no step is in flight. */
  async dispose(): Promise<void> {
    this.#disposed = true;
    this.pool.close();
    await this.#looping;
    const error = new DisposedError('the model was disposed');
    const requests = new Set([...this.#waiting, ...this.#running.map((s) => s.request)]);
    for (const s of this.#running) this.#end(s, false);
    this.#waiting = [];
    this.#running = [];
    for (const request of requests) request.sink.fail(error);
  }

  #freed(): void {
    this.#starved = false;
    this.#wake();
  }

  #wake(): void {
    if (this.#looping !== undefined || this.#disposed) return;
    if (this.#waiting.length === 0 && this.#running.length === 0) return;
    // A tick later: calls of the same tick join the same step.
    this.#looping = Promise.resolve()
      .then(() => this.#loop())
      .finally(() => {
        this.#looping = undefined;
        if (!this.#starved) this.#wake();
      });
  }

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
    for (const s of this.#running)
      if (!s.done && s.request.options.signal?.aborted === true) this.#finish(s, 'aborted');
    this.#running = this.#running.filter((s) => !s.done);
    const aborted = this.#waiting.filter((r) => r.options.signal?.aborted === true);
    if (aborted.length === 0) return;
    this.#waiting = this.#waiting.filter((r) => r.options.signal?.aborted !== true);
    this.#starved = false;
    for (const r of aborted) r.sink.fail(new AbortError(undefined, { cause: r.options.signal?.reason }));
  }

  #admit(): void {
    this.#starved = false;
    for (let request = this.#waiting[0]; request !== undefined; request = this.#waiting[0]) {
      if (this.#slots + sequencesOf(request) > this.#limits.sequences) return;
      const sequence = startSequence(request, this.#built, this.pool, this.#programs.reader);
      this.#starved = sequence === undefined;
      if (sequence === undefined) return;
      this.#waiting.shift();
      this.#running.push(sequence);
    }
  }

  /** Running sequences, those that have yet to fork included. */
  get #slots(): number {
    const of = (s: Sequence): number => (s.beams === undefined ? s.samples : s.index > 0 ? 0 : sequencesOf(s.request));
    return this.#running.reduce((n, s) => n + of(s), 0);
  }

  async #step(): Promise<void> {
    const sequences = this.#running;
    const unread = new Set(sequences.flatMap((s) => (s.text === undefined || s.text.encoded ? [] : [s.text])));
    if (unread.size > 0) await this.#programs.reader!.encode([...unread]);
    const { ropeSwitch } = this.#built.builder;
    for (const s of sequences) s.switchRope(ropeSwitch);
    const shares = planStep(sequences, this.#limits.stepRows, this.#limits.chunk);
    const most = Math.max(1, Math.min(this.#limits.decodeSteps, Math.floor(callTarget / this.#stepMs)));
    const probe = ProbeStep.of(shares);
    let k = stepsPerCall(shares, this.#waiting.length, most, ropeSwitch);
    const copies: BlockCopy[] = [];
    let reach = 0;
    for (const { sequence: s, rows } of shares) {
      const end = s.cached + rows + k - 1;
      reach = Math.max(reach, end);
      const to = Math.min(end, s.promptLength + s.request.options.maxTokens);
      copies.push(...(s.beams === undefined ? s.table.write(s.cached, to) : s.beams.write(s, to)));
    }
    // A call makes its copies in every step: a second one would undo what the first wrote. It shows one step.
    if (copies.length > 0 || probe?.shows === true) k = 1;
    const step = packStep(
      shares.map(({ sequence: s, rows, samples }) => ({
        ids: s.ids.slice(s.cached, s.cached + rows),
        from: s.cached,
        ropeLength: s.decoding ? s.ids.length : s.prefillLength,
        blocks: s.table.blocks,
        logits: samples ? Array.from({ length: s.samples }, () => rows - 1) : [],
      })),
      copies,
      this.#groups,
      blocksFor(reach),
    );
    const sampled = shares.filter((s) => s.samples);
    if (this.#programs.reader !== undefined) addTexts(step, shares, k);
    this.#fillTables(step, sampled);
    probe?.fill(step, this.#programs.probeWidth);
    const started = performance.now();
    const result = await this.#run(step, sampled, k, probe);
    this.#stepMs = 0.7 * this.#stepMs + 0.3 * ((performance.now() - started) / Math.max(1, result.steps));
    if (probe?.shows === true) probe.read(result.outputs);
    this.#apply(shares, sampled, result);
    this.#running = this.#running.filter((s) => !s.done);
  }

  #fillTables(step: StepArrays, sampled: readonly Share[]): void {
    const rows: SampleRow[] = [];
    const remaining: number[] = [];
    for (const { sequence: s } of sampled) {
      for (let i = 0; i < s.samples; i++) {
        const { options } = s.request;
        const candidates = s.beams?.wanted;
        rows.push({ options, sampleIndex: s.index + i, promptLength: s.promptLength, mu: s.mu, candidates });
        remaining.push(s.remaining);
      }
    }
    this.#tables.fill(rows);
    Object.assign(step.dims, this.#tables.dims);
    Object.assign(step.inputs, this.#tables.inputs, { remaining: Int32Array.from(remaining) });
  }

  async #run(step: StepArrays, sampled: readonly Share[], k: number, probe?: ProbeStep): Promise<StepResult> {
    const processed = sampled.some((s) => s.sequence.request.options.logitsProcessor !== undefined);
    const program = await this.#programs.program(processed, probe?.spec);
    if (!processed) return program.run(step.dims, step.inputs, k);
    const { outputs } = await program.run(step.dims, step.inputs);
    const logits = outputs.logits as Float32Array;
    const vocab = this.#built.vocabSize;
    let row = 0;
    for (const { sequence: s } of sampled) {
      for (let i = 0; i < s.samples; i++, row++) {
        if (!s.done) this.#process(s, logits.subarray(row * vocab, (row + 1) * vocab));
      }
    }
    const result = await (await this.#programs.sampler()).run(step.dims, { ...step.inputs, logits });
    return { ...result, outputs: { ...outputs, ...result.outputs }, status: new Int32Array(0) };
  }

  #process(s: Sequence, logits: Float32Array): void {
    try {
      processLogits(s, logits);
    } catch (error) {
      this.#fail(s, error);
    }
  }

  #apply(shares: readonly Share[], sampled: readonly Share[], result: StepResult): void {
    for (const { sequence: s, rows } of shares) s.cached += rows;
    const samples = sampled.reduce((n, s) => n + s.sequence.samples, 0);
    let sample = 0;
    for (const { sequence: s } of sampled) {
      const count = s.samples;
      if (s.beams !== undefined) {
        if (s.index === 0 && !s.done) this.#advance(s, s.beams, sample, samples, result);
        sample++;
        continue;
      }
      const heirs = [s, ...this.#fork(s, count)];
      for (const [i, heir] of heirs.entries()) this.#take(heir, sample + i, samples, result);
      sample += count;
    }
  }

  /** All beams of a search go on at once: their draws follow that of the first, from `sample` on. */
  #advance(s: Sequence, beams: BeamJob, sample: number, samples: number, result: StepResult): void {
    try {
      const { running, finished } = beams.advance(result, sample, samples);
      this.#running.push(...running);
      if (finished === undefined) return;
      this.#end(s, false);
      tellBeams(s.request, finished);
    } catch (error) {
      this.#fail(s, error);
    }
  }

  /** The other completions of a request share the blocks of its prompt. */
  #fork(s: Sequence, count: number): Sequence[] {
    const forks: Sequence[] = [];
    if (s.done || count === 1) return forks;
    this.blocks.unpromise(s.spare);
    s.spare = 0;
    const from = forkFrom(s.request, this.#built.builder.ropeSwitch);
    for (let i = 1; i < count; i++) {
      const table = s.table.fork(s.promptLength + s.request.options.maxTokens, from);
      if (table === undefined) throw new Error('KV blocks: the room for a further completion was promised');
      const fork = new Sequence(s.request, i, table, [...s.ids], s.cached);
      fork.prefillLength = s.prefillLength;
      fork.text = s.text;
      fork.traces = [...s.traces];
      if (s.text !== undefined) s.text.users++;
      forks.push(fork);
      this.#running.push(fork);
    }
    return forks;
  }

  /** Hands the sampled ids of one sequence to its request, step by step, until it ends. */
  #take(s: Sequence, sample: number, samples: number, result: StepResult): void {
    const { ids, mu } = result.outputs as Record<string, Float32Array | Int32Array>;
    for (let step = 0; step < result.steps && !s.done; step++) {
      const at = step * samples + sample;
      const id = ids![at]!;
      if (step > 0) s.cached++;
      if (id < 0) {
        const found = `after ${s.ids.length} tokens`;
        this.#fail(s, new NumericError('the logits of this request hold a NaN, or no token is allowed', { found }));
        return;
      }
      s.ids.push(id);
      s.mu = mu![at]!;
      const token = { ...sampledToken(result, at, samples, s.request.options), traces: s.traces.splice(0) };
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
    this.#end(s, true);
    s.request.sink.finish(s.index, reason);
  }

  /** Ends all completions of a request. */
  #fail(s: Sequence, error: unknown): void {
    for (const other of [s, ...this.#running.filter((o) => o.request === s.request)])
      if (!other.done) this.#end(other, false);
    s.request.sink.fail(error);
  }

  #failAll(error: unknown): void {
    for (const s of this.#running) if (!s.done) this.#fail(s, error);
    this.#running = [];
  }

  /** Frees a sequence's blocks, or leaves them to its session if the cache is `sound`. */
  #end(s: Sequence, sound: boolean): void {
    s.done = true;
    if (s.beams?.close() === false) return;
    if (s.text !== undefined) this.#programs.reader?.close(s.text);
    this.blocks.unpromise(s.spare);
    s.spare = 0;
    const kept = s.request.retained;
    const own = kept !== undefined && s.index === 0 && kept.table === s.table;
    if (!own || !sound || !this.pool.keep(kept, s.table, s.ids.slice(0, s.cached), s.prefillLength)) {
      s.table.close();
      if (own) Object.assign(kept, { table: undefined, busy: false });
    }
    this.pool.notify();
  }
}
