/** What the machine gives at most, measured by the addon verdant_ceilings, which nothing else loads. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { DeviceError, fromNative } from '../errors.js';
import { DeviceModel } from '../runtime/executable.js';
import { median } from './statistics.js';

/** 10⁹ bytes read, or 10⁹ operations (a multiplication with its addition counts as two), per second over all threads. */
export interface Ceilings {
  readonly stream: number;
  readonly f32: number;
  /** Null: the tier has no such instruction. */
  readonly bf16: number | null;
  readonly int8: number | null;
}

export const ceilingKinds: readonly (keyof Ceilings)[] = ['stream', 'f32', 'bf16', 'int8'];

export interface CeilingOptions {
  readonly threads: number;
  /** Of one round; default 50. */
  readonly milliseconds?: number | undefined;
  /** Of each kind; the median counts. Default 3. */
  readonly rounds?: number | undefined;
  /** generic, avx2 or avx512; default: the best of this machine. */
  readonly tier?: string | undefined;
  /** Measure this device instead of the CPU: `cuda:0`. */
  readonly device?: string | undefined;
}

interface RawCeilings {
  readonly tier: string;
  readonly streamBytes: number;
  readonly stream: readonly number[];
  readonly f32: readonly number[];
  readonly bf16: readonly number[] | null;
  readonly int8: readonly number[] | null;
}

interface Addon {
  measureCeilings(options: object): Promise<RawCeilings>;
}

/** Measures in this process, off the event loop. It keeps a buffer of 1 GiB: `CeilingProbe` does it in another one. */
export async function measureCeilings(options: CeilingOptions): Promise<Ceilings> {
  if (options.device?.startsWith('cpu') === false) return deviceCeilings(options.device);
  const file = fileURLToPath(new URL('../../build/Release/verdant_ceilings.node', import.meta.url));
  let addon: Addon;
  try {
    addon = createRequire(import.meta.url)(file) as Addon;
  } catch (cause) {
    const hint = 'Build it with: npm run build:native';
    throw new DeviceError('the addon that measures ceilings cannot be loaded', { file, hint, cause });
  }
  try {
    const { threads, milliseconds = 50, rounds = 3, tier } = options;
    const raw = await addon.measureCeilings({ threads, milliseconds, rounds, tier });
    const middle = (list: readonly number[] | null): number | null => (list === null ? null : median(list));
    return { stream: median(raw.stream), f32: median(raw.f32), bf16: middle(raw.bf16), int8: middle(raw.int8) };
  } catch (error) {
    throw fromNative(error);
  }
}

/** Of a GPU: bf16 is what mma.sync gives in registers. */
async function deviceCeilings(device: string): Promise<Ceilings> {
  const model = await DeviceModel.open(device);
  try {
    const { stream, f32, bf16 } = await model.ceilings();
    return { stream: stream / 1e9, f32: f32 / 1e9, bf16: bf16 / 1e9, int8: null };
  } finally {
    await model.dispose();
  }
}

/** A message of the process that measures. */
export type CeilingReply = { readonly ceilings: Ceilings } | { readonly problem: string };

/** Measures in a process of its own, so that its buffer does not count as memory of the model. */
export class CeilingProbe {
  readonly #options: CeilingOptions;
  readonly #child: ChildProcess;

  constructor(options: CeilingOptions) {
    this.#options = options;
    const file = fileURLToPath(new URL('./ceilings_process.js', import.meta.url));
    this.#child = fork(file, [], { execArgv: [], stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
  }

  async measure(): Promise<Ceilings> {
    const child = this.#child;
    if (!child.connected) throw new DeviceError('the process that measures ceilings has ended');
    const ended = new AbortController();
    try {
      const answer = once(child, 'message', { signal: ended.signal });
      const end = once(child, 'close', { signal: ended.signal }).then(([code]) => {
        throw new DeviceError('the process that measures ceilings has ended', { found: `exit code ${code}` });
      });
      child.send(this.#options);
      const [reply] = (await Promise.race([answer, end])) as [CeilingReply];
      if ('problem' in reply) throw new DeviceError(reply.problem);
      return reply.ceilings;
    } finally {
      ended.abort();
    }
  }

  close(): void {
    this.#child.kill();
  }
}
