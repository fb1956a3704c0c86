import { accessSync, constants, existsSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { OptionError } from '../errors.js';
import { isKvType, type KvType, kvTypes } from '../ops/kv_write.js';
import { findDevice } from '../runtime/devices.js';
import { isFamily } from './family_shapes.js';
import { quantOf } from './random_model.js';
import { shapeConfig } from './shapes.js';

/** What to measure. Exactly one of `model` and `shape`. */
export interface BenchRequest {
  /** A folder, a .gguf file or a hub id. */
  readonly model?: string | undefined;
  /** Name of a published model's sizes; weights are random. */
  readonly shape?: string | undefined;
  /** Weight type of the matrices: of `shape`, default q8_0; of an unquantised `model`, quantised when it is loaded. */
  readonly quant?: string | undefined;
  /** Ids of the prompt that prefill takes in; default 512. */
  readonly prompt?: number | undefined;
  /** Ids that each sequence decodes; default 128. */
  readonly generate?: number | undefined;
  /** Sequences that decode together, one measurement each; default 1. */
  readonly batch?: readonly number[] | undefined;
  /** Also decode one sequence behind this many ids. */
  readonly context?: number | undefined;
  /** Default: physical cores that affinity and cgroup quota allow. */
  readonly threads?: number | undefined;
  /** Default 'cpu'. */
  readonly device?: string | undefined;
  /** How linears multiply; default 'auto'. */
  readonly compute?: string | undefined;
  /** What the KV cache holds; default 'f32'. */
  readonly kvType?: KvType | undefined;
  /** Runs of each measurement; default 3. */
  readonly repeat?: number | undefined;
  /** Time per node, in runs of their own. */
  readonly profile?: boolean | undefined;
  /** Alternate with node-llama-cpp on the same .gguf file; one of `shape` is written to the temporary folder first. */
  readonly rivals?: boolean | undefined;
  /** Folder whose node_modules hold it; default: the current one. */
  readonly rivalPath?: string | undefined;
  /** Files to write: raw samples and environment; a chart. */
  readonly json?: string | undefined;
  readonly svg?: string | undefined;
}

/** A request with its defaults filled in, checked. */
export interface BenchOptions extends BenchRequest {
  readonly prompt: number;
  readonly generate: number;
  readonly batch: readonly number[];
  readonly threads: number;
  readonly device: string;
  readonly repeat: number;
}

function whole(name: string, value: unknown, least: number, most: number): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most) return value;
  throw new OptionError(`bad ${name}`, { name, expected: `an integer from ${least} to ${most}`, found: value });
}

/** A file that can be written when all is measured: better refused now than then. */
function checkTarget(name: string, file: string | undefined): void {
  if (file === undefined) return;
  const folder = dirname(resolve(file));
  const refuse = (why: string): never => {
    throw new OptionError(`${name}: ${why}`, { file, name, expected: 'a file that can be written' });
  };
  if (file === '') refuse('the name is empty');
  if (existsSync(file) && !statSync(file).isFile()) refuse('it is no file');
  if (!existsSync(folder)) refuse('its folder does not exist');
  try {
    accessSync(existsSync(file) ? file : folder, constants.W_OK);
  } catch {
    refuse('it cannot be written');
  }
}

function exclude(one: string, other: string, hint: string): never {
  throw new OptionError(`options ${one} and ${other} exclude each other`, { name: other, hint });
}

function checkModel({ model, shape, quant, rivals, rivalPath }: BenchRequest): void {
  if (model !== undefined && shape !== undefined) exclude('model', 'shape', 'Give a MODEL or --shape, not both');
  if (model === undefined && shape === undefined)
    throw new OptionError('nothing to measure', { name: 'model', expected: 'a MODEL, or --shape with a name' });
  if (shape !== undefined && !isFamily(shape)) shapeConfig(shape);
  if (quant !== undefined) quantOf(quant);
  if (quant !== undefined && rivals === true && shape === undefined)
    exclude('rivals', 'quant', 'Both engines run the file as it is: make one with verdant quantize');
  if (rivals === true && shape === undefined && model?.endsWith('.gguf') !== true) {
    throw new OptionError('rivals needs a file that both can read', {
      name: 'rivals',
      expected: 'a .gguf file as MODEL, or --shape',
      found: model,
    });
  }
  if (rivalPath !== undefined && rivals !== true)
    throw new OptionError('rivalPath is for --rivals', { name: 'rivalPath', found: rivalPath });
}

/** Checks names, ranges and files before anything long begins. Throws OptionError and DeviceError. */
export function checkBench(request: BenchRequest): BenchOptions {
  checkModel(request);
  const device = request.device ?? 'cpu';
  const info = findDevice(device);
  const batch = request.batch ?? [1];
  if (batch.length === 0) throw new OptionError('bad batch', { name: 'batch', expected: 'at least one number' });
  for (const b of batch) whole('batch', b, 1, 1024);
  if (request.context !== undefined) whole('context', request.context, 1, 2 ** 24);
  if (request.kvType !== undefined && !isKvType(request.kvType)) {
    const expected = Object.keys(kvTypes).join(', ');
    throw new OptionError('bad kvType', { name: 'kvType', expected, found: request.kvType });
  }
  checkTarget('json', request.json);
  checkTarget('svg', request.svg);
  return {
    ...request,
    device,
    prompt: whole('prompt', request.prompt ?? 512, 1, 2 ** 24),
    generate: whole('generate', request.generate ?? 128, 2, 2 ** 20),
    batch: [...new Set(batch)],
    threads: whole('threads', request.threads ?? info.threads, 1, 256),
    repeat: whole('repeat', request.repeat ?? 3, 1, 1000),
  };
}

/** Tier whose instructions a device may use; undefined: all of this machine's. */
export function tierOf(device: string): string | undefined {
  return device.startsWith('cpu:') ? device.slice(4) : undefined;
}
