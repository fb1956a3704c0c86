/** The example of a user's own architecture: against a float64 reference, with its cache, and in a batch. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { burrow, continueAll } from '../../examples/own_model.js';
import { load, type TextModel } from '../../lib/index.js';
import { writeSafetensors } from '../../lib/weights/write_safetensors.js';
import { expectSameBits } from '../support/compare.js';
import { Random } from '../support/random.js';
import { activations, attention, linear, rmsNorm } from '../support/reference.js';
import { error } from '../support/safetensors.js';

const config = {
  ...{ architectures: ['BurrowForCausalLM'], model_type: 'burrow', tie_word_embeddings: true, vocab_size: 96 },
  ...{ hidden_size: 48, num_hidden_layers: 4, num_attention_heads: 4, head_dim: 16, intermediate_size: 128 },
  ...{ window: 16, max_position_embeddings: 256 },
};
const [hidden, vocab, ffn, heads, headDim] = [48, 96, 128, 4, 16];
const wide = heads * headDim;
const layer: Readonly<Record<string, readonly number[]>> = {
  norm: [hidden],
  'q.weight': [wide, hidden],
  'k.weight': [wide, hidden],
  'v.weight': [wide, hidden],
  'gate.weight': [wide, hidden],
  'gate.bias': [wide],
  'o.weight': [hidden, wide],
  'up.weight': [ffn, hidden],
  'down.weight': [hidden, ffn],
};

function weights(): Map<string, { shape: readonly number[]; data: Float32Array }> {
  const random = new Random(11);
  const made = new Map([
    ['tokens', { shape: [vocab, hidden] as readonly number[], data: random.normal(vocab * hidden) }],
  ]);
  for (let i = 0; i < config.num_hidden_layers; i++) {
    for (const [name, shape] of Object.entries(layer)) {
      const size = shape.reduce((a, b) => a * b, 1);
      made.set(`layers.${i}.${name}`, { shape, data: random.normal(size, 2 / Math.sqrt(shape[1] ?? 4)) });
    }
  }
  return made;
}

/** Logits (rows, vocab) in float64. */
function reference(stored: ReturnType<typeof weights>, ids: readonly number[]): Float64Array {
  const rows = ids.length;
  const table = stored.get('tokens')!.data;
  let x = Float64Array.from(ids.flatMap((id) => [...table.subarray(id * hidden, (id + 1) * hidden)]));
  for (let i = 0; i < config.num_hidden_layers; i++) {
    const w = (name: string) => stored.get(`layers.${i}.${name}`)!;
    const times = (name: string, from: Float64Array, bias?: Float32Array) =>
      linear(from, w(`${name}.weight`).data, bias, rows, w(`${name}.weight`).shape[1]!, w(`${name}.weight`).shape[0]!);
    const n = rmsNorm(x, w('norm').data, 1e-6);
    const bias = Float64Array.from({ length: heads * rows * rows }, (_, at) => {
      const [h, from, to] = [Math.floor(at / rows / rows), Math.floor(at / rows) % rows, at % rows];
      return 2 ** (-2 * (h + 1)) * (to - from);
    });
    const sees = (from: number, to: number) => to <= from && (i % 2 === 0 || from - to < config.window);
    const { y } = attention(times('q', n), times('k', n), times('v', n), {
      ...{ rows, keys: rows, heads, kvHeads: heads, headDim, scale: 1 / Math.sqrt(headDim), sees, bias },
    });
    const gate = times('gate', n, w('gate.bias').data).map(activations.sigmoid!);
    const o = times(
      'o',
      y.map((v, at) => v * gate[at]!),
    );
    const down = times(
      'down',
      times('up', n).map((v) => Math.max(v, 0) ** 2),
    );
    x = x.map((v, at) => v + o[at]! + down[at]!);
  }
  return linear(x, table, undefined, rows, hidden, vocab).map((v) => 20 * Math.tanh(v / 20));
}

describe('a model of one’s own', () => {
  const folder = mkdtempSync(join(tmpdir(), 'verdant-own-'));
  const stored = weights();
  const prompts = [3, 40, 1, 17, 70].map((length, i) => [...new Random(i).integers(length, 0, vocab)]);
  let model: TextModel;
  beforeAll(async () => {
    writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
    await writeSafetensors(join(folder, 'model.safetensors'), stored);
    model = await load(folder, { architecture: burrow });
  });
  afterAll(async () => {
    await model?.dispose();
    rmSync(folder, { recursive: true });
  });

  it('computes what its formulas say', async () => {
    for (const ids of prompts) {
      const { logits } = await model.forward({ inputIds: ids });
      expect(error(logits, reference(stored, ids))).toBeLessThan(1e-4);
    }
  });

  it('continues five requests at once from the cache as whole forward passes would', async () => {
    const made = await continueAll(folder, prompts);
    for (const [i, prompt] of prompts.entries()) {
      const ids = [...prompt];
      for (let n = 0; n < 40; n++) {
        const { logits } = await model.forward({ inputIds: ids }, { logits: 'last' });
        ids.push(logits.indexOf(logits.reduce((a, b) => Math.max(a, b))));
      }
      expect(made[i]!.ids).toEqual(ids.slice(prompt.length));
    }
    // Not the same token over and over: the comparison would say little.
    expect(new Set(made.flatMap((m) => m.ids)).size).toBeGreaterThan(8);
  });

  it('gives the same bits alone and together', async () => {
    const options = { maxTokens: 24, temperature: 1, seed: 5, logprobs: 0 };
    const together = await Promise.all(prompts.map((ids) => model.generate(ids, options).result()));
    for (const [i, prompt] of prompts.entries()) {
      const alone = await model.generate(prompt, options).result();
      expect(alone.ids).toEqual(together[i]!.ids);
      const bits = (r: typeof alone) => Float32Array.from(r.logprobs!.map((p) => p.logprob));
      expectSameBits(bits(alone), bits(together[i]!), `request ${i}`);
    }
  });

  it('can be looked into', async () => {
    const { attentions, hiddenStates } = await model.trace(prompts[1]!, { attentions: [1], hiddenStates: [4] });
    const map = attentions.get(1)!;
    expect(map.shape).toEqual([heads, 40, 40]);
    const row = map.data.subarray(39 * 40, 40 * 40);
    expect(row.subarray(0, 24).every((p) => p === 0)).toBe(true); // outside the window
    expect(row.reduce((a, b) => a + b)).toBeCloseTo(1, 5);
    expect(hiddenStates.get(4)!.shape).toEqual([40, hidden]);
  });
});
