import type { BuiltSeq2Seq } from '../engine/build.js';
import type { SourceIds } from '../engine/encode_texts.js';
import { InputError } from '../errors.js';
import type { TraceInput } from './trace_inputs.js';

/** Spectrograms under Hugging Face's names, batch first: (batch, bands, frames), and what the decoder has written. */
export interface SpectrogramTraceInputs {
  readonly inputFeatures: TraceInput;
  /** (batch, decoder length) */
  readonly decoderInputIds?: TraceInput | undefined;
  readonly decoderAttentionMask?: TraceInput | undefined;
}

/** (bands, frames), frame by frame: what an encoder of spectrograms reads. */
export function framesOf(data: ArrayLike<number>, from: number, bands: number, frames: number): Float32Array {
  const out = new Float32Array(frames * bands);
  for (let b = 0; b < bands; b++) for (let f = 0; f < frames; f++) out[f * bands + b] = data[from + b * frames + f]!;
  return out;
}

/** What the encoder reads of each row. Throws InputError unless the sizes are those of the model. */
export function spectrogramRows(built: BuiltSeq2Seq, { inputFeatures }: SpectrogramTraceInputs): SourceIds[] {
  const { bands, stride } = built.builder.encoder.spectrogram!;
  const rows = built.maxSource;
  const [name, frames] = ['input_features', rows * stride];
  const { shape, data } = inputFeatures ?? { shape: [], data: [] };
  const [batch = 0] = shape;
  if (
    shape.length !== 3 ||
    batch < 1 ||
    shape[1] !== bands ||
    shape[2] !== frames ||
    data.length !== batch * bands * frames
  )
    throw new InputError(`${name} must be (batch, bands, frames)`, {
      ...{ name, expected: `(batch, ${bands}, ${frames})`, found: shape },
    });
  for (let i = 0; i < data.length; i++)
    if (!Number.isFinite(data[i])) throw new InputError(`${name} must hold numbers`, { name, found: data[i] });
  return Array.from({ length: batch }, (_, b) => ({
    ids: new Int32Array(rows),
    features: framesOf(data, b * bands * frames, bands, frames),
  }));
}
