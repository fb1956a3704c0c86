import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { AbortError, InputError, OptionError, UnsupportedError } from '../errors.js';
import { RpcWorker } from '../text/rpc.js';
import { Pacer } from '../weights/files.js';
import { maxAudioSeconds, maxSampleRate, minSampleRate } from './limits.js';

/** Audio: a path, a file URL, samples at the rate that is asked for, or samples with their own rate. One channel. */
export type AudioInput = string | URL | Float32Array | { readonly samples: Float32Array; readonly sampleRate: number };

export interface ReadAudioOptions {
  /** Hz of the result. */
  readonly sampleRate: number;
  readonly signal?: AbortSignal | undefined;
}

/** Decoding takes about 5 ms for a second of audio: this is for files that a decoder does not come to an end with. */
const limitMs = 600_000;

let worker: RpcWorker | undefined;

/** The one audio worker of the process; its thread starts with the first file. */
function audioWorker(): RpcWorker {
  worker ??= new RpcWorker(
    '../audio/worker',
    {},
    (message) => new InputError(`audio: ${message}`),
    () => [],
  );
  return worker;
}

/**
 * One channel of samples at `sampleRate`, channels averaged: WAV, FLAC, MP3, Ogg Vorbis and Ogg Opus files by their contents.
 * Decodes and resamples in a worker thread. Throws InputError (no such file, no audio, no samples, samples that are not
 * finite, longer than 2 hours), CorruptFileError (truncated), UnsupportedError, OptionError, AbortError.
 */
export async function readAudio(input: AudioInput, options: ReadAudioOptions): Promise<Float32Array> {
  const { sampleRate, signal } = options;
  checkRate(sampleRate, 'sampleRate');
  const stopped = (): void => {
    if (signal?.aborted === true) throw new AbortError(undefined, { cause: signal.reason });
  };
  stopped();
  const samples = await read(input, sampleRate);
  stopped();
  return samples;
}

async function read(input: AudioInput, sampleRate: number): Promise<Float32Array> {
  if (typeof input === 'string') return fromFile(input, sampleRate);
  if (input instanceof URL) {
    if (input.protocol === 'file:') return fromFile(pathOf(input), sampleRate);
    throw new UnsupportedError('audio is read from files only', { name: 'input', found: input.href });
  }
  if (input instanceof Float32Array) return checkedCopy(input, sampleRate);
  if (typeof input === 'object' && input !== null && input.samples instanceof Float32Array) {
    const { samples, sampleRate: from } = input;
    checkRate(from, 'input.sampleRate');
    const copy = await checkedCopy(samples, from);
    if (from === sampleRate) return copy;
    return (await audioWorker().call({ samples: copy, from, sampleRate }, limitMs, 'resampling')) as Float32Array;
  }
  throw new InputError('bad audio', {
    ...{ name: 'input', expected: 'a path, a file URL, a Float32Array, or { samples, sampleRate }', found: input },
  });
}

/** A URL with a host, or with an encoded slash, is no path. */
function pathOf(url: URL): string {
  try {
    return fileURLToPath(url);
  } catch (cause) {
    throw new InputError('a file URL that names no file here', { name: 'input', found: url.href, cause });
  }
}

async function fromFile(path: string, sampleRate: number): Promise<Float32Array> {
  if (path === '') throw new InputError('the path is empty', { name: 'input' });
  const file = resolve(path);
  const found = await stat(file).catch((cause) => {
    throw new InputError('no such audio file', { file, cause });
  });
  if (!found.isFile()) throw new InputError('this is no file', { file });
  return (await audioWorker().call({ file, sampleRate }, limitMs, 'decoding the audio')) as Float32Array;
}

function checkRate(rate: number, name: string): void {
  if (!Number.isInteger(rate) || rate < minSampleRate || rate > maxSampleRate)
    throw new OptionError('bad sample rate', {
      ...{ name, expected: `an integer from ${minSampleRate} to ${maxSampleRate} Hz`, found: rate },
    });
}

/** The caller may go on to write into its array: what is checked is what is heard. */
async function checkedCopy(samples: Float32Array, rate: number): Promise<Float32Array> {
  if (samples.length === 0) throw new InputError('the audio holds no samples', { name: 'input' });
  if (samples.length > maxAudioSeconds * rate)
    throw new InputError('the audio is too long', {
      ...{ name: 'input', expected: `at most ${maxAudioSeconds} s`, found: `${samples.length / rate} s` },
    });
  const copy = new Float32Array(samples.length);
  const pacer = new Pacer();
  for (let from = 0; from < copy.length; from += 65_536) {
    const to = Math.min(from + 65_536, copy.length);
    for (let i = from; i < to; i++) {
      const value = samples[i]!;
      if (!Number.isFinite(value))
        throw new InputError('a sample is no finite number', { name: `input[${i}]`, found: value });
      copy[i] = value;
    }
    if (pacer.due()) await pacer.pause();
  }
  return copy;
}
