import { AbortError, DisposedError } from '../errors.js';
import { lower } from '../graph/lower.js';
import type { ValueChange } from '../graph/passes/change_values.js';
import type { EncoderBuilder } from '../layers/encoder.js';
import type { DeviceModel, Executable } from '../runtime/executable.js';
import type { InputArray } from '../runtime/native.js';
import type { BuiltEncoder } from './build.js';
import { Lane } from './lane.js';
import { type DeviceOptions, openDevice } from './open_device.js';
import { fillChanges } from './probe_step.js';
import { Probes } from './probes.js';
import { ProgramCache } from './program_cache.js';
import type { StepArrays } from './step_inputs.js';

/** One text for an encoder. */
export interface EncoderSequence {
  readonly ids: ArrayLike<number>;
  /** Segment of each token; default 0. */
  readonly tokenTypes?: ArrayLike<number> | undefined;
  /** Positions as the model sees them; default: its own rule. */
  readonly positions?: ArrayLike<number> | undefined;
  /** Places in the padded sequence; default 0, 1, … */
  readonly places?: ArrayLike<number> | undefined;
  /** Tokens whose logits over the vocabulary are wanted; default: all. */
  readonly logitRows?: readonly number[] | undefined;
}

export interface EncoderHostOptions extends DeviceOptions {
  /** Rows of a step: as many waiting texts run together as fit, a longer one alone. Default 1024. */
  readonly stepRows?: number | undefined;
}

/** Results of one text, by output name: (its rows, cols), (cols) of outputs over sequences, (its logit rows, vocab). */
export type EncoderResult = Readonly<Record<string, Float32Array>>;

/** Positions of a sequence by the model's rule: places, or counted over ids that are not padding (RoBERTa). */
export function encoderPositions(builder: EncoderBuilder, ids: ArrayLike<number>): Int32Array {
  const padding = builder.positionPadding;
  if (padding === undefined) return Int32Array.from({ length: ids.length }, (_, i) => i);
  let count = 0;
  return Int32Array.from(ids, (id) => (id === padding ? padding : padding + ++count));
}

/** The arrays and dims of one step, sequences one after another, by the names that EncoderBuilder declares. */
export function packEncoderStep(
  builder: EncoderBuilder,
  sequences: readonly EncoderSequence[],
): { dims: Record<string, number>; inputs: Record<string, InputArray>; starts: Int32Array; logitStarts: Int32Array } {
  const rows = sequences.reduce((n, s) => n + s.ids.length, 0);
  const logits = sequences.map((s) => s.logitRows ?? Array.from({ length: s.ids.length }, (_, i) => i));
  const logitRows = logits.reduce((n, l) => n + l.length, 0);
  const array = (): Int32Array => new Int32Array(rows);
  const [ids, types, positions, places, ropeLengths] = [array(), array(), array(), array(), array()];
  const wanted = new Int32Array(logitRows);
  const [starts, logitStarts] = [new Int32Array(sequences.length + 1), new Int32Array(sequences.length + 1)];
  for (const [s, sequence] of sequences.entries()) {
    const [row, n, logit] = [starts[s]!, sequence.ids.length, logitStarts[s]!];
    ids.set(sequence.ids, row);
    if (sequence.tokenTypes !== undefined) types.set(sequence.tokenTypes, row);
    positions.set(sequence.positions ?? encoderPositions(builder, sequence.ids), row);
    for (let i = 0; i < n; i++) places[row + i] = sequence.places?.[i] ?? i;
    ropeLengths.fill(n, row, row + n);
    for (const [i, at] of logits[s]!.entries()) wanted[logit + i] = row + at;
    starts[s + 1] = row + n;
    logitStarts[s + 1] = logit + logits[s]!.length;
  }
  return {
    dims: { rows, seqs: sequences.length, seq_bounds: sequences.length + 1, logit_rows: logitRows },
    inputs: {
      input_ids: ids,
      token_type_ids: types,
      positions,
      places,
      rope_lengths: ropeLengths,
      starts,
      first_rows: starts.slice(0, -1),
      last_rows: starts.subarray(1).map((end) => end - 1),
      logit_rows: wanted,
    },
    starts,
    logitStarts,
  };
}

/** An encoder on a device: texts that come while others run join the next step. */
export class EncoderHost {
  readonly built: BuiltEncoder;
  readonly model: DeviceModel;
  readonly stepRows: number;
  readonly #compute: string | undefined;
  readonly #lanes = new Map<string, Lane<EncoderSequence>>();
  readonly #shown: ProgramCache;
  readonly #probes: Probes;
  readonly #main: { readonly name: string; readonly executable: Executable };
  #disposed = false;

  private constructor(
    built: BuiltEncoder,
    model: DeviceModel,
    main: { readonly name: string; readonly executable: Executable },
    options: EncoderHostOptions,
  ) {
    this.built = built;
    this.model = model;
    this.#main = main;
    this.#compute = options.compute;
    this.#shown = new ProgramCache(model);
    this.#probes = new Probes(built.builder.graph);
    this.stepRows = options.stepRows ?? 1024;
  }

