/** Encoder-decoders in the engine: texts are read once, requests join one batch, and no bit depends on it. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type BuiltSeq2Seq, buildSeq2Seq } from '../../lib/engine/build.js';
import { DecoderHost } from '../../lib/engine/host.js';
import { ContextOverflowError, InputError, OptionError, UnsupportedError } from '../../lib/errors.js';
import { findArchitecture } from '../../lib/models/index.js';
import type { Generation } from '../../lib/tasks/generation.js';
import { Seq2SeqModel } from '../../lib/tasks/seq2seq_model.js';
import { readConfig } from '../../lib/weights/config.js';
import { randomSource } from '../../lib/weights/random_source.js';
import type { RawConfig } from '../../lib/weights/types.js';
import { Random } from '../support/random.js';
import { emptyCheckpoint } from './models.js';
import { facts } from './same_answer.js';

const common = { vocab_size: 131, decoder_start_token_id: 0, pad_token_id: 0, eos_token_id: null };

const configs: Readonly<Record<string, RawConfig>> = {
  t5: {
    ...common,
    ...{ model_type: 't5', architectures: ['T5ForConditionalGeneration'], feed_forward_proj: 'gated-gelu' },
    ...{ d_model: 72, d_kv: 20, d_ff: 136, num_layers: 2, num_decoder_layers: 3, num_heads: 3 },
  },
  marian: {
    ...common,
    ...{ model_type: 'marian', architectures: ['MarianMTModel'], d_model: 72, max_position_embeddings: 400 },
    ...{ encoder_layers: 2, decoder_layers: 2, encoder_attention_heads: 3, decoder_attention_heads: 3 },
    ...{ encoder_ffn_dim: 136, decoder_ffn_dim: 136, forced_eos_token_id: null },
  },
};

function build(config: RawConfig): BuiltSeq2Seq {
  const reader = readConfig({ config, configFile: 'config.json' });
  const architecture = findArchitecture(undefined, reader.modelType, 'config.json');
  if (architecture.kind !== 'seq2seq') throw new Error('no encoder-decoder');
  return buildSeq2Seq(architecture, reader, randomSource('f32', 3));
}

async function open(config: RawConfig, threads: number): Promise<Seq2SeqModel> {
  const built = build(config);
  const host = await DecoderHost.open(built.decoder, { threads, kvMemory: '32MiB', maxContext: 200 }, built);
  return new Seq2SeqModel(host, emptyCheckpoint(config, { decoder_start_token_id: 0 }), undefined, built);
}

describe.each(Object.keys(configs))('%s', (name) => {
  const config = configs[name]!;
  const random = new Random(5);
  const texts = [1, 31, 32, 33, 101, 300].map((n) => [...random.integers(n, 1, 131)]);
  let one: Seq2SeqModel;
  let two: Seq2SeqModel;
  beforeAll(async () => {
    [one, two] = [await open(config, 1), await open(config, 2)];
  });
  afterAll(async () => {
    await one.dispose();
    await two.dispose();
  });

  const requests = (model: Seq2SeqModel): Generation[] =>
    texts.flatMap((text, i) => [
      model.generate(text, { maxTokens: 12, greedy: true, logprobs: true }),
      model.generate(text, { maxTokens: 9, temperature: 0.9, seed: i, n: 2, logprobs: true }),
    ]);

  it('the same bits alone, together, in both orders, on one and two threads; all blocks come back', async () => {
    const alone: unknown[] = [];
    for (const i of texts.keys()) {
      const text = texts[i]!;
      alone.push(facts(await one.generate(text, { maxTokens: 12, greedy: true, logprobs: true }).result()));
      const sampled = one.generate(text, { maxTokens: 9, temperature: 0.9, seed: i, n: 2, logprobs: true });
      alone.push(facts(await sampled.result()));
    }
    for (const model of [one, two]) {
      const together = await Promise.all(requests(model).map((g) => g.result()));
      expect(together.map(facts)).toEqual(alone);
      const back = await Promise.all(
        requests(model)
          .reverse()
          .map((g) => g.result()),
      );
      expect(back.reverse().map(facts)).toEqual(alone);
      expect(model.host.engine.load).toMatchObject({ running: 0, blocksUsed: 0, textBlocksUsed: 0 });
    }
  });

  it('what it writes depends on what it reads', async () => {
    const [a, b] = [texts[3]!, texts[3]!.map((id, i) => (i === 20 ? (id % 130) + 1 : id))];
    const written = async (text: number[]) =>
      facts(await one.generate(text, { maxTokens: 6, greedy: true, logprobs: true }).result());
    expect(await written(a)).not.toEqual(await written(b));
  });

  it('aborting frees the text; bad requests are refused', async () => {
    const own = new AbortController();
    const running = one.generate(texts[5]!, { maxTokens: 150, greedy: true, signal: own.signal });
    const other = one.generate(texts[4]!, { maxTokens: 10, greedy: true }).result();
    setTimeout(() => own.abort(), 5);
    await running.result().catch(() => undefined);
    await other;
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(one.host.engine.load).toMatchObject({ blocksUsed: 0, textBlocksUsed: 0 });
    await expect(one.generate([]).result()).rejects.toThrow(InputError);
    await expect(one.generate([1, 500]).result()).rejects.toThrow(InputError);
    await expect(one.generate('text').result()).rejects.toThrow(UnsupportedError);
    await expect(one.generate(texts[0]!, { echo: true }).result()).rejects.toThrow(OptionError);
    await expect(one.forward()).rejects.toThrow(UnsupportedError);
    expect(() => one.session()).toThrow(UnsupportedError);
    const long = Array<number>(one.maxSource + 1).fill(1);
    await expect(one.generate(long).result()).rejects.toThrow(ContextOverflowError);
  });
});
