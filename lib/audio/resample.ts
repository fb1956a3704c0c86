import library from '@alexanderolsen/libsamplerate-js';

interface Converter {
  full(input: Float32Array): Float32Array;
  destroy(): void;
}

/** Frames of one call: its buffers hold 4 MiB, and a rate may grow 384-fold. */
const chunkSeconds = 0.25;

/**
 * One channel from one sample rate to another by a windowed sinc (libsamplerate, medium quality: 121 dB). Samples come in any
 * pieces; `finish` gives the end that the filter held back. n samples become ceil(n · to / from).
 */
export class Resampler {
  readonly #converter: Converter;
  readonly #from: number;
  readonly #to: number;
  #taken = 0;
  #given = 0;

  private constructor(converter: Converter, from: number, to: number) {
    this.#converter = converter;
    this.#from = from;
    this.#to = to;
  }

  static async create(from: number, to: number): Promise<Resampler> {
    const { create, ConverterType } = library;
    const converter = await create(1, from, to, { converterType: ConverterType.SRC_SINC_MEDIUM_QUALITY });
    return new Resampler(converter, from, to);
  }

  push(samples: Float32Array, out: Float32Array[]): void {
    this.#taken += samples.length;
    this.#convert(samples, out);
  }

  finish(out: Float32Array[]): void {
    const wanted = Math.ceil((this.#taken * this.#to) / this.#from);
    const silence = new Float32Array(Math.ceil(this.#from * chunkSeconds));
    while (this.#given < wanted) this.#convert(silence, out);
    for (let extra = this.#given - wanted; extra > 0; ) {
      const last = out.pop()!;
      if (last.length > extra) out.push(last.subarray(0, last.length - extra));
      extra -= Math.min(extra, last.length);
    }
    this.#converter.destroy();
  }

  #convert(samples: Float32Array, out: Float32Array[]): void {
    const step = Math.ceil(this.#from * chunkSeconds);
    for (let at = 0; at < samples.length; at += step) {
      // What `full` returns may lie in the library's own memory.
      const piece = this.#converter.full(samples.slice(at, at + step)).slice();
      this.#given += piece.length;
      if (piece.length > 0) out.push(piece);
    }
  }
}
