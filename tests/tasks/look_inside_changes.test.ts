/** Steering and head masking against checkpoints whose weights do the same. */
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { load } from '../../lib/tasks/load.js';
import type { TextModel } from '../../lib/tasks/text_model.js';
import { writeSafetensors } from '../../lib/weights/write_safetensors.js';
import { fixture } from '../support/fixtures.js';
import { error, readTensors } from '../support/safetensors.js';

const kHidden = 42;
const kHeadDim = 14;
const ids = [5, 17, 80, 3, 99, 42, 7, 7, 61, 20];
const vector = Float32Array.from({ length: kHidden }, (_, i) => Math.cos(3 * i + 1));
const { folder } = fixture('models', 'gpt2');

let original: TextModel;
const made: string[] = [];
beforeAll(async () => {
  original = await load(folder, { compute: 'f32' });
});
afterAll(async () => {
  await original.dispose();
  for (const path of made) rmSync(path, { recursive: true });
});

/** The fixture with other weights. */
async function changed(name: RegExp, change: (data: Float32Array) => void): Promise<TextModel> {
  const path = mkdtempSync(join(tmpdir(), 'verdant-look-'));
  made.push(path);
  cpSync(join(folder, 'config.json'), join(path, 'config.json'));
  const tensors = await readTensors(join(folder, 'model.safetensors'));
  const all = new Map([...tensors].map(([n, t]) => [n, { shape: t.shape, data: Float32Array.from(t.data) }]));
  const found = [...all.keys()].filter((n) => name.test(n));
  expect(found).toHaveLength(1);
  change(all.get(found[0]!)!.data);
  await writeSafetensors(join(path, 'model.safetensors'), all);
  return load(path, { compute: 'f32' });
}

const addVector = (data: Float32Array): void => {
  for (let i = 0; i < kHidden; i++) data[i]! += vector[i]!;
};

describe('steering', () => {
  it.each([
    [1, /h\.0\.mlp\.c_proj\.bias$/],
    [2, /ln_f\.bias$/],
  ])('at layer %i is adding to the bias before it', async (layer, name) => {
    const other = await changed(name, addVector);
    const options = { steer: [{ layer, vector }], attentions: true, hiddenStates: [layer] } as const;
    const steered = await original.trace(ids, options);
    const expected = await other.trace(ids, { ...options, steer: undefined });
    const plain = await original.trace(ids);
    expect(error(steered.logits!.data, expected.logits!.data)).toBeLessThan(1e-5);
    expect(error(plain.logits!.data, expected.logits!.data)).toBeGreaterThan(0.05);
    for (const i of [0, 1])
      expect(error(steered.attentions.get(i)!.data, expected.attentions.get(i)!.data)).toBeLessThan(1e-5);
    // What is recorded is what enters the layer.
    expect(error(steered.hiddenStates.get(layer)!.data, expected.hiddenStates.get(layer)!.data)).toBeLessThan(1e-5);
    const request = { greedy: true, maxTokens: 12, ignoreEos: true } as const;
    const written = await original.generate(ids, { ...request, steer: [{ layer, vector }] }).result();
    expect(written.ids).toEqual((await other.generate(ids, request).result()).ids);
    await other.dispose();
  });

  it('at layer 0 is adding to every word: to each learned position', async () => {
    const other = await changed(/wpe\.weight$/, (data) => {
      for (let at = 0; at < data.length; at += kHidden) addVector(data.subarray(at, at + kHidden));
    });
    const steered = await original.trace(ids, { steer: [{ layer: 0, vector: [...vector], scale: 1 }] });
    const expected = await other.trace(ids);
    expect(error(steered.logits!.data, expected.logits!.data)).toBeLessThan(1e-5);
    const twice = await original.trace(ids, { steer: [{ layer: 0, vector, scale: -2 }] });
    expect(error(twice.logits!.data, expected.logits!.data)).toBeGreaterThan(0.05);
    await other.dispose();
  });
});

describe('masking heads', () => {
  it('is clearing the columns of the output projection that read them', async () => {
    // c_proj is stored (in, out): the columns of head 1 are rows 14 … 27.
    const other = await changed(/h\.1\.attn\.c_proj\.weight$/, (data) =>
      data.fill(0, kHeadDim * kHidden, 2 * kHeadDim * kHidden),
    );
    const maskHeads = [{ layer: 1, heads: [1] }];
    const masked = await original.trace(ids, { maskHeads });
    const expected = await other.trace(ids);
    // 0 · w and 0 · 0 are the same zero: not only near.
    expect([...masked.logits!.data]).toEqual([...expected.logits!.data]);
    const plain = await original.trace(ids);
    expect(error(plain.logits!.data, expected.logits!.data)).toBeGreaterThan(1e-3);
    const request = { greedy: true, maxTokens: 12, ignoreEos: true } as const;
    const written = await original.generate(ids, { ...request, maskHeads }).result();
    expect(written.ids).toEqual((await other.generate(ids, request).result()).ids);
    await other.dispose();
  });
});
