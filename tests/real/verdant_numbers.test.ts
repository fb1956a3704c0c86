/** The T5-shaped sibling of the built-in model: numbers to English words and back, as transformers runs the same weights. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { builtInModel, load, type TextModel } from '../../lib/index.js';

const folder = builtInModel('numbers');
const text = (name: string): string => readFileSync(join(folder, name), 'utf8');

interface Golden {
  readonly source: string;
  readonly source_ids: readonly number[];
  readonly ids: readonly number[];
  readonly text: string;
}

describe('verdant-numbers', () => {
  const golden = JSON.parse(text('golden.json')) as Golden[];
  let model: TextModel;
  beforeAll(async () => {
    model = await load(folder, { compute: 'f32' });
  });
  afterAll(() => model?.dispose());

  it.each([
    ['12 407', 'twelve thousand four hundred and seven'],
    ['twelve thousand four hundred and seven', '12 407'],
    ['12 007', 'twelve thousand and seven'],
    ['one hundred thousand', '100 000'],
    ['999 999', 'nine hundred and ninety-nine thousand nine hundred and ninety-nine'],
    ['0', 'zero'],
  ])('%s: %s', async (source, target) => {
    const made = await model.generate(source).result();
    expect(made.text).toBe(target);
    expect(made.finishReason).toBe('stop');
  });

  it('gives the ids of transformers for 40 sources', async () => {
    expect(golden).toHaveLength(40);
    const made = await Promise.all(golden.map(({ source }) => model.generate(source).result()));
    for (const [i, { source, source_ids, ids, text: written }] of golden.entries()) {
      expect(Array.from(await model.tokenizer!.encode(source)), source).toEqual(source_ids);
      expect(
        [...made[i]!.ids].filter((id) => id !== 1),
        source,
      ).toEqual(ids);
      expect(made[i]!.text, source).toBe(written);
    }
  });

  it('is right on held-out pairs as often as its card says', async () => {
    const pairs = text('heldout.jsonl')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { source: string; target: string });
    const { pairs: count, right } = JSON.parse(text('heldout.json')) as { pairs: number; right: number };
    expect(pairs).toHaveLength(count);
    const made = await Promise.all(pairs.map(({ source }) => model.generate(source).text()));
    const share = made.filter((written, i) => written === pairs[i]!.target).length / count;
    expect(share).toBe(right);
    expect(share).toBeGreaterThanOrEqual(0.99);
  });
});
