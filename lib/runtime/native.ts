import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { DeviceError } from '../errors.js';
import type { Program } from '../graph/program.js';
import type { WeightExpr } from '../graph/weight_expr.js';

/** The whole native surface, as native/node/ defines it. */
export interface Native {
  devices(): DeviceInfo[];
  loadDevice(path: string): void;
  ops(): NativeOpInfo[];
  open(device: string, options: { threads?: number; priority?: number }): Promise<NativeModel>;
  /** Rows of a weight expression in stored form, evaluated by threads of their own. */
  readWeight(expr: WeightExpr, row: number, count: number): Promise<ArrayBuffer>;
}

export interface DeviceInfo {
  readonly name: string;
  /** The tier and its overlays, or what the machine lacks. */
  readonly description: string;
  readonly usable: boolean;
  /** Threads used unless an option says otherwise. */
  readonly threads: number;
}

export interface NativeOpInfo {
  readonly name: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attrs: Readonly<Record<string, string | readonly string[]>>;
  readonly numberColumns?: readonly string[];
  readonly integerColumns?: readonly string[];
}

export type InputArray = Float32Array | Int32Array | Uint8Array;

export interface ModelMemory {
  readonly weightBytes: number;
  readonly stateBytes: number;
  /** Memory of the device's own; both 0 where it uses the host's. */
  readonly deviceFreeBytes: number;
  readonly deviceTotalBytes: number;
}

export interface NativeModel {
  compile(program: Program, io: Record<string, InputArray>): Promise<NativeExecutable>;
  /** Bytes of weights read and in all, of the compiles since the last cancel. */
  progress(): [number, number];
  cancel(): void;
  info(): ModelMemory;
  /** Bytes read and operations per second that the device gives at most, measured now; 0: not measured here. */
  ceilings(): Promise<{ stream: number; f32: number; bf16: number }>;
  dispose(): Promise<void>;
}

export interface StepResult {
  readonly outputs: Readonly<Record<string, Float32Array | Int32Array>>;
  /** (k, sequences): 0 goes on, 1 stopped at this step, 2 had stopped, 3 its logits hold a NaN. */
  readonly status: Int32Array;
  readonly steps: number;
}

export interface NodeProfile {
  readonly name: string;
  readonly op: string;
  /** How a linear multiplies: f32, bf16, int8/32, int8/256, several where its matrix has several types; empty for other ops. */
  readonly compute: string;
  readonly nanoseconds: number;
  readonly calls: number;
}

export interface ExecutableProfile {
  readonly nodes: NodeProfile[];
  readonly arenaBytes: number;
  readonly steps: number;
  /** Of the last step: pieces of work between two barriers of its threads. */
  readonly stages: number;
}

export interface NativeExecutable {
  run(dims: readonly number[], k?: number): Promise<StepResult>;
  runSync(dims: readonly number[], k?: number): StepResult;
  profile(on?: boolean): ExecutableProfile;
  cancel(): void;
  dispose(): void;
}

let loaded: Native | undefined;

/** The addon, loaded at first use. Throws a DeviceError that says how to build it where it is missing. */
export function native(): Native {
  if (loaded !== undefined) return loaded;
  const path = fileURLToPath(new URL('../../build/Release/verdant.node', import.meta.url));
  try {
    loaded = createRequire(import.meta.url)(path) as Native;
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new DeviceError(`the native addon cannot be loaded: ${why}`, {
      file: path,
      hint: 'Build it with: npm run build:native',
      cause,
    });
  }
  return loaded;
}
