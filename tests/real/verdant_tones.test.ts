/** The Wav2Vec2-shaped sibling of the built-in model: tones to letters, as transformers runs the same weights. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { builtInModel, load, type SpeechModel, traceModel } from '../../lib/index.js';
import { openCheckpoint } from '../../lib/weights/checkpoint.js';
import { normalised, sound } from '../support/tones.js';

const folder = builtInModel('tones');
const text = (name: string): string => readFileSync(join(folder, name), 'utf8');

interface Line {
  readonly text: string;
  readonly seed: number;
}

describe('verdant-tones', () => {
  const lines = text('heldout.jsonl')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Line);
  let model: SpeechModel;
  beforeAll(async () => {
    model = await load(folder, { task: 'transcribe', compute: 'f32' });
  });
  afterAll(() => model?.dispose());

  it.each([
    ['MOLE', 1],
    ['HELLO WORLD', 2],
    ['A MOLE DIGS', 3],
  ])('hears %s', async (said, seed) => {
    const { text: heard, words, duration } = await model.transcribe(sound(said, seed));
    expect(heard).toBe(said);
    expect(words.map((w) => w.text)).toEqual(said.split(' '));
    for (const [i, word] of words.entries()) {
      expect(word.start).toBeGreaterThanOrEqual(i === 0 ? 0.02 : words[i - 1]!.end + 0.1);
      expect(word.end).toBeLessThanOrEqual(duration);
      expect(word.confidence).toBeGreaterThan(0.8);
    }
  });

  it('gives the ids of transformers for every frame', async () => {
    const golden = JSON.parse(text('golden.json')) as (Line & { readonly frames: readonly number[] })[];
    expect(golden.length).toBeGreaterThanOrEqual(20);
    const checkpoint = await openCheckpoint(folder);
    for (const { text: said, seed, frames } of golden) {
      const samples = normalised(sound(said, seed));
      const made = await traceModel(checkpoint, { inputValues: { shape: [1, samples.length], data: samples } });
      const { shape, data } = made.get('logits')!;
      const best = frames.map((_, t) => {
        const row = data.subarray(t * shape[2]!, (t + 1) * shape[2]!);
        return row.indexOf(row.reduce((a, b) => Math.max(a, b)));
      });
      expect(shape[1], said).toBe(frames.length);
      expect(best, said).toEqual(frames);
    }
  });

  it('is right on held-out texts as often as its card says', async () => {
    const { sounds, right } = JSON.parse(text('heldout.json')) as { sounds: number; right: number };
    expect(lines).toHaveLength(sounds);
    const made = await model.transcribe(lines.map(({ text: said, seed }) => sound(said, seed)));
    const share = made.filter(({ text: heard }, i) => heard === lines[i]!.text).length / sounds;
    // One text may hang on a margin that rounding decides.
    expect(Math.abs(share - right)).toBeLessThanOrEqual(1 / sounds + 1e-9);
    expect(share).toBeGreaterThanOrEqual(0.9);
  });
});
