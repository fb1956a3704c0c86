import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { melFilters, mirrored, windowedFourier } from '../../lib/audio/mel.js';
import { readAudio } from '../../lib/audio/read.js';
import { Spectrograms, spectrogramConfig } from '../../lib/audio/spectrogram.js';
import { ConfigError, InputError, UnsupportedError } from '../../lib/errors.js';
import { DeviceModel } from '../../lib/runtime/executable.js';
import { fixture, readJson } from '../support/fixtures.js';
import { testDevices } from '../support/run_op.js';
import { readTensors } from '../support/safetensors.js';

const { folder } = fixture('whisper', 'transcribe');
const config = (bands: number) =>
  spectrogramConfig({ ...readJson(join(folder, 'preprocessor_config.json')), feature_size: bands }, 'file', bands, 100);

/** The same in float64, straight from the definition: (frames, bands). */
function reference(samples: Float32Array, bands: number): number[][] {
  const [window, hop, bins] = [400, 160, 201];
  const padded = mirrored(samples, window / 2);
  const filters = melFilters(bands, bins, 16_000);
  const frames = Array.from({ length: Math.floor(samples.length / hop) }, (_, f) => {
    const power = Array.from({ length: bins }, (_, b) => {
      let [re, im] = [0, 0];
      for (let i = 0; i < window; i++) {
        const x = padded[f * hop + i]! * (0.5 - 0.5 * Math.cos((2 * Math.PI * i) / window));
        re += x * Math.cos((2 * Math.PI * b * i) / window);
        im -= x * Math.sin((2 * Math.PI * b * i) / window);
      }
      return re * re + im * im;
    });
    return Array.from({ length: bands }, (_, m) => {
      const sum = power.reduce((all, p, b) => all + p * filters[m * bins + b]!, 0);
      return Math.log10(Math.max(sum, 1e-10));
    });
  });
  const most = Math.max(...frames.flat());
  return frames.map((row) => row.map((l) => (Math.max(l, most - 8) + 4) / 4));
}

async function spectrogram(samples: Float32Array, bands: number, device = 'cpu', threads = 1): Promise<Float32Array> {
  const model = await DeviceModel.open(device, { threads });
  try {
    return await (await Spectrograms.create(model, config(bands))).features(samples);
  } finally {
    await model.dispose();
  }
}

describe('log-mel spectrograms', () => {
  it.each(testDevices())('are those of WhisperFeatureExtractor on %s', async (device) => {
    const samples = await readAudio(join(folder, 'audio.wav'), { sampleRate: 16_000 });
    const expected = await readTensors(join(folder, 'spectrograms.safetensors'));
    const parts: Record<string, [Float32Array, number]> = {
      long: [samples, 16],
      short: [samples.subarray(4000, 9001), 16],
      bands_80: [samples.subarray(0, 8000), 80],
      bands_128: [samples.subarray(0, 8000), 128],
    };
    for (const [name, [part, bands]] of Object.entries(parts)) {
      const found = await spectrogram(part, bands, device);
      const { shape, data } = expected.get(name)!;
      const frames = shape[1]!;
      if (bands === 16) expect(found.length, name).toBe(frames * bands);
      let worst = 0;
      for (let b = 0; b < bands; b++)
        for (let f = 0; f < frames; f++)
          worst = Math.max(worst, Math.abs(found[f * bands + b]! - data[b * frames + f]!));
      expect(worst, name).toBeLessThan(1e-4);
    }
  });

  it('are those of the definition in float64', async () => {
    const samples = Float32Array.from(
      { length: 16_000 },
      (_, i) => 0.3 * Math.sin(i * i * 1e-5) + 0.01 * Math.sin(i * 2.1),
    );
    const found = await spectrogram(samples, 80);
    const worst = reference(samples, 80)
      .flat()
      .reduce((most, v, i) => Math.max(most, Math.abs(v - found[i]!)), 0);
    expect(worst).toBeLessThan(1e-4);
  });

  it('have the same bits with one and two threads', async () => {
    const samples = Float32Array.from({ length: 50_000 }, (_, i) => Math.sin(i * i * 1e-6));
    expect(await spectrogram(samples, 80, 'cpu', 2)).toEqual(await spectrogram(samples, 80));
  });

  it('of silence, of one sample and of noise are finite; of samples out of range there are none', async () => {
    for (const samples of [new Float32Array(16_000), Float32Array.of(1), Float32Array.of(-1e-30)]) {
      const found = await spectrogram(samples, 16);
      expect(found.length).toBe(100 * 16);
      expect(found.every(Number.isFinite)).toBe(true);
    }
    await expect(spectrogram(new Float32Array(100).fill(3e38), 16)).rejects.toThrow(InputError);
  });

  it('mirror without the edge, however short the audio is', () => {
    expect([...mirrored(Float32Array.of(1, 2, 3), 5)]).toEqual([2, 1, 2, 3, 2, 1, 2, 3, 2, 1, 2, 3, 2]);
    expect([...mirrored(Float32Array.of(7), 2)]).toEqual([7, 7, 7, 7, 7]);
  });

  it('have filters of equal area and an orthogonal transform', () => {
    const filters = melFilters(80, 201, 16_000);
    // The wide ones, which many bins sample well: area 1 over Hz.
    for (let m = 60; m < 80; m++) {
      const area = filters.subarray(m * 201, (m + 1) * 201).reduce((sum, v) => sum + v * 40, 0);
      expect(area).toBeCloseTo(1, 1);
    }
    const fourier = windowedFourier(8);
    expect(fourier.length).toBe(2 * 5 * 8);
    expect(fourier.slice(0, 8).reduce((a, b) => a + b)).toBeCloseTo(4, 6);
  });

  it('refuse configs that do not fit the model', () => {
    const good = readJson(join(folder, 'preprocessor_config.json'));
    expect(() => spectrogramConfig(good, 'file', 80, 100)).toThrow(ConfigError);
    expect(() => spectrogramConfig(good, 'file', 16, 3000)).toThrow(ConfigError);
    expect(() => spectrogramConfig({ ...good, n_fft: 0 }, 'file', 16, 100)).toThrow(ConfigError);
    expect(() => spectrogramConfig({ ...good, dither: 0.1 }, 'file', 16, 100)).toThrow(UnsupportedError);
    const slow = { ...good, sampling_rate: 8000, hop_length: 80 };
    expect(() => spectrogramConfig(slow, 'file', 16, 100)).toThrow(UnsupportedError);
  });
});
