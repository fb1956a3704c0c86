import { ConfigError, InputError, UnsupportedError } from '../errors.js';
import { Graph, type Tensor } from '../graph/graph.js';
import { lower } from '../graph/lower.js';
import { dim, stepDim } from '../graph/shape.js';
import { floats } from '../graph/weight_expr.js';
import { conv1d, linear, logMel, mul } from '../ops/index.js';
import type { DeviceModel, Executable } from '../runtime/executable.js';
import { melFilters, mirrored, windowedFourier } from './mel.js';

/** preprocessor_config.json of a Whisper checkpoint. */
export interface SpectrogramConfig {
  /** Mel bands. */
  readonly bands: number;
  /** Samples of a window. */
  readonly window: number;
  /** Samples between frames. */
  readonly hop: number;
  /** Hz. */
  readonly sampleRate: number;
  /** Samples that shorter audio is filled up to with silence. */
  readonly chunk: number;
}

/** Defaults as WhisperFeatureExtractor has them; `bands` and `frames` (of a chunk) as the model's config wants them. */
export function spectrogramConfig(
  raw: Readonly<Record<string, unknown>>,
  file: string,
  bands: number,
  frames: number,
): SpectrogramConfig {
  const whole = (name: string, byDefault: number, most: number): number => {
    const found = raw[name] ?? byDefault;
    if (typeof found === 'number' && Number.isInteger(found) && found >= 1 && found <= most) return found;
    throw new ConfigError(`bad ${name}`, { file, name, expected: `an integer from 1 to ${most}`, found });
  };
  const same = (name: string, found: number, expected: number): void => {
    if (found !== expected) throw new ConfigError(`${name} does not fit the model`, { file, name, expected, found });
  };
  const sampleRate = whole('sampling_rate', 16_000, 384_000);
  const [hop, window] = [whole('hop_length', 160, 65_536), whole('n_fft', 400, 65_536)];
  const chunk = whole('chunk_length', 30, 3600) * sampleRate;
  same('feature_size', whole('feature_size', 80, 4096), bands);
  same('chunk_length', Math.floor(chunk / hop), frames);
  if (sampleRate !== 16_000)
    throw new UnsupportedError('bad sampling_rate', {
      file,
      name: 'sampling_rate',
      expected: 16_000,
      found: sampleRate,
    });
  if ((raw.dither ?? 0) !== 0)
    throw new UnsupportedError('dither is not added', { file, name: 'dither', expected: 0, found: raw.dither });
  return { bands, window, hop, sampleRate, chunk };
}

/** Frames of one step: 30 s of audio. */
const stepFrames = 3000;

/** Two programs: samples → power in mel bands, piece by piece; then the scale, which wants the loudest band of all. */
function graphs(config: SpectrogramConfig): { power: Graph; scale: Graph } {
  const { bands, window, sampleRate } = config;
  const bins = Math.floor(window / 2) + 1;
  const power = new Graph('spectrogram');
  const samples = power.input('samples', 'f32', [stepDim('samples'), dim('channel', 1)] as const);
  const from = power.input('sample_starts', 'i32', [stepDim('seq_bounds')] as const);
  const to = power.input('starts', 'i32', [stepDim('seq_bounds')] as const);
  const [parts, width, mels] = [dim('parts', 2 * bins), dim('window', window), dim('bands', bands)] as const;
  const fourier = power.weight<['parts', 'window']>('fourier', floats(windowedFourier(window), 2 * bins), [
    parts,
    width,
  ]);
  const filters = melFilters(bands, bins, sampleRate);
  // Cosine and sine of a bin have the same weight: their squares add up to its power.
  const twice = new Float32Array(2 * filters.length);
  for (let b = 0; b < bands; b++)
    for (const half of [0, 1]) twice.set(filters.subarray(b * bins, (b + 1) * bins), (2 * b + half) * bins);
  const mel = power.weight<['bands', 'parts']>('mel_filters', floats(twice, bands), [mels, parts]);
  const bounds = { from, to, rows: stepDim('rows') };
  const options = { kernel: window, stride: config.hop };
  const x = conv1d(samples as Tensor<[string, string], 'f32'>, fourier, undefined, bounds, options); // (rows, parts)
  power.output('power', linear(mul(x, x), mel) as unknown as Tensor); // (rows, bands)
  const scale = new Graph('log_mel');
  const values = scale.input('power', 'f32', [stepDim('rows'), mels] as const);
  const starts = scale.input('starts', 'i32', [stepDim('seq_bounds')] as const);
  scale.output('features', logMel(values, starts) as unknown as Tensor);
  return { power, scale };
}

/** Log-mel spectrograms as WhisperFeatureExtractor makes them, on a device. */
export class Spectrograms {
  readonly config: SpectrogramConfig;
  readonly #power: Executable;
  readonly #scale: Executable;

  private constructor(config: SpectrogramConfig, power: Executable, scale: Executable) {
    this.config = config;
    this.#power = power;
    this.#scale = scale;
  }

  static async create(model: DeviceModel, config: SpectrogramConfig): Promise<Spectrograms> {
    const { power, scale } = graphs(config);
    const made = await model.compile(lower(power, { outputs: ['power'], compute: 'f32' }));
    return new Spectrograms(config, made, await model.compile(lower(scale, { outputs: ['features'] })));
  }

  /**
   * One channel at the config's rate → (frames, bands), a frame for each whole hop; audio shorter than a chunk is filled up
   * with silence. Throws InputError where samples are too loud for f32.
   */
  async features(samples: Float32Array): Promise<Float32Array> {
    const { bands, window, hop, chunk } = this.config;
    let whole = samples;
    if (samples.length < chunk) {
      whole = new Float32Array(chunk);
      whole.set(samples);
    }
    const frames = Math.floor(whole.length / hop);
    const padded = mirrored(whole, window >> 1);
    const power = new Float32Array(frames * bands);
    for (let from = 0; from < frames; from += stepFrames) {
      const rows = Math.min(stepFrames, frames - from);
      const piece = padded.subarray(from * hop, (from + rows - 1) * hop + window);
      const dims = { samples: piece.length, seq_bounds: 2, rows };
      const bounds = { sample_starts: Int32Array.of(0, piece.length), starts: Int32Array.of(0, rows) };
      const { outputs } = await this.#power.run(dims, { samples: piece, ...bounds });
      power.set(outputs.power as Float32Array, from * bands);
    }
    const starts = Int32Array.of(0, frames);
    const { outputs } = await this.#scale.run({ rows: frames, seq_bounds: 2 }, { power, starts });
    const features = outputs.features as Float32Array;
    // Of a power that is Infinity, or NaN, the loudest band is no number.
    if (!Number.isFinite(features[0]))
      throw new InputError('the samples are too large', { name: 'input', expected: 'values from -1 to 1' });
    return features;
  }
}
