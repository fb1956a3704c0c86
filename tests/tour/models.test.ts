/** Stops of the tour that use the built-in model. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { load, type TextModel } from '../../lib/index.js';
import { ask } from '../../lib/tour/dialogue.js';
import { compareVectors, contexts, decoderVectors } from '../../lib/tour/mole.js';
import { tempered } from '../../lib/tour/temperature.js';

let model: TextModel;
beforeAll(async () => {
  model = await load(undefined, { compute: 'f32' });
});
afterAll(() => model?.dispose());

describe('mole', () => {
  it('is one vector at layer 0 and three afterwards', async () => {
    const vectors = await Promise.all(contexts.map((text) => decoderVectors(model, text, 'mole')));
    const { pairs, cosines } = compareVectors(vectors);
    expect(pairs).toEqual([
      [0, 1],
      [0, 2],
      [1, 2],
    ]);
    expect(cosines).toHaveLength(5);
    for (const c of cosines[0]!) expect(c).toBeCloseTo(1, 12);
    for (const [layer, row] of cosines.slice(1).entries())
      for (const c of row) expect(c, `layer ${layer + 1}`).toBeLessThan(0.98);
    const [unitAndAnimal, , unitAndSkin] = cosines.at(-1)!;
    expect(unitAndAnimal).toBeLessThan(0.5);
    expect(unitAndSkin).toBeLessThan(0.5);
  });
});

describe('temperature', () => {
  it('flattens what is drawn', async () => {
    const draws = 1024;
    const made = await tempered(model, 'A mole is', draws);
    for (const [i, m] of made.entries()) {
      if (i > 0) expect(m.entropy).toBeGreaterThan(made[i - 1]!.entropy);
      // Total variation distance of a fair sample: at most Σ √(p / draws) / √(2 π), the mean of |drawn − p| / 2.
      const distance = m.drawn.reduce((sum, d, id) => sum + Math.abs(d - m.probabilities[id]!), 0) / 2;
      const expected =
        m.probabilities.reduce((sum, p) => sum + Math.sqrt((p * (1 - p)) / draws), 0) / Math.sqrt(2 * Math.PI);
      expect(distance, `temperature ${m.temperature}`).toBeLessThan(1.6 * expected);
      expect(m.drawn.reduce((a, b) => a + b)).toBeCloseTo(1, 4);
    }
    const [cold, hot] = [made[0]!, made.at(-1)!];
    expect(Math.max(...cold.probabilities)).toBeGreaterThan(Math.max(...hot.probabilities));
  });

  it('near 0 takes the likeliest', async () => {
    const ids = await model.encode('A mole is');
    const { logits } = await model.forward({ inputIds: ids }, { logits: 'last' });
    const best = logits.indexOf(logits.reduce((a, b) => Math.max(a, b)));
    const options = { temperature: 0.01, topK: 0, topP: 1, repetitionPenalty: 1, maxTokens: 1, n: 64 };
    const { completions } = await model.generate(ids, { ...options, seed: 3 }).result();
    expect(new Set(completions.map((c) => c.ids[0]))).toEqual(new Set([best]));
  });
});

describe('a written dialogue', () => {
  it('is what the chat template makes, and answers alike', async () => {
    const { template, written, plain, onward } = await ask(model, 'What digs tunnels?');
    expect(template).toBe('A mole digs tunnels.');
    expect(written).toBe(template);
    // Without its stop token it plays both parts.
    expect(onward.startsWith(`${template}<|end|>`)).toBe(true);
    expect(onward).toContain('<|user|>');
    expect(plain).not.toMatch(/digs tunnels/);
  });
});
