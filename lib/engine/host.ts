import { AbortError } from '../errors.js';
import type { Program } from '../graph/program.js';
import { DeviceModel, type Executable } from '../runtime/executable.js';
import type { BuiltDecoder } from './build.js';
import { defaultLimits, Engine, type EngineLimits } from './engine.js';
import { KvBlocks } from './kv_blocks.js';
import { type MemoryOptions, type MemoryPlan, planMemory } from './memory.js';
import { outputProgram, samplerProgram, stepProgram } from './programs.js';

export interface HostOptions extends MemoryOptions {
  /** Default 'cpu'. */
  readonly device?: string | undefined;
  readonly threads?: number | undefined;
  /** Steps of models with a higher priority run first, −100 to 100; default 0. */
  readonly priority?: number | undefined;
  /** How linears multiply: 'auto' (default), 'f32', 'bf16'. */
  readonly compute?: string | undefined;
  /** Rows of a prompt that one step takes in; a cancelled prompt ends within one such chunk. Default 512. */
  readonly prefillChunk?: number | undefined;
  /** Sequences that run at once; further ones wait. Default 64. */
  readonly maxSequences?: number | undefined;
  /** Decode steps of one native call when nothing else waits. Default 8. */
  readonly decodeSteps?: number | undefined;
  /** Bytes of weights read and in all. */
  readonly onProgress?: ((progress: { done: number; total: number }) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** A decoder on a device: its programs, made when first needed, and the engine that drives them. */
export class DecoderHost {
  readonly built: BuiltDecoder;
  readonly plan: MemoryPlan;
  readonly model: DeviceModel;
  readonly engine: Engine;
  readonly step: Executable;
  readonly compute: string | undefined;
  readonly #programs = new Map<string, Promise<Executable>>();

  private constructor(
    built: BuiltDecoder,
    plan: MemoryPlan,
    model: DeviceModel,
    step: Executable,
    limits: EngineLimits,
    compute: string | undefined,
  ) {
    this.built = built;
    this.plan = plan;
    this.model = model;
    this.step = step;
    this.compute = compute;
    const programs = {
      step,
      logits: () => this.program(['logits']),
      sampler: () => this.#once('sampler', () => samplerProgram(built)),
    };
    this.engine = new Engine(built, programs, new KvBlocks(plan.blocks), plan.maxContext, limits);
  }

  static async open(built: BuiltDecoder, options: HostOptions = {}): Promise<DecoderHost> {
    const plan = planMemory(built.groups, built.maxPositions, options);
    for (const group of built.groups) group.blocks.size = plan.blocks;
    const model = await DeviceModel.open(options.device ?? 'cpu', {
      threads: options.threads,
      priority: options.priority,
    });
    const abort = (): void => model.cancel();
    options.signal?.addEventListener('abort', abort, { once: true });
    let thrown: { error: unknown } | undefined;
    const report = (): void => {
      try {
        if (thrown === undefined) options.onProgress?.(model.progress());
      } catch (error) {
        thrown = { error };
        model.cancel();
      }
    };
    const timer = options.onProgress === undefined ? undefined : setInterval(report, 100);
    try {
      if (options.signal?.aborted === true) throw new AbortError(undefined, { cause: options.signal.reason });
      const step = await model.compile(stepProgram(built, options.compute));
      report();
      if (thrown !== undefined) throw thrown;
      const limits: EngineLimits = {
        stepRows: Math.max(
          options.prefillChunk ?? defaultLimits.chunk,
          options.maxSequences ?? defaultLimits.sequences,
          defaultLimits.stepRows,
        ),
        chunk: options.prefillChunk ?? defaultLimits.chunk,
        sequences: options.maxSequences ?? defaultLimits.sequences,
        decodeSteps: options.decodeSteps ?? defaultLimits.decodeSteps,
      };
      return new DecoderHost(built, plan, model, step, limits, options.compute);
    } catch (error) {
      await model.dispose();
      throw thrown === undefined ? error : (thrown as { error: unknown }).error;
    } finally {
      clearInterval(timer);
      options.signal?.removeEventListener('abort', abort);
    }
  }

  /** The program that gives these outputs of the graph; weights and cache are shared with all others. */
  program(outputs: readonly string[]): Promise<Executable> {
    const name = outputs.join(' ');
    return this.#once(name, () => outputProgram(this.built, name, outputs, this.compute));
  }

  async dispose(): Promise<void> {
    await this.engine.dispose();
    await this.model.dispose();
  }

  #once(name: string, make: () => Program): Promise<Executable> {
    const known = this.#programs.get(name);
    if (known !== undefined) return known;
    const made = this.model.compile(make());
    this.#programs.set(name, made);
    made.catch(() => this.#programs.delete(name));
    return made;
  }
}
