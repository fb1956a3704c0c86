/** The BERT-shaped sibling of the built-in model: masked words and the senses of "mole", as transformers runs the same weights. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { builtInModel, type FillMaskModel, load } from '../../lib/index.js';
import { compareVectors, encoderVectors, meaningOf, senses } from '../../lib/tour/mole.js';
import { cosine } from '../../lib/tour/stop.js';

const folder = builtInModel('senses');
const text = (name: string): string => readFileSync(join(folder, name), 'utf8');

interface Question {
  readonly kind: 'new' | 'unseen' | 'grams' | 'vector';
  readonly text: string;
  readonly answer: string;
}

interface Golden {
  readonly masks: readonly { readonly text: string; readonly ids: readonly number[]; readonly best: number }[];
  readonly moles: Readonly<Record<string, string>>;
  /** (layers + 1, pairs) */
  readonly cosines: readonly (readonly number[])[];
}

interface Held {
  readonly new: { readonly right: number };
  readonly unseen: { readonly right: number };
  readonly grams: { readonly right: number };
  /** By layer: share of "mole" vectors whose nearest neighbour has the same sense. */
  readonly neighbours: readonly number[];
}

describe('verdant-senses', () => {
  const golden = JSON.parse(text('golden.json')) as Golden;
  const held = JSON.parse(text('heldout.json')) as Held;
  const questions = text('heldout.jsonl')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Question);
  let model: FillMaskModel;
  beforeAll(async () => {
    model = await load(folder, { task: 'fillMask', compute: 'f32' });
  });
  afterAll(() => model?.dispose());

  it.each(Object.entries(senses))('knows the %s', async (sense, context) => {
    expect((await meaningOf(model, context, 'mole')).text).toBe(sense);
  });

  it('fills masks with the ids of transformers', async () => {
    expect(golden.masks.length).toBeGreaterThanOrEqual(20);
    for (const { text: sentence, ids, best } of golden.masks) {
      expect(Array.from(await model.tokenizer!.encode(sentence, { specialTokens: true })), sentence).toEqual(ids);
      const [candidates] = await model.fillMask(sentence, { top: 1 });
      expect(candidates![0]!.id, sentence).toBe(best);
    }
  });

  it.each(['new', 'unseen', 'grams'] as const)('is right as often as its card says: %s', async (kind) => {
    const of = questions.filter((q) => q.kind === kind);
    const made = await Promise.all(of.map((q) => model.fillMask(q.text, { top: 1 })));
    const right = made.filter(([best], i) => best![0]!.text === of[i]!.answer).length / of.length;
    // One answer may hang on a margin that rounding decides.
    expect(Math.abs(right - held[kind].right)).toBeLessThanOrEqual(1 / of.length + 1e-9);
    expect(right).toBeGreaterThanOrEqual(kind === 'grams' ? 0.7 : 0.99);
  });

  it('"mole" is one vector at layer 0, and the cosines of transformers follow', async () => {
    expect(golden.moles).toEqual(senses);
    const vectors = await Promise.all(Object.values(senses).map((s) => encoderVectors(model, s, 'mole')));
    const { cosines } = compareVectors(vectors);
    for (const c of cosines[0]!) expect(c).toBeCloseTo(1, 6);
    for (const [layer, row] of cosines.entries())
      for (const [i, c] of row.entries()) expect(c).toBeCloseTo(golden.cosines[layer]![i]!, 4);
    for (const c of cosines.at(-1)!) expect(c).toBeLessThan(0.9);
  });

  it('the nearest neighbour of a "mole" vector has the same sense', async () => {
    const of = questions.filter((q) => q.kind === 'vector');
    const vectors = await Promise.all(of.map((q) => encoderVectors(model, q.text, 'mole')));
    const shares = held.neighbours.map((_, layer) => {
      const same = of.filter((q, i) => {
        const alike = of.map((_, j) => (i === j ? -2 : cosine(vectors[i]![layer]!, vectors[j]![layer]!)));
        return of[alike.indexOf(Math.max(...alike))]!.answer === q.answer;
      });
      return same.length / of.length;
    });
    // Layer 0 holds only the word's place, with ties: what it says is chance.
    for (const [layer, share] of shares.slice(1).entries())
      expect(Math.abs(share - held.neighbours[layer + 1]!)).toBeLessThanOrEqual(2 / of.length);
    expect(shares.at(-1)).toBeGreaterThanOrEqual(0.9);
  });
});
