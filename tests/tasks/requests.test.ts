import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ContextOverflowError, InputError, OptionError, UnsupportedError } from '../../lib/errors.js';
import { type LoadOptions, load } from '../../lib/tasks/load.js';
import type { TextModel } from '../../lib/tasks/text_model.js';
import { gemma2Config, gpt2Config, llamaConfig, randomModel, tinyConfig } from '../engine/models.js';
import { expectSameBits } from '../support/compare.js';
import { testDevices } from '../support/run_op.js';

let model: TextModel;
beforeAll(async () => {
  model = await randomModel({ maxContext: 128 });
});
afterAll(() => model.dispose());

describe('bad input', () => {
  const ids = Array.from({ length: 129 }, (_, i) => i);
  it.each([
    ['an empty prompt', []],
    ['an id beyond the vocabulary', [1, 288]],
    ['a negative id', [-1]],
    ['a fraction', [1.5]],
    ['a number that wraps to an id', [2 ** 32 + 5]],
    ['a text for a number', ['5']],
    ['no list', 5],
    ['nothing', undefined],
    ['a DataView', new DataView(new ArrayBuffer(4))],
    ['big integers', BigInt64Array.of(1n)],
  ])('%s', async (_, prompt) => {
    const given = prompt as never;
    await expect(model.generate(given, { maxTokens: 2 }).result()).rejects.toBeInstanceOf(InputError);
    await expect(model.forward({ inputIds: given })).rejects.toBeInstanceOf(InputError);
    await expect(model.score(given, [1])).rejects.toBeInstanceOf(InputError);
    await expect(model.score([1], given)).rejects.toBeInstanceOf(InputError);
    await expect(model.trace(given)).rejects.toBeInstanceOf(InputError);
  });

  it('more than the context', async () => {
    await expect(model.generate(ids).result()).rejects.toBeInstanceOf(ContextOverflowError);
    await expect(model.generate(ids.slice(0, 100), { maxTokens: 29 }).result()).rejects.toThrow(/at most 28/);
    await expect(model.forward({ inputIds: ids })).rejects.toThrow(/at most 128 tokens; found 129/);
    await expect(model.score(ids.slice(0, 100), ids.slice(0, 50))).rejects.toBeInstanceOf(InputError);
    expect((await model.generate(ids.slice(0, 100)).result()).ids).toHaveLength(28);
    expect((await model.forward({ inputIds: ids.slice(0, 128) })).shape[0]).toBe(128);
  });

  it('a text, where there is no tokenizer', async () => {
    await expect(model.generate('hello').result()).rejects.toBeInstanceOf(UnsupportedError);
    await expect(model.chat([{ role: 'user', content: 'hello' }]).result()).rejects.toMatchObject({
      code: 'ERR_TEMPLATE',
    });
    await expect(model.chat([]).result()).rejects.toBeInstanceOf(InputError);
  });

  it('wrong options of forward and trace', async () => {
    await expect(model.forward({ inputIds: [1] }, { logits: 'first' as never })).rejects.toBeInstanceOf(OptionError);
    for (const bad of [
      { attentions: [2] },
      { hiddenStates: [3] },
      { hiddenStates: [-1] },
      { logits: false },
      { what: 1 },
      { attentions: 'all' },
    ]) {
      await expect(model.trace([1], bad as never)).rejects.toBeInstanceOf(OptionError);
    }
  });

  it.each([
    { threads: 0 },
    { threads: 1.5 },
    { prefillChunk: -1 },
    { maxSequences: 0 },
    { decodeSteps: '8' },
    { compute: 'fast' },
    { task: 'embedding' },
    { tempo: 3 },
    { kvMemory: 'much' },
    { kvType: 'q4' },
    { kvType: 'toString' },
    { maxContext: 0 },
    { maxContext: 10 ** 9 },
    { kvMemory: 100 },
    { priority: 1000 },
    { priority: 'high' },
  ])('load refuses %j', async (bad) => {
    await expect(load(undefined, bad as LoadOptions)).rejects.toBeInstanceOf(OptionError);
  });

  it('load gives up when it is aborted, or its progress callback throws', async () => {
    await expect(load(undefined, { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'ERR_ABORTED' });
    const error = new Error('mine');
    const onProgress = (): void => {
      throw error;
    };
    await expect(load(undefined, { onProgress })).rejects.toBe(error);
  });
});

describe('room', () => {
  it('requests wait for KV blocks and all finish, with the bits of a roomy model', async () => {
    const tight = await randomModel({ kvMemory: 6 * (2 * 2 * 16 * 32 * 4 + 128), maxContext: 128 });
    expect(tight.host.plan.blocks).toBe(6);
    const ask = (on: TextModel, i: number) => {
      const prompt = Array.from({ length: 10 + 9 * (i % 6) }, (_, j) => (i * 31 + j) % 288);
      return on
        .generate(prompt, { maxTokens: 20 + (i % 3), temperature: 1, seed: i, n: i % 4 === 0 ? 2 : 1, logprobs: true })
        .result();
    };
    const tightly = await Promise.all(Array.from({ length: 24 }, (_, i) => ask(tight, i)));
    const roomy = await Promise.all(Array.from({ length: 24 }, (_, i) => ask(model, i)));
    expect(tightly.map((r) => r.completions.map((c) => c.logprobs))).toEqual(
      roomy.map((r) => r.completions.map((c) => c.logprobs)),
    );
    const forwards = await Promise.all([
      ask(tight, 3),
      ...[1, 2, 3].map(() => tight.forward({ inputIds: Array(128).fill(5) })),
    ]);
    expect(forwards).toHaveLength(4);
    await expect(tight.generate(Array(60).fill(1), { maxTokens: 60, n: 4 }).result()).rejects.toThrow(/KV blocks/);
    const aborted = new AbortController();
    const table = await tight.host.engine.pool.lease(6 * 32);
    const waiting = [
      tight.generate([1], { maxTokens: 3, signal: aborted.signal }).result(),
      tight.forward({ inputIds: [1] }, { signal: aborted.signal }),
    ];
    setTimeout(() => aborted.abort(), 10);
    for (const w of waiting) await expect(w).rejects.toMatchObject({ code: 'ERR_ABORTED' });
    tight.host.engine.pool.release(table);
    expect(tight.host.engine.load).toMatchObject({ blocksUsed: 0, waiting: 0 });
    await tight.dispose();
  });

  it('no more than maxSequences run at once', async () => {
    const few = await randomModel({ maxSequences: 3 });
    let most = 0;
    const run = few.host.step.run.bind(few.host.step);
    few.host.step.run = (dims, inputs, k) => {
      most = Math.max(most, few.host.engine.load.running, dims.seqs!);
      return run(dims, inputs, k);
    };
    const all = await Promise.all(
      [1, 2, 3, 2, 1, 3].map((n, i) => few.generate([i + 1], { maxTokens: 10, n }).result()),
    );
    expect(all.map((r) => r.completions.length)).toEqual([1, 2, 3, 2, 1, 3]);
    expect(most).toBe(3);
    await few.dispose();
  });
});

describe.each(testDevices())('trace on %s', (device) => {
  it.each([
    ['llama', llamaConfig],
    ['gpt-2', gpt2Config],
    ['gemma 2', gemma2Config],
  ])('%s: changes no bit, and packs nothing twice', async (_, config) => {
    const own = await randomModel({ config, device });
    const ids = Array.from({ length: 70 }, (_, i) => (i * 13) % 500);
    const plain = await own.forward({ inputIds: ids });
    const quiet = await own.generate(ids, { maxTokens: 8, logprobs: 4 }).result();
    const memory = own.host.model.memory();
    const [traced, noisy] = await Promise.all([
      own.trace(ids, { attentions: true, hiddenStates: true }),
      own.generate(ids, { maxTokens: 8, logprobs: 4 }).result(),
    ]);
    expectSameBits(traced.logits!.data, plain.logits);
    expect(noisy.logprobs).toEqual(quiet.logprobs);
    expect(own.host.model.memory()).toEqual(memory);
    expect([...traced.attentions.values()].map((a) => a.shape)).toEqual([1, 2].map(() => [4, 70, 70]));
    expect([...traced.hiddenStates.values()].map((h) => h.shape)).toEqual([1, 2, 3].map(() => [70, 264]));
    for (const { data } of traced.attentions.values()) {
      for (let row = 0; row < 280; row++) {
        expect(data.subarray(row * 70, row * 70 + 70).reduce((a, b) => a + b, 0)).toBeCloseTo(1, 4);
      }
    }
    await own.dispose();
  });
});

it('a config of the smallest sizes works', async () => {
  const config = {
    ...tinyConfig,
    vocab_size: 1,
    hidden_size: 4,
    intermediate_size: 1,
    num_attention_heads: 1,
    num_hidden_layers: 1,
  };
  const least = await randomModel({ config });
  expect((await least.generate([0], { maxTokens: 3 }).result()).ids).toEqual([0, 0, 0]);
  await least.dispose();
});
