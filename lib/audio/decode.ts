import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { CorruptFileError, InputError, UnsupportedError, VerdantError } from '../errors.js';
import { maxAudioSeconds, maxChannels, maxSampleRate, minSampleRate } from './limits.js';
import { Resampler } from './resample.js';
import { checkWavHeader } from './wav_header.js';

/** Bytes read, and decoded, at a time: a small file that claims hours of audio is caught early. */
const readBytes = 1 << 18;

interface Decoded {
  readonly channelData: readonly Float32Array[];
  readonly sampleRate: number;
}

interface Decoder {
  decode(bytes: Uint8Array): Decoded | Promise<Decoded>;
  flush?(): Decoded | Promise<Decoded>;
  free?(): void;
}

type Format = 'wav' | 'flac' | 'mp3' | 'ogg vorbis' | 'ogg opus';

const decoders: Readonly<Record<Format, () => Promise<Decoder>>> = {
  wav: async () => (await import('@audio/decode-wav')).decoder() as Decoder,
  flac: async () => (await import('@audio/decode-flac')).decoder() as Promise<Decoder>,
  mp3: async () => (await import('@audio/decode-mp3')).decoder() as Promise<Decoder>,
  'ogg vorbis': async () => (await import('@audio/decode-vorbis')).decoder() as Promise<Decoder>,
  'ogg opus': async () => (await import('@audio/decode-opus')).decoder() as Promise<Decoder>,
};

/** The format by the first bytes, whatever the file is called. */
function formatOf(head: Uint8Array): Format | undefined {
  const text = Buffer.from(head.buffer, head.byteOffset, Math.min(head.length, 64)).toString('latin1');
  if (text.startsWith('RIFF') && text.slice(8, 12) === 'WAVE') return 'wav';
  if (text.startsWith('fLaC')) return 'flac';
  if (text.startsWith('OggS')) {
    if (text.includes('OpusHead')) return 'ogg opus';
    return text.includes('\x01vorbis') ? 'ogg vorbis' : undefined;
  }
  const [first, second] = [head[0] ?? 0, head[1] ?? 0];
  // MPEG sync: 11 bits set, then version 1, 2 or 2.5 and layer 3.
  const sync = first === 0xff && (second & 0xe0) === 0xe0 && (second & 0x18) !== 0x08 && (second & 0x06) === 0x02;
  return text.startsWith('ID3') || sync ? 'mp3' : undefined;
}

/** Samples that a FLAC's STREAMINFO promises (RFC 9639 section 8.2); undefined: unknown. */
function flacSamples(head: Uint8Array): number | undefined {
  if (head.length < 26) return undefined;
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  const total = (view.getUint8(21) % 16) * 2 ** 32 + view.getUint32(22);
  return total === 0 ? undefined : total;
}

/** Channels averaged, what is above 0 times `positive`; a sum of NaN or Infinity is an error. */
function mono(channels: readonly Float32Array[], positive: number, file: string | undefined): Float32Array {
  const first = channels[0]!;
  const own = channels.length === 1 && positive === 1;
  const mixed = own ? first : new Float32Array(first.length);
  for (let i = 0; i < mixed.length; i++) {
    let sum = 0;
    for (const channel of channels) sum += channel[i]! > 0 ? channel[i]! * positive : channel[i]!;
    if (!Number.isFinite(sum)) throw new InputError('a sample is no finite number', { file, name: `sample ${i}` });
    if (!own) mixed[i] = sum / channels.length;
  }
  return mixed;
}

/** Takes decoded pieces of one stream, mixes and resamples them. */
class Collector {
  readonly #target: number;
  readonly #file: string | undefined;
  readonly #positive: number;
  readonly #out: Float32Array[] = [];
  #rate = 0;
  #resampler: Resampler | undefined;
  /** Frames so far, at the rate of the file. */
  frames = 0;

  constructor(target: number, file: string | undefined, positive = 1) {
    this.#target = target;
    this.#positive = positive;
    this.#file = file;
  }

