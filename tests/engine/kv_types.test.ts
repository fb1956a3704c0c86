/** Promise 2 of the design for a cache of each type: the bits of a request do not depend on how the work is divided. */
import { describe, expect, it } from 'vitest';
import { buildRandom } from '../../lib/bench/random_model.js';
import { DecoderHost, type HostOptions } from '../../lib/engine/host.js';
import { pageTokens } from '../../lib/layers/decoder.js';
import type { KvType } from '../../lib/ops/kv_write.js';
import { TextModel } from '../../lib/tasks/text_model.js';
import type { RawConfig } from '../../lib/weights/types.js';
import { expectSameBits, nmse } from '../support/compare.js';
import { testDevices } from '../support/run_op.js';
import { emptyCheckpoint, gemma2Config, llamaConfig, tinyConfig } from './models.js';
import { allLogits, prompts } from './same_answer.js';

const types: readonly KvType[] = ['bf16', 'q8'];
const sizes = [1, pageTokens + 1, 3 * pageTokens + 5, 300];

function open(config: RawConfig, kvType: KvType | undefined, options: HostOptions = {}): Promise<DecoderHost> {
  return DecoderHost.open(buildRandom(config, 'config.json', 'f32', kvType), { kvMemory: '16MiB', ...options });
}

describe.each(testDevices())('KV types on %s', (device) => {
  describe.each([
    ['llama', llamaConfig],
    ['gemma 2, windows of 40 keys', gemma2Config],
  ] as const)('%s', (_, config) => {
    it.each(types)('%s: logits of chunks of 1, 7 and all, alone and with neighbours, 1 and 2 threads', async (type) => {
      const [one, two] = [
        await open(config, type, { device, threads: 1 }),
        await open(config, type, { device, threads: 2 }),
      ];
      const plain = await open(config, 'f32', { device });
      try {
        const all = prompts(one.built.vocabSize, device === 'cpu:generic' ? sizes.slice(0, 3) : sizes);
        const alone: Float32Array[] = [];
        for (const ids of all) alone.push((await allLogits(one, [ids], ids.length))[0]!);
        const exact = await allLogits(plain, all, 512);
        for (const [i, x] of alone.entries()) {
          const error = nmse(x, exact[i]!);
          expect(error).toBeGreaterThan(0);
          expect(error).toBeLessThan(1e-3);
        }
        const same = (found: Float32Array[], name: string): void => {
          for (const [i, x] of found.entries()) expectSameBits(x, alone[i]!, `${name}: prompt of ${all[i]!.length}`);
        };
        same(await allLogits(two, all, 512), 'all at once, 2 threads');
        same(await allLogits(one, all, 7), 'chunks of 7');
        same((await allLogits(two, [...all].reverse(), 7)).reverse(), 'chunks of 7, reversed, 2 threads');
        same(await allLogits(two, all, 1), 'chunks of 1, 2 threads');
      } finally {
        for (const host of [one, two, plain]) await host.dispose();
      }
    });
  });
});

describe('a model with a KV type', () => {
  const model = async (kvType: KvType, options?: HostOptions): Promise<TextModel> =>
    new TextModel(await open(tinyConfig, kvType, options), emptyCheckpoint(tinyConfig), undefined);

  it.each(types)('%s: completions that share a prompt, and traces, do not depend on chunks', async (type) => {
    const [whole, chunked] = [await model(type), await model(type, { prefillChunk: 5, decodeSteps: 1 })];
    try {
      const prompt = Array.from({ length: 45 }, (_, i) => (i * 37) % 288);
      const ask = async (on: TextModel): Promise<unknown> => {
        const { completions } = await on.generate(prompt, { n: 3, maxTokens: 40, seed: 5, logprobs: true }).result();
        return completions.map((c) => [c.ids, c.logprobs]);
      };
      expect(await ask(chunked)).toEqual(await ask(whole));
      const trace = (on: TextModel) => on.trace(prompt, { attentions: true });
      expect(await trace(chunked)).toEqual(await trace(whole));
    } finally {
      for (const m of [whole, chunked]) await m.dispose();
    }
  });

  it('holds more tokens in the same memory', async () => {
    const bytes: number[] = [];
    for (const type of ['f32', 'bf16', 'q8'] as const) {
      const host = await open(llamaConfig, type);
      const { bytesPerToken, blocks } = host.plan;
      expect(blocks).toBe(Math.floor(2 ** 24 / (bytesPerToken * pageTokens)));
      expect(host.model.memory().stateBytes).toBe(blocks * bytesPerToken * pageTokens);
      bytes.push(bytesPerToken);
      await host.dispose();
    }
    // 2 layers of 2 heads of 66: scales of q8 for 3 groups of a key and for a value; and the token's id.
    expect(bytes).toEqual([4 * 2 * 66 * 4 + 4, 4 * 2 * 66 * 2 + 4, 4 * (2 * 66 + 4 * 4) + 4]);
  });
});
