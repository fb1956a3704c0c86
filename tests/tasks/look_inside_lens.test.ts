/** The logit lens: final norm and head over each hidden state, as one would compute it by hand from the trace. */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AbortError, OptionError } from '../../lib/errors.js';
import type { Lens } from '../../lib/tasks/lens.js';
import { builtInModel, load } from '../../lib/tasks/load.js';
import type { TextModel } from '../../lib/tasks/text_model.js';
import { fixture, fixtures } from '../support/fixtures.js';
import { Random } from '../support/random.js';
import { type Array64, readTensors } from '../support/safetensors.js';

const random = new Random(3);

function softmax(x: number[]): number[] {
  const top = Math.max(...x);
  const e = x.map((v) => Math.exp(v - top));
  const sum = e.reduce((a, b) => a + b, 0);
  return e.map((v) => v / sum);
}

/** The k largest probabilities of each row of logits agree with the lens. */
function expectTop(lens: Lens, layer: number, logits: readonly number[][], top: number): void {
  const found = lens.layers.get(layer)!;
  expect(found).toHaveLength(logits.length);
  for (const [row, own] of logits.entries()) {
    const probabilities = softmax(own);
    const best = [...probabilities.keys()].sort((a, b) => probabilities[b]! - probabilities[a]!).slice(0, top);
    expect(found[row]).toHaveLength(top);
    for (const [i, token] of found[row]!.entries()) {
      expect(Math.abs(token.probability - probabilities[best[i]!]!)).toBeLessThan(1e-5);
      expect(Math.abs(probabilities[token.id]! - token.probability)).toBeLessThan(1e-5);
    }
  }
}

const rowsOf = (data: ArrayLike<number>, width: number): number[][] =>
  Array.from({ length: data.length / width }, (_, r) => Array.from({ length: width }, (_, c) => data[r * width + c]!));

const product = (rows: readonly number[][], table: Array64): number[][] =>
  rows.map((x) => rowsOf(table.data, x.length).map((w) => w.reduce((sum, v, i) => sum + v * x[i]!, 0)));

function rmsNorm(x: number[], weight: ArrayLike<number>, eps: number): number[] {
  const scale = 1 / Math.sqrt(x.reduce((s, v) => s + v * v, 0) / x.length + eps);
  return x.map((v, i) => v * scale * weight[i]!);
}

function layerNorm(x: number[], weight: ArrayLike<number>, bias: ArrayLike<number>, eps: number): number[] {
  const mean = x.reduce((a, b) => a + b, 0) / x.length;
  const scale = 1 / Math.sqrt(x.reduce((s, v) => s + (v - mean) ** 2, 0) / x.length + eps);
  return x.map((v, i) => (v - mean) * scale * weight[i]! + bias[i]!);
}

async function weightsOf(folder: string, files: readonly string[]): Promise<(name: RegExp) => Array64> {
  const all = new Map<string, Array64>();
  for (const file of files) for (const [name, tensor] of await readTensors(join(folder, file))) all.set(name, tensor);
  return (name) => [...all].find(([n]) => name.test(n))![1];
}

