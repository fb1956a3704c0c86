import { freemem } from 'node:os';
import { AbortError } from '../errors.js';
import type { Program } from '../graph/program.js';
import { DeviceModel, type Executable } from '../runtime/executable.js';

export interface DeviceOptions {
  /** Default 'cpu'. */
  readonly device?: string | undefined;
  readonly threads?: number | undefined;
  /** Steps of models with a higher priority run first, −100 to 100; default 0. */
  readonly priority?: number | undefined;
  /** How linears multiply: 'auto' (default), 'f32', 'bf16'. */
  readonly compute?: string | undefined;
  /** Bytes of weights read and in all. */
  readonly onProgress?: ((progress: { done: number; total: number }) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * A model on a device with its main program, whose weights are read and packed here. `signal` stops it; what `onProgress`
 * throws does too, and is thrown.
 */
export async function openDevice(
  program: Program,
  options: DeviceOptions,
): Promise<{ model: DeviceModel; executable: Executable }> {
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
    const executable = await model.compile(program);
    report();
    if (thrown !== undefined) throw thrown;
    return { model, executable };
  } catch (error) {
    await model.dispose();
    throw thrown === undefined ? error : (thrown as { error: unknown }).error;
  } finally {
    clearInterval(timer);
    options.signal?.removeEventListener('abort', abort);
  }
}

/** Bytes that are free where models on this device compute. */
export async function freeBytes(device: string | undefined): Promise<number> {
  if (typeof device !== 'string' || device.startsWith('cpu')) return freemem();
  const model = await DeviceModel.open(device);
  try {
    return model.freeBytes();
  } finally {
    await model.dispose();
  }
}
