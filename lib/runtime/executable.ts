import { freemem } from 'node:os';
import { DisposedError, fromNative, InputError } from '../errors.js';
import { makeArray } from '../graph/dtype.js';
import type { Program } from '../graph/program.js';
import { findDevice } from './devices.js';
import {
  type ExecutableProfile,
  type InputArray,
  type ModelMemory,
  type NativeExecutable,
  type NativeModel,
  native,
  type StepResult,
} from './native.js';

export interface OpenOptions {
  /** Threads that one step may use; default: physical cores that affinity and cgroup quota allow. */
  readonly threads?: number | undefined;
  /** Steps of models with a higher priority run first; default 0. */
  readonly priority?: number | undefined;
}

export type Inputs = Readonly<Record<string, InputArray>>;

/** Packed weights and state on one device; programs compiled from it share them. */
export class DeviceModel {
  readonly device: string;
  readonly #native: NativeModel;
  #disposed = false;

  private constructor(device: string, model: NativeModel) {
    this.device = device;
    this.#native = model;
  }

  static async open(device: string, options: OpenOptions = {}): Promise<DeviceModel> {
    findDevice(device);
    const given = Object.fromEntries(Object.entries(options).filter(([, v]) => v !== undefined));
    return new DeviceModel(device, await typed(() => native().open(device, given)));
  }

  /** Reads and packs the weights that the program names (once per process) and makes it runnable. */
  async compile(program: Program): Promise<Executable> {
    if (this.#disposed) throw new DisposedError('the model was disposed');
    const io: Record<string, InputArray> = {};
    const made = await typed(() => this.#native.compile(program, io));
    return new Executable(program, made, io, () => this.freeBytes());
  }

  /** Bytes of weights read so far and in all. */
  progress(): { done: number; total: number } {
    const [done, total] = this.#native.progress();
    return { done, total };
  }

  cancel(): void {
    this.#native.cancel();
  }

  memory(): ModelMemory {
    if (this.#disposed) throw new DisposedError('the model was disposed');
    return this.#native.info();
  }

  /** Bytes read and operations per second that a device with memory of its own gives at most, measured now. */
  ceilings(): Promise<{ stream: number; f32: number; bf16: number }> {
    return typed(() => this.#native.ceilings());
  }

  /** Bytes that are free where this model computes: on its device, or on the host. */
  freeBytes(): number {
    const { deviceFreeBytes, deviceTotalBytes } = this.memory();
    return deviceTotalBytes > 0 ? deviceFreeBytes : freemem();
  }

  /** Rejects queued steps, lets the running one finish, then frees. */
  async dispose(): Promise<void> {
    if (this.#disposed) return;
    this.#disposed = true;
    await typed(() => this.#native.dispose());
  }
}

/** What a native call throws, at once or later, as its class of lib/errors.ts. */
async function typed<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw fromNative(error);
  }
}

/** A compiled program. Inputs are copied before `run` returns, so their arrays may be filled again at once. */
export class Executable {
  readonly program: Program;
  readonly #native: NativeExecutable;
  readonly #io: Record<string, InputArray>;
  /** Bytes that are free where it computes. */
  readonly freeBytes: () => number;

  constructor(program: Program, made: NativeExecutable, io: Record<string, InputArray>, freeBytes: () => number) {
    this.program = program;
    this.#native = made;
    this.#io = io;
    this.freeBytes = freeBytes;
  }

  /** One step: sizes of the step's dims by name, input arrays by name; k > 1: that many decode steps in one call. */
  run(dims: Readonly<Record<string, number>>, inputs: Inputs, k = 1): Promise<StepResult> {
    return typed(() => this.#native.run(this.#bind(dims, inputs), k));
  }

  /** As `run`, but blocks the calling thread. */
  runSync(dims: Readonly<Record<string, number>>, inputs: Inputs, k = 1): StepResult {
    try {
      return this.#native.runSync(this.#bind(dims, inputs), k);
    } catch (error) {
      throw fromNative(error);
    }
  }

  /** Time per node so far, and the arena's size; `on` starts or stops timing, which keeps nodes apart that else run as one. */
  profile(on?: boolean): ExecutableProfile {
    return on === undefined ? this.#native.profile() : this.#native.profile(on);
  }

  cancel(): void {
    this.#native.cancel();
  }

  dispose(): void {
    this.#native.dispose();
  }

  #bind(dims: Readonly<Record<string, number>>, inputs: Inputs): number[] {
    for (const value of this.program.values) {
      if (value.kind !== 'input') continue;
      this.#io[value.name] = inputs[value.name] ?? makeArray(value.dtype, 0);
    }
    return this.program.dims.map((name) => {
      const size = dims[name];
      if (size === undefined) throw new InputError(`dim ${name} of program ${this.program.name} has no size`);
      return size;
    });
  }
}