describe('decoders', () => {
  it('llama: RMS norm and head over each hidden state', async () => {
    const { folder } = fixture('models', 'llama');
    const weights = await weightsOf(folder, ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors']);
    const model = await load(folder, { compute: 'f32' });
    const ids = [...random.integers(70, 0, 103)];
    const lens = await model.lens(ids, { top: 4 });
    const trace = await model.trace(ids, { hiddenStates: true });
    expect([...lens.layers.keys()]).toEqual([0, 1, 2, 3]);
    const [norm, head] = [weights(/^model\.norm\.weight$/).data, weights(/^lm_head\.weight$/)];
    for (const layer of [0, 1, 2]) {
      const states = rowsOf(trace.hiddenStates.get(layer)!.data, 44).map((x) => rmsNorm(x, norm, 0.02));
      expectTop(lens, layer, product(states, head), 4);
    }
    expectTop(lens, 3, rowsOf(trace.logits!.data, 103), 4);
    expect(lens.layers.get(0)![0]![0]!.token).toBeUndefined();
    await model.dispose();
  });

  it.each(fixtures('models').map((f) => f.name))(
    '%s: the last layer is what the model says; the step stays the program it was',
    async (name) => {
      const model = await load(fixture('models', name).folder, { compute: 'f32' });
      const ids = [...random.integers(12, 0, 79)];
      const before = model.printGraph();
      const lens = await model.lens(ids, { top: 3 });
      expect(model.printGraph()).toBe(before);
      const last = model.host.built.layers;
      expect([...lens.layers.keys()]).toEqual(Array.from({ length: last + 1 }, (_, i) => i));
      const { logits } = await model.forward({ inputIds: ids });
      expectTop(lens, last, rowsOf(logits, model.host.built.vocabSize), 3);
      const some = await model.lens(ids, { top: 1, layers: [0] });
      expect(some.layers.get(0)!.map((row) => row[0])).toEqual(lens.layers.get(0)!.map((row) => row[0]));
      await model.dispose();
    },
  );

  it('gemma2: the cap of the logits counts at each layer', async () => {
    const { folder } = fixture('models', 'gemma2');
    const weights = await weightsOf(folder, ['model.safetensors']);
    const model = await load(folder, { compute: 'f32' });
    const ids = [...random.integers(9, 0, 90)];
    const lens = await model.lens(ids, { top: 3, layers: [1] });
    const trace = await model.trace(ids, { hiddenStates: [1] });
    const norm = Float64Array.from(weights(/^model\.norm\.weight$/).data, (v) => 1 + v);
    const { config } = model.host.built;
    const cap = config.num('final_logit_softcapping');
    const width = config.int('hidden_size');
    const states = rowsOf(trace.hiddenStates.get(1)!.data, width).map((x) =>
      rmsNorm(x, norm, config.num('rms_norm_eps')),
    );
    const logits = product(states, weights(/embed_tokens/)).map((row) => row.map((v) => cap * Math.tanh(v / cap)));
    expectTop(lens, 1, logits, 3);
    await model.dispose();
  });
});

const sequences = fixtures('seq2seq')
  .map((f) => f.name)
  .filter((name) => name !== 't5_encoder');
const masked = fixtures('encoders')
  .map((f) => f.name)
  .filter((name) => name.endsWith('_masked_lm'));

describe('encoder-decoders and encoders', () => {
  it.each(sequences)('%s: over what the decoder has written', async (name) => {
    const model = await load(fixture('seq2seq', name).folder, { compute: 'f32' });
    const source = [...random.integers(9, 3, 90)];
    const target = [...random.integers(5, 3, 90)];
    const options = { top: 2, target };
    const lens = await model.lens(source, options as never);
    const trace = await model.trace(source, { target });
    const last = Math.max(...lens.layers.keys());
    expectTop(lens, last, rowsOf(trace.logits!.data, trace.logits!.shape[1]!), 2);
    expect(lens.layers.get(0)).toHaveLength(trace.ids.length);
    expect(model.host.engine.load.textBlocksUsed).toBe(0);
    await model.dispose();
  });

  it.each(masked)('%s: the last layer is what the model says', async (name) => {
    const model = await load(fixture('encoders', name).folder, { task: 'fillMask', compute: 'f32' });
    const inputIds = [...random.integers(11, 3, 70)];
    const lens = await model.lens({ inputIds }, { top: 3 });
    const { outputs } = await model.trace({ inputIds });
    expect(lens.layers.size).toBe(model.host.built.layers + 1);
    expectTop(lens, model.host.built.layers, rowsOf(outputs.logits!.data, model.host.built.vocabSize), 3);
    await expect(model.lens({ inputIds }, { signal: AbortSignal.abort() })).rejects.toThrow(AbortError);
    await model.dispose();
  });

  it('a gap that the text spells is a gap, for the lens and for the trace', async () => {
    const model = await load(builtInModel('senses'), { task: 'fillMask' });
    const text = 'the mole [MASK] a tunnel';
    const lens = await model.lens(text, { top: 2, layers: [3] });
    expect(lens.tokens).toEqual(['[CLS]', 'the', 'mole', '[MASK]', 'a', 'tunnel', '[SEP]']);
    const [best] = await model.fillMask(text, { top: 2 });
    for (const [k, { id, probability }] of lens.layers.get(3)![3]!.entries()) {
      expect(id).toBe(best![k]!.id);
      expect(Math.abs(probability - best![k]!.score)).toBeLessThan(1e-5);
    }
    expect((await model.trace(text)).tokens).toEqual(lens.tokens);
    expect((await model.lens('', { top: 1 })).tokens).toEqual(['[CLS]', '[SEP]']);
    await expect(model.lens('mole '.repeat(100))).rejects.toThrow(/found 102\. Shorten it: it cannot be cut here$/);
    await model.dispose();
  });

  it('bert: the head of the masked language model over each hidden state', async () => {
    const { folder } = fixture('encoders', 'bert_masked_lm');
    const weights = await weightsOf(folder, ['model.safetensors']);
    const model = await load(folder, { task: 'fillMask', compute: 'f32' });
    const inputIds = [...random.integers(11, 0, 90)];
    const lens = await model.lens({ inputIds }, { top: 3 });
    const trace = await model.trace({ inputIds }, { hiddenStates: true });
    const { config } = model.host.built;
    const width = config.int('hidden_size');
    const last = model.host.built.layers;
    expectTop(lens, last, rowsOf(trace.outputs.logits!.data, model.host.built.vocabSize), 3);
    const [dense, bias] = [weights(/transform\.dense\.weight/), weights(/transform\.dense\.bias/).data];
    expect(config.activation()).toBe('gelu_tanh');
    const gelu = (x: number): number => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
    for (let layer = 0; layer < last; layer++) {
      const states = rowsOf(trace.hiddenStates.get(layer)!.data, width);
      const inner = product(states, dense).map((row) => row.map((v, i) => gelu(v + bias[i]!)));
      const normed = inner.map((x) =>
        layerNorm(
          x,
          weights(/transform\.LayerNorm\.(weight|gamma)/).data,
          weights(/transform\.LayerNorm\.(bias|beta)/).data,
          config.num('layer_norm_eps'),
        ),
      );
      const shift = weights(/^cls\.predictions\.(decoder\.)?bias$/).data;
      const logits = product(normed, weights(/word_embeddings\.weight$/)).map((row) =>
        row.map((v, i) => v + shift[i]!),
      );
      expectTop(lens, layer, logits, 3);
    }
    await model.dispose();
  });
});

describe('the built-in model', () => {
  let model: TextModel;
  beforeAll(async () => {
    model = await load();
  });
  afterAll(() => model.dispose());

  it('gives tokens with their texts, surer from layer to layer', async () => {
    const lens = await model.lens('The mole dug', { top: 2 });
    expect(lens.tokens).toHaveLength(lens.ids.length);
    const { logprobs } = await model.generate('The mole dug', { greedy: true, maxTokens: 1, logprobs: 2 }).result();
    const last = lens.layers.get(model.host.built.layers)!.at(-1)!;
    expect(last.map((t) => t.id)).toEqual(logprobs![0]!.top.map((t) => t.id));
    for (const [i, t] of last.entries()) expect(t.probability).toBeCloseTo(Math.exp(logprobs![0]!.top[i]!.logprob), 5);
    expect(last[0]!.token).toBe(model.tokenizer!.idToToken(last[0]!.id));
  });

  it('a text of several chunks', async () => {
    const ids = [...random.integers(300, 0, 500)];
    const lens = await model.lens(ids, { top: 3, layers: [2, model.host.built.layers] });
    const { logits } = await model.forward({ inputIds: ids });
    expectTop(lens, model.host.built.layers, rowsOf(logits, model.host.built.vocabSize), 3);
    const part = await model.lens(ids.slice(0, 200), { top: 3, layers: [2] });
    expect(lens.layers.get(2)!.slice(0, 200)).toEqual(part.layers.get(2));
  });

  it('refuses what it cannot do', async () => {
    await expect(model.lens('a', { top: 0 })).rejects.toThrow(OptionError);
    await expect(model.lens('a', { top: 101 })).rejects.toThrow(OptionError);
    await expect(model.lens('a', { layers: [99] })).rejects.toThrow(/expected numbers from 0 to/);
    await expect(model.lens('a', { layers: [] })).rejects.toThrow(OptionError);
    await expect(model.lens('a', { layer: 1 } as never)).rejects.toThrow(/unknown name layer/);
    await expect(model.lens([])).rejects.toThrow(/prompt is empty/);
  });
});
