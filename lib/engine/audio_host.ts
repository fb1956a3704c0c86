import { DisposedError } from '../errors.js';
import { lower } from '../graph/lower.js';
import type { Program } from '../graph/program.js';
import { type AudioBuilder, levelRows } from '../layers/audio.js';
import type { DeviceModel, Executable } from '../runtime/executable.js';
import type { InputArray } from '../runtime/native.js';
import { checkStepMemory } from '../runtime/step_memory.js';
import type { BuiltAudio } from './build.js';
import { Lane } from './lane.js';
import { type DeviceOptions, openDevice } from './open_device.js';
import { ProgramCache } from './program_cache.js';

export interface AudioHostOptions extends DeviceOptions {
  /** Samples of a step: as many waiting clips run together as fit, a longer one alone. Default 480 000, half a minute. */
  readonly stepSamples?: number | undefined;
}

/** Results of one clip by output name: (its frames, cols). */
export type AudioResult = Readonly<Record<string, Float32Array>>;

/** The arrays and dims of one step, clips one after another, by the names that AudioBuilder declares. */
export function packAudioStep(
  builder: AudioBuilder,
  clips: readonly Float32Array[],
): { dims: Record<string, number>; inputs: Record<string, InputArray>; starts: Int32Array } {
  const all = clips.map((clip) => levelRows(builder.convolutions, clip.length));
  const bounds = builder.levels.map((_, level) => {
    const starts = new Int32Array(clips.length + 1);
    for (const [c, rows] of all.entries()) starts[c + 1] = starts[c]! + rows[level]!;
    return starts;
  });
  const samples = new Float32Array(bounds[0]!.at(-1)!);
  for (const [c, clip] of clips.entries()) samples.set(clip, bounds[0]![c]!);
  const inputs: Record<string, InputArray> = { samples };
  const dims: Record<string, number> = { seqs: clips.length, seq_bounds: clips.length + 1 };
  for (const [level, starts] of bounds.entries()) {
    inputs[builder.levels[level]!.starts.name] = starts;
    dims[builder.levels[level]!.rows.name] = starts.at(-1)!;
  }
  return { dims, inputs, starts: bounds.at(-1)! };
}

/** The program that gives these outputs; `optional`: inputs that it keeps besides those it always has. */
export function audioProgram(
  built: BuiltAudio,
  outputs: readonly string[],
  compute?: string,
  optional: readonly string[] = [],
): Program {
  const given = compute === undefined ? {} : { compute };
  return lower(built.builder.graph, { name: 'encode', outputs, optional, ...given });
}

/** Throws an OutOfMemoryError where clips of so many samples are too much for one step. */
function checkClips(executable: Executable, dims: Readonly<Record<string, number>>, samples: number): void {
  checkStepMemory(executable, dims, `${samples} samples are too many to be heard at once`, {
    ...{ name: 'input', hint: 'Hear the audio in smaller chunks' },
  });
}

/** An encoder of waveforms on a device: clips that come while others run join the next step. */
export class AudioHost {
  readonly built: BuiltAudio;
  readonly model: DeviceModel;
  readonly #executable: Executable;
  readonly #shown: ProgramCache;
  readonly #compute: string | undefined;
  readonly #lane: Lane<Float32Array>;
  #disposed = false;

  private constructor(built: BuiltAudio, model: DeviceModel, executable: Executable, options: AudioHostOptions) {
    this.built = built;
    this.model = model;
    this.#executable = executable;
    this.#shown = new ProgramCache(model);
    this.#compute = options.compute;
    this.#lane = new Lane<Float32Array>(
      options.stepSamples ?? 480_000,
      (samples) => samples.length,
      (clips) => this.#step(clips),
    );
  }

  /** `outputs`: what `run` gives. */
  static async open(built: BuiltAudio, outputs: readonly string[], options: AudioHostOptions = {}): Promise<AudioHost> {
    const { model, executable } = await openDevice(audioProgram(built, outputs, options.compute), options);
    return new AudioHost(built, model, executable, options);
  }

  /** Results of one clip, at least as long as one frame sees; it may run with others, which changes no bit of them. */
  run(samples: Float32Array, signal?: AbortSignal): Promise<AudioResult> {
    if (this.#disposed) return Promise.reject(new DisposedError('the model was disposed'));
    return this.#lane.add(samples, signal);
  }

  /** One clip by itself, with any outputs of the graph, attention maps too. */
  async alone(
    outputs: readonly string[],
    samples: Float32Array,
  ): Promise<{ readonly frames: number; readonly outputs: AudioResult }> {
    if (this.#disposed) throw new DisposedError('the model was disposed');
    const { builder } = this.built;
    // A value with two names (last_hidden_state, the last of hidden_states) is given once.
    const names = new Map(outputs.map((name) => [builder.graph.outputs.get(name), name]));
    const once = [...names.values()];
    const program = this.#shown.get(once.join(' '), () => audioProgram(this.built, once, this.#compute));
    const { dims, inputs } = packAudioStep(builder, [samples]);
    const frames = dims.rows!;
    const sizes: Record<string, number> = { ...dims, keys: frames };
    const step = await program.use((executable) => {
      checkClips(executable, sizes, samples.length);
      return executable.run(sizes, inputs);
    });
    const made = step.outputs as Record<string, Float32Array>;
    const given = (name: string): Float32Array => made[names.get(builder.graph.outputs.get(name))!]!;
    return { frames, outputs: Object.fromEntries(outputs.map((name) => [name, given(name)])) };
  }

  async dispose(): Promise<void> {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#lane.rejectAll(new DisposedError('the model was disposed'));
    await this.model.dispose();
  }

  async #step(clips: readonly Float32Array[]): Promise<AudioResult[]> {
    const { dims, inputs, starts } = packAudioStep(this.built.builder, clips);
    checkClips(this.#executable, dims, dims.samples!);
    const { outputs } = await this.#executable.run(dims, inputs);
    return clips.map((_, s) => {
      const own = Object.entries(outputs).map(([name, data]): [string, Float32Array] => {
        const width = this.built.builder.graph.outputs.get(name)!.dims[1]!.size!;
        return [name, (data as Float32Array).slice(starts[s]! * width, starts[s + 1]! * width)];
      });
      return Object.fromEntries(own);
    });
  }
}