  /** `outputs`: those of the program that is compiled, and its weights packed, here; others are when first asked for. */
  static async open(
    built: BuiltEncoder,
    outputs: readonly string[],
    options: EncoderHostOptions = {},
  ): Promise<EncoderHost> {
    const name = outputs.join(' ');
    const { model, executable } = await openDevice(encoderProgram(built, outputs, options.compute), options);
    return new EncoderHost(built, model, { name, executable }, options);
  }

  /** Results of one text; it may run together with others, which changes no bit of them. */
  run(outputs: readonly string[], sequence: EncoderSequence, signal?: AbortSignal): Promise<EncoderResult> {
    if (this.#disposed) return Promise.reject(new DisposedError('the model was disposed'));
    return this.#lane(outputs).add(sequence, signal);
  }

  /** As `run`, with what is added or multiplied on the way, by the names of ProbeSpec: such a text runs by itself. */
  async runChanged(
    outputs: readonly string[],
    sequence: EncoderSequence,
    changes: ReadonlyMap<string, Float32Array>,
    signal?: AbortSignal,
  ): Promise<EncoderResult> {
    const stopped = (): void => {
      if (signal?.aborted === true) throw new AbortError(undefined, { cause: signal.reason });
    };
    stopped();
    const made = await this.alone(outputs, sequence, undefined, changes);
    stopped();
    return made as EncoderResult;
  }

  /**
   * One text by itself, with any outputs of the graph, attention maps too; `more`: dims and inputs that they need; `changes`: as
   * for `runChanged`.
   */
  async alone(
    outputs: readonly string[],
    sequence: EncoderSequence,
    more?: StepArrays,
    changes: ReadonlyMap<string, Float32Array> = new Map(),
  ): Promise<Readonly<Record<string, Float32Array | Int32Array>>> {
    const { builder } = this.built;
    // A value with two names (last_hidden_state, the last of hidden_states) is given once.
    const names = new Map(outputs.map((name) => [builder.graph.outputs.get(name), name]));
    const once = [...names.values()];
    const changed = [...changes.keys()].sort();
    const program = this.#shown.get([...once, ...changed.map((c) => `~${c}`)].join(' '), () =>
      encoderProgram(this.built, once, this.#compute, [], this.#probes.changes(changed)),
    );
    const { dims, inputs } = packEncoderStep(builder, [sequence]);
    if (changed.length > 0) fillChanges({ dims, inputs }, changes);
    const sizes = { ...dims, keys: sequence.ids.length, ...more?.dims };
    const { outputs: made } = await program.run(sizes, { ...inputs, ...more?.inputs });
    const given = (name: string) => made[names.get(builder.graph.outputs.get(name))!]!;
    return Object.fromEntries(outputs.map((name) => [name, given(name)]));
  }

  async dispose(): Promise<void> {
    if (this.#disposed) return;
    this.#disposed = true;
    for (const lane of this.#lanes.values()) lane.rejectAll(new DisposedError('the model was disposed'));
    await this.model.dispose();
  }

  async #step(
    executable: Executable,
    names: readonly string[],
    sequences: readonly EncoderSequence[],
  ): Promise<EncoderResult[]> {
    const { builder } = this.built;
    const { dims, inputs, starts, logitStarts } = packEncoderStep(builder, sequences);
    const { outputs } = await executable.run(dims, inputs);
    return sequences.map((_, s) => {
      const own = names.map((name): [string, Float32Array] => {
        const [space, cols] = builder.graph.outputs.get(name)!.dims as readonly { name: string; size?: number }[];
        const bounds =
          space!.name === 'seqs' ? [s, s + 1] : (space!.name === 'rows' ? starts : logitStarts).slice(s, s + 2);
        const width = cols!.size!;
        return [name, (outputs[name] as Float32Array).slice(bounds[0]! * width, bounds[1]! * width)];
      });
      return Object.fromEntries(own);
    });
  }

  #lane(outputs: readonly string[]): Lane<EncoderSequence> {
    const name = outputs.join(' ');
    const known = this.#lanes.get(name);
    if (known !== undefined) return known;
    let made: Promise<Executable> | undefined;
    const executable = (): Promise<Executable> => {
      if (name === this.#main.name) return Promise.resolve(this.#main.executable);
      made ??= this.model.compile(encoderProgram(this.built, outputs, this.#compute));
      made.catch(() => (made = undefined));
      return made;
    };
    const lane = new Lane<EncoderSequence>(
      this.stepRows,
      (sequence) => sequence.ids.length,
      async (sequences) => this.#step(await executable(), outputs, sequences),
    );
    this.#lanes.set(name, lane);
    return lane;
  }
}

/** The program that gives these outputs; `optional`: inputs that it keeps besides those it always has; `changes`: of its values. */
export function encoderProgram(
  built: BuiltEncoder,
  outputs: readonly string[],
  compute?: string,
  optional: readonly string[] = [],
  changes: readonly ValueChange[] = [],
): ReturnType<typeof lower> {
  return lower(built.builder.graph, {
    name: 'encode',
    outputs,
    optional,
    changes,
    ...(compute === undefined ? {} : { compute }),
  });
}
