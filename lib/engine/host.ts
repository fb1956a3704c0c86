import type { Program } from '../graph/program.js';
import type { DeviceModel, Executable } from '../runtime/executable.js';
import type { BuiltDecoder, BuiltSeq2Seq } from './build.js';
import { encodeProgram, TextReader } from './encode_texts.js';
import { defaultLimits, Engine, type EngineLimits } from './engine.js';
import { KvBlocks } from './kv_blocks.js';
import { type MemoryOptions, type MemoryPlan, parseBytes, planMemory } from './memory.js';
import { type DeviceOptions, freeBytes, openDevice } from './open_device.js';
import { type ProbeSpec, Probes } from './probes.js';
import { ProgramCache, type Runner } from './program_cache.js';
import { outputProgram, probedProgram, samplerProgram, stepProgram } from './programs.js';

export interface HostOptions extends MemoryOptions, DeviceOptions {
  /** Rows of a prompt that one step takes in; a cancelled prompt ends within one such chunk. Default 512. */
  readonly prefillChunk?: number | undefined;
  /** Sequences that run at once; further ones wait. Default 64. */
  readonly maxSequences?: number | undefined;
  /** Decode steps of one native call when nothing else waits. Default 8. */
  readonly decodeSteps?: number | undefined;
}

/** A decoder on a device: its programs, made when first needed, and the engine that drives them. */
export class DecoderHost {
  readonly built: BuiltDecoder;
  readonly plan: MemoryPlan;
  readonly model: DeviceModel;
  readonly engine: Engine;
  readonly step: Executable;
  readonly compute: string | undefined;
  /** Sequences that run at once. */
  readonly maxSequences: number;
  /** The encoder's side of an encoder-decoder. */
  readonly reader: TextReader | undefined;
  readonly #programs = new Map<string, Promise<Executable>>();
  readonly #probed: ProgramCache;
  readonly #probes: Probes;

  private constructor(
    built: BuiltDecoder,
    plan: MemoryPlan,
    model: DeviceModel,
    step: Executable,
    limits: EngineLimits,
    compute: string | undefined,
    reader: TextReader | undefined,
  ) {
    this.built = built;
    this.plan = plan;
    this.model = model;
    this.step = step;
    this.compute = compute;
    this.maxSequences = limits.sequences;
    this.reader = reader;
    const programs = {
      program: (logits: boolean, probe: ProbeSpec | undefined) => this.#stepProgram(logits, probe),
      sampler: () => this.#once('sampler', () => samplerProgram(built)),
      probeWidth: (name: string) => this.#probes.width(name),
      reader,
    };
    this.#probed = new ProgramCache(model);
    this.#probes = new Probes(built.builder.graph);
    this.engine = new Engine(built, programs, new KvBlocks(plan.blocks), plan.maxContext, limits);
  }

  /** `whole`: the encoder-decoder that `built` is the decoder of. */
  static async open(built: BuiltDecoder, options: HostOptions = {}, whole?: BuiltSeq2Seq): Promise<DecoderHost> {
    const memory = whole === undefined ? options : halved(options);
    const free = await freeBytes(options.device);
    const texts = whole === undefined ? undefined : planTexts(whole, memory, free);
    const plan = planMemory(built.groups, built.maxPositions, memory, free);
    for (const group of built.groups) group.blocks.size = plan.blocks;
    const { model, executable } = await openDevice(stepProgram(built, options.compute), options);
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
    try {
      const encode = whole === undefined ? undefined : await model.compile(encodeProgram(whole, options.compute));
      const shown = new ProgramCache(model);
      const show = (outputs: readonly string[]): Runner =>
        shown.get(outputs.join(' '), () => encodeProgram(whole!, options.compute, outputs));
      const reader = encode === undefined ? undefined : new TextReader(whole!, encode, texts!, limits.stepRows, show);
      return new DecoderHost(built, plan, model, executable, limits, options.compute, reader);
    } catch (error) {
      await model.dispose();
      throw error;
    }
  }

  /** The program that gives these outputs of the graph; weights and cache are shared with all others. */
  program(outputs: readonly string[]): Promise<Executable> {
    const name = outputs.join(' ');
    return this.#once(name, () => outputProgram(this.built, name, outputs, this.compute));
  }

  /** The step, or the program that gives `outputs`, with what `spec` shows and changes. */
  probed(outputs: readonly string[] | undefined, spec: ProbeSpec): Runner {
    const name = [outputs?.join(' ') ?? 'step', '+', ...spec.shown, ...spec.changed.map((c) => `~${c}`)].join(' ');
    return this.#probed.get(name, () => probedProgram(this.built, this.#probes, outputs, spec, this.compute));
  }

  async dispose(): Promise<void> {
    await this.engine.dispose();
    await this.model.dispose();
  }

  async #stepProgram(logits: boolean, probe: ProbeSpec | undefined): Promise<Pick<Executable, 'run'>> {
    if (probe !== undefined) return this.probed(logits ? ['logits'] : undefined, probe);
    return logits ? this.program(['logits']) : this.step;
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

/** The decoder and what it reads get half of the KV memory each. */
function halved(options: HostOptions): HostOptions {
  const { kvMemory } = options;
  return kvMemory === undefined ? options : { ...options, kvMemory: Math.floor(parseBytes('kvMemory', kvMemory) / 2) };
}

/** Blocks for cross-attention: as many as for the decoder's own, each holding the whole of a text. */
function planTexts(whole: BuiltSeq2Seq, options: HostOptions, free: number): KvBlocks {
  const { cross } = whole.builder;
  const plan = planMemory([cross], whole.maxSource, { kvMemory: options.kvMemory }, free);
  cross.blocks.size = plan.blocks;
  return new KvBlocks(plan.blocks);
}
