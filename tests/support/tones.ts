import { Random } from './random.js';

const rate = 16_000;
const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ';

/** The sound of a text and a seed, as models/verdant-tones/tones.py makes it: samples at 16 kHz. */
export function sound(text: string, seed: number): Float32Array {
  const random = new Random(seed);
  const uniform = (least: number, most: number): number => least + (most - least) * random.next();
  const clean: number[] = [];
  const rest = (least: number, most: number): void => {
    for (let n = Math.trunc(rate * uniform(least, most)); n > 0; n--) clean.push(0);
  };
  const tone = (letter: string): void => {
    const samples = Math.trunc(rate * uniform(0.07, 0.13));
    const turns = (400 * 2 ** (letters.indexOf(letter) / 8) * uniform(0.995, 1.005)) / rate;
    const [phase, gain, octave] = [uniform(0, 2 * Math.PI), uniform(0.3, 1), uniform(0, 0.2)];
    for (let i = 0; i < samples; i++) {
      const angle = 2 * Math.PI * turns * i + phase;
      const fade = Math.min(1, i / (0.008 * rate)) * Math.min(1, (samples - 1 - i) / (0.008 * rate));
      clean.push(gain * fade * (Math.sin(angle) + octave * Math.sin(2 * angle)));
    }
  };
  rest(0.02, 0.1);
  for (const letter of text) {
    if (letter === ' ') rest(0.165, 0.21);
    else {
      tone(letter);
      rest(0.015, 0.04);
    }
  }
  rest(0.02, 0.1);
  const level = uniform(0.005, 0.05);
  return Float32Array.from(clean, (v) => 0.5 * (v + level * (2 * random.next() - 1)));
}

/** Zero mean and unit variance, as the feature extractor of Wav2Vec2 does it. */
export function normalised(samples: Float32Array): Float32Array {
  const mean = samples.reduce((a, b) => a + b, 0) / samples.length;
  const variance = samples.reduce((a, b) => a + (b - mean) ** 2, 0) / samples.length;
  return samples.map((v) => (v - mean) / Math.sqrt(variance + 1e-7));
}
