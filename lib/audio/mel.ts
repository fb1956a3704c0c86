/**
 * Filters and windows of Whisper's log-mel spectrogram, as WhisperFeatureExtractor has them (Slaney's mel scale: linear to
 * 1 kHz, then logarithmic; triangles of equal area).
 */

const linearHz = 200 / 3; // Hz of a mel below 1 kHz
const breakHz = 1000;
const breakMel = breakHz / linearHz;
const logStep = Math.log(6.4) / 27;

function hzToMel(hz: number): number {
  return hz < breakHz ? hz / linearHz : breakMel + Math.log(hz / breakHz) / logStep;
}

function melToHz(mel: number): number {
  return mel < breakMel ? mel * linearHz : breakHz * Math.exp(logStep * (mel - breakMel));
}

/** Mel bands (mels, bins) over the bins 0 … sampleRate / 2 of a spectrum, row by row. */
export function melFilters(mels: number, bins: number, sampleRate: number): Float32Array {
  const most = hzToMel(Math.min(8000, sampleRate / 2));
  const edges = Array.from({ length: mels + 2 }, (_, i) => melToHz((most * i) / (mels + 1)));
  const filters = new Float32Array(mels * bins);
  for (let m = 0; m < mels; m++) {
    const [low, middle, high] = [edges[m]!, edges[m + 1]!, edges[m + 2]!];
    for (let b = 0; b < bins; b++) {
      const hz = (b * sampleRate) / 2 / (bins - 1);
      const height = Math.min((hz - low) / (middle - low), (high - hz) / (high - middle));
      filters[m * bins + b] = (Math.max(0, height) * 2) / (high - low);
    }
  }
  return filters;
}

/**
 * The real Fourier transform of n windowed samples as a matrix (2 · bins, n), bins = ⌊n / 2⌋ + 1: rows of cosines, then of sines,
 * each times the periodic Hann window. The sum of squares of rows b and bins + b is the power in bin b.
 */
export function windowedFourier(n: number): Float32Array {
  const bins = Math.floor(n / 2) + 1;
  const matrix = new Float32Array(2 * bins * n);
  for (let i = 0; i < n; i++) {
    const window = 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / n);
    for (let b = 0; b < bins; b++) {
      const angle = (2 * Math.PI * ((b * i) % n)) / n;
      matrix[b * n + i] = window * Math.cos(angle);
      matrix[(bins + b) * n + i] = window * Math.sin(angle);
    }
  }
  return matrix;
}

/** Samples mirrored at both ends without their edge: (n) → (n + 2 · margin); short ones are mirrored again and again. */
export function mirrored(samples: Float32Array, margin: number): Float32Array {
  const n = samples.length;
  const out = new Float32Array(n + 2 * margin);
  out.set(samples, margin);
  const period = Math.max(1, 2 * (n - 1));
  const at = (i: number): number => {
    const folded = ((i % period) + period) % period;
    return samples[folded < n ? folded : period - folded]!;
  };
  for (let i = 0; i < margin; i++) {
    out[i] = at(i - margin);
    out[n + margin + i] = at(n + i);
  }
  return out;
}
