import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { describe, expect, it } from 'vitest';
import { openCheckpoint } from '../../lib/weights/checkpoint.js';
import { readConfig } from '../../lib/weights/config.js';
import { readGenerationConfig } from '../../lib/weights/generation_config.js';
import { readGguf } from '../../lib/weights/gguf.js';
import { sharedModels } from '../support/shared.js';

const models = sharedModels();

describe.skipIf(models === undefined)('published checkpoints (shared models)', () => {
  const at = (...parts: string[]) => join(models as string, ...parts);

  it('opens tinystories-656K as safetensors', async () => {
    const checkpoint = await openCheckpoint(at('tinystories-656K'));
    expect(checkpoint.kind).toBe('safetensors');
    expect(checkpoint.tensors.size).toBe(20);
    const head = checkpoint.tensors.get('lm_head.weight');
    expect(head).toMatchObject({ dtype: 'f32', shape: [2048, 128], bytes: 2048 * 128 * 4 });
    const config = readConfig(checkpoint);
    expect([config.int('num_attention_heads'), config.int('num_key_value_heads'), config.headDim()]).toEqual([
      8, 4, 16,
    ]);
    expect(config.rope()).toEqual({ type: 'default', theta: 10_000, partialRotaryFactor: 1 });
    expect(config.dtype()).toBe('f32');
    expect(readGenerationConfig(checkpoint, config)).toMatchObject({ eosTokenIds: [2], bosTokenId: 1, other: {} });
    const single = await openCheckpoint(at('tinystories-656K', 'model.safetensors'));
    expect([...single.tensors.keys()]).toEqual([...checkpoint.tensors.keys()]);
  });

  it('opens TinyStories-656K-Q8_0.gguf as the gguf package sees it', async () => {
    const checkpoint = await openCheckpoint(at('tinystories-656K', 'TinyStories-656K-Q8_0.gguf'));
    expect(checkpoint.gguf?.metadata.size).toBe(34);
    expect(checkpoint.tensors.size).toBe(20);
    expect(checkpoint.tensors.get('output_norm.weight')).toMatchObject({
      dtype: 'f32',
      shape: [128],
      offset: 50_848,
      bytes: 512,
    });
    const table = { dtype: 'q8_0', shape: [2048, 128], offset: 51_360, bytes: 278_528 };
    expect(checkpoint.tensors.get('token_embd.weight')).toMatchObject(table);
    const k = { dtype: 'q8_0', shape: [64, 128], offset: 329_888, bytes: 8704 };
    expect(checkpoint.tensors.get('blk.0.attn_k.weight')).toMatchObject(k);
    const config = readConfig(checkpoint);
    expect(config.modelType).toBe('llama');
    expect(config.num('rms_norm_eps')).toBe(1e-6);
    expect(config.bool('tie_word_embeddings')).toBe(true);
    const folder = readConfig(await openCheckpoint(at('tinystories-656K')));
    for (const field of [
      'hidden_size',
      'intermediate_size',
      'num_hidden_layers',
      'num_attention_heads',
      'vocab_size',
    ]) {
      expect(config.int(field), field).toBe(folder.int(field));
    }
    expect(config.rope()).toEqual(folder.rope());
    expect(readGenerationConfig(checkpoint, config)).toMatchObject({ eosTokenIds: [2], bosTokenId: 1, padTokenId: 0 });
  });

  it('opens stories260K.gguf, whose padding id is -1', async () => {
    const checkpoint = await openCheckpoint(at('stories260K', 'stories260K.gguf'));
    expect(checkpoint.gguf?.metadata.size).toBe(19);
    expect(checkpoint.tensors.size).toBe(48);
    expect(checkpoint.tensors.get('blk.0.attn_q.weight')).toMatchObject({
      shape: [64, 64],
      offset: 276_576,
      bytes: 16_384,
    });
    const config = readConfig(checkpoint);
    expect(config.num('rms_norm_eps')).toBe(1e-5);
    expect(readGenerationConfig(checkpoint, config).padTokenId).toBeUndefined();
  });

  it.each([
    ['ggml-vocab-gpt-2.gguf', 16, 50_257],
    ['ggml-vocab-llama-spm.gguf', 22, 32_000],
    ['ggml-vocab-bert-bge.gguf', 20, 30_522],
  ])('reads the metadata of %s', async (name, pairs, tokens) => {
    const gguf = await readGguf(at('tokenizer-vectors', name));
    expect(gguf.metadata.size).toBe(pairs);
    expect(gguf.strings('tokenizer.ggml.tokens')).toHaveLength(tokens);
    expect(gguf.tensors.size).toBe(0);
  });

  it('reads a 50k-token vocabulary fast without holding the event loop', async () => {
    const delay = monitorEventLoopDelay({ resolution: 1 });
    await readGguf(at('tokenizer-vectors', 'ggml-vocab-gpt-2.gguf'));
    delay.enable();
    const start = performance.now();
    const gguf = await readGguf(at('tokenizer-vectors', 'ggml-vocab-gpt-2.gguf'));
    const took = performance.now() - start;
    delay.disable();
    expect(gguf.strings('tokenizer.ggml.merges')).toHaveLength(50_000);
    expect(took).toBeLessThan(5000);
    expect(delay.max / 1e6).toBeLessThan(500);
  });
});
