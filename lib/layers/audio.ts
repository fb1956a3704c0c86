import type { Tensor } from '../graph/graph.js';
import { type Dim, dim, stepDim } from '../graph/shape.js';
import { conv1d } from '../ops/conv1d.js';
import type { ConfigReader } from '../weights/config.js';
import { EncoderBuilder, type EncoderHead } from './encoder.js';
import type { WeightSource, Weights } from './weights.js';

/** Rows of one level: level 0 is the waveform, level i + 1 what the i-th convolution makes, the last one the frames. */
export interface Level {
  readonly rows: Dim<string>;
  readonly starts: Tensor<['seq_bounds'], 'i32'>;
}

export interface Convolution {
  readonly kernel: number;
  readonly stride: number;
}

/** Rows that a sequence of n samples has at each level. */
export function levelRows(convolutions: readonly Convolution[], samples: number): number[] {
  const rows = [samples];
  for (const { kernel, stride } of convolutions)
    rows.push(Math.max(0, Math.floor((rows.at(-1)! - kernel) / stride) + 1));
  return rows;
}

/** Samples that one frame sees, and samples between frames. */
export function receptiveField(convolutions: readonly Convolution[]): { samples: number; stride: number } {
  let [samples, stride] = [1, 1];
  for (const c of convolutions) {
    samples += (c.kernel - 1) * stride;
    stride *= c.stride;
  }
  return { samples, stride };
}

/**
 * What the model function of an encoder of waveforms works with: convolutions without padding (`conv_kernel` and
 * `conv_stride` of the config) turn samples into frames, which are its rows.
 */
export class AudioBuilder extends EncoderBuilder {
  readonly convolutions: readonly Convolution[];
  /** (samples, 1) */
  readonly samples: Tensor<['samples', 'channel'], 'f32'>;
  readonly levels: readonly Level[];

  constructor(name: string, head: EncoderHead, config: ConfigReader, source: WeightSource) {
    super(name, head, config, source);
    const limits = { min: 1, max: 65_536 };
    const kernels = config.nums('conv_kernel', limits);
    if (kernels.length === 0) config.problem('conv_kernel', 'at least one convolution', kernels);
    const strides = config.nums('conv_stride', { ...limits, length: kernels.length });
    for (const [field, list] of Object.entries({ conv_kernel: kernels, conv_stride: strides }))
      if (!list.every(Number.isInteger)) config.problem(field, 'a list of integers', list);
    this.convolutions = kernels.map((kernel, i) => ({ kernel, stride: strides[i] ?? 1 }));
    this.samples = this.graph.input('samples', 'f32', [stepDim('samples'), dim('channel', 1)]);
    this.levels = Array.from({ length: kernels.length + 1 }, (_, i): Level => {
      if (i === kernels.length) return { rows: stepDim('rows'), starts: this.starts };
      const rows = stepDim(i === 0 ? 'samples' : `level_${i}`);
      return { rows, starts: this.graph.input(`starts_${i}`, 'i32', [stepDim('seq_bounds')]) };
    });
  }

  /** The i-th convolution, w's `weight` and `bias`: (rows of level i, in) → (rows of level i + 1, out). */
  convolve<O extends string>(
    i: number,
    w: Weights,
    x: Tensor<[string, string], 'f32'>,
    out: Dim<O>,
    bias: boolean,
  ): Tensor<[string, O], 'f32'> {
    const { kernel, stride } = this.convolutions[i]!;
    const into = x.dims[1].size ?? 1;
    const weight = w.conv('weight', out, into, dim(`taps_${i}`, kernel * into));
    const shift = bias ? w.vector('bias', out) : undefined;
    const [from, to] = [this.levels[i]!, this.levels[i + 1]!];
    return conv1d(x, weight, shift, { from: from.starts, to: to.starts, rows: to.rows }, { kernel, stride });
  }
}