  async take({ channelData, sampleRate }: Decoded): Promise<void> {
    const frames = channelData[0]?.length ?? 0;
    if (frames === 0) return;
    if (this.#rate === 0) await this.#begin(sampleRate, channelData.length);
    if (sampleRate !== this.#rate || channelData.length > maxChannels)
      throw new UnsupportedError('the sample rate changes within the file', {
        ...{ file: this.#file, expected: this.#rate, found: sampleRate },
      });
    this.frames += frames;
    if (this.frames > maxAudioSeconds * this.#rate)
      throw new InputError('the audio is too long', {
        ...{ file: this.#file, expected: `at most ${maxAudioSeconds} s`, hint: 'Cut it into parts' },
      });
    const samples = mono(channelData, this.#positive, this.#file);
    if (this.#resampler === undefined) this.#out.push(samples.slice());
    else this.#resampler.push(samples, this.#out);
  }

  finish(): Float32Array {
    if (this.frames === 0) throw new InputError('the audio holds no samples', { file: this.#file });
    this.#resampler?.finish(this.#out);
    const whole = new Float32Array(this.#out.reduce((n, piece) => n + piece.length, 0));
    let at = 0;
    for (const piece of this.#out) {
      whole.set(piece, at);
      at += piece.length;
    }
    return whole;
  }

  async #begin(rate: number, channels: number): Promise<void> {
    const range = (name: string, value: number, least: number, most: number): void => {
      if (!(Number.isInteger(value) && value >= least && value <= most))
        throw new UnsupportedError(`bad ${name}`, {
          ...{ file: this.#file, name, expected: `${least} to ${most}`, found: value },
        });
    };
    range('sampleRate', rate, minSampleRate, maxSampleRate);
    range('channels', channels, 1, maxChannels);
    this.#rate = rate;
    if (rate !== this.#target) this.#resampler = await Resampler.create(rate, this.#target);
  }
}

/** Samples at one rate to another: (n) → (ceil(n · to / from)). */
export async function resample(samples: Float32Array, from: number, to: number): Promise<Float32Array> {
  const all = new Collector(to, undefined);
  await all.take({ channelData: [samples], sampleRate: from });
  return all.finish();
}

/** One channel of an audio file at `sampleRate`. Synchronous work for seconds: runs in a worker. */
export async function decodeFile(file: string, sampleRate: number): Promise<Float32Array> {
  const handle = openSync(file, 'r');
  try {
    const { size } = fstatSync(handle);
    const next = (): Uint8Array => {
      const bytes = new Uint8Array(readBytes);
      return bytes.subarray(0, readSync(handle, bytes));
    };
    const head = next();
    if (head.length === 0) throw new InputError('the file is empty', { file });
    const format = formatOf(head);
    if (format === undefined)
      throw new InputError('this is no audio file that is read here', {
        ...{ file, expected: Object.keys(decoders).join(', '), hint: 'Convert it first, to WAV or FLAC for example' },
      });
    const positive = format === 'wav' ? checkWavHeader(head, size, file) : 1;
    const all = new Collector(sampleRate, file, positive);
    await decodeAll(await decoders[format](), head, next, all, file);
    const promised = format === 'flac' ? flacSamples(head) : undefined;
    if (promised !== undefined && all.frames < promised)
      throw new CorruptFileError('the file is truncated', { file, expected: `${promised} samples`, found: all.frames });
    return all.finish();
  } finally {
    closeSync(handle);
  }
}

async function decodeAll(
  decoder: Decoder,
  head: Uint8Array,
  next: () => Uint8Array,
  all: Collector,
  file: string,
): Promise<void> {
  try {
    for (let bytes = head; bytes.length > 0; bytes = next()) await all.take(await decoder.decode(bytes));
    if (decoder.flush !== undefined) await all.take(await decoder.flush());
  } catch (cause) {
    if (cause instanceof VerdantError) throw cause;
    throw new CorruptFileError('the audio cannot be decoded', { file, found: String(cause), cause });
  } finally {
    decoder.free?.();
  }
}
