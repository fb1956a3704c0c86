import { describe, expect, it } from 'vitest';
import { ConfigError } from '../../lib/errors.js';
import { alibiSlopes, roundedAlibi } from '../../lib/layers/alibi.js';
import { openCheckpoint } from '../../lib/weights/checkpoint.js';
import { readConfig } from '../../lib/weights/config.js';
import type { RawConfig } from '../../lib/weights/types.js';
import { fixture } from '../support/fixtures.js';
import { build } from '../support/forward.js';

const read = (config: RawConfig) => readConfig({ config, configFile: 'config.json' });

describe('configs of more decoders', () => {
  it.each([
    ['opt', [50_272, 768, 12, 12, 2048]],
    ['bloom', [250_880, 64, 2, 8, 2048]],
    ['falcon', [65_024, 4544, 32, 71, 2048]],
    ['olmo2', [50_304, 4096, 32, 32, 2048]],
    ['granite', [32_000, 4096, 32, 32, 2048]],
    ['smollm3', [128_256, 2048, 36, 16, 32_768]],
  ] as const)('%s has the defaults of its class', (type, expected) => {
    const config = read({ model_type: type });
    const fields = ['vocab_size', 'hidden_size', 'num_hidden_layers', 'num_attention_heads', 'max_position_embeddings'];
    expect(fields.map((field) => config.int(field))).toEqual(expected);
    expect(config.bool('tie_word_embeddings')).toBe(!['olmo2', 'granite'].includes(type));
  });

  it('derive what the classes derive', () => {
    expect(read({ model_type: 'opt', hidden_size: 96 }).int('word_embed_proj_dim')).toBe(96);
    const bloom = read({ model_type: 'bloom', n_embed: 96, num_attention_heads: 6, seq_length: 512 });
    expect([bloom.int('hidden_size'), bloom.int('n_head'), bloom.int('max_position_embeddings')]).toEqual([96, 6, 512]);
    const smol = { model_type: 'smollm3', num_hidden_layers: 5, no_rope_layer_interval: 2 };
    expect(read(smol).nums('no_rope_layers')).toEqual([1, 0, 1, 0, 1]);
    const sliding = (config: RawConfig) =>
      read(config)
        .layerTypes()
        .map((type) => type === 'sliding_attention');
    expect(sliding({ ...smol, sliding_window: 8 })).toEqual([false, false, false, false, false]);
    const windowed = { ...smol, sliding_window: 8, use_sliding_window: true };
    expect(sliding(windowed)).toEqual([false, true, false, true, false]);
    expect(sliding({ ...windowed, no_rope_layers: [0, 1, 1, 1, 0] })).toEqual([true, false, false, false, true]);
  });

  const cases: [name: string, patch: RawConfig, found: RegExp][] = [
    ['opt', { layer_norm_elementwise_affine: false }, /layer_norm_elementwise_affine: expected true/],
    ['opt', { num_attention_heads: 5 }, /hidden_size: expected a multiple/],
    ['opt', { activation_function: 'snake' }, /activation_function: expected silu.*snake/],
    ['bloom', { pretraining_tp: 4, slow_but_exact: true }, /slow_but_exact: expected false/],
    ['bloom', { hidden_size: 43 }, /hidden_size: expected the value of n_embed/],
    ['falcon', { num_ln_in_parallel_attn: 2 }, /num_ln_in_parallel_attn: expected 1/],
    ['falcon_grouped', { parallel_attn: false }, /parallel_attn: expected true/],
    ['falcon_grouped', { num_kv_heads: 4 }, /num_kv_heads: expected a divisor/],
    ['falcon_rw', { num_kv_heads: 3 }, /num_kv_heads: expected 9 where multi_query is false/],
    ['granite', { logits_scaling: 0 }, /logits_scaling: expected a number above 0/],
    ['smollm3', { no_rope_layers: [1, 0] }, /no_rope_layers: expected a list of 4/],
    ['smollm3_window', { sliding_window: null }, /sliding_window: expected an integer.*null/],
  ];
  for (const [name, patch, found] of cases) {
    it(`${name} with ${JSON.stringify(patch)} is refused`, async () => {
      const checkpoint = await openCheckpoint(fixture('models', name).folder);
      const run = (): unknown => build(checkpoint, { config: { ...checkpoint.config, ...patch } });
      expect(run).toThrow(ConfigError);
      expect(run).toThrow(found);
    });
  }
});

it('slopes of linear biases are those of the paper', () => {
  expect(alibiSlopes(8)).toEqual([1, 2, 3, 4, 5, 6, 7, 8].map((i) => 2 ** -i));
  expect(alibiSlopes(3)).toEqual([2 ** -4, 2 ** -8, 2 ** -2]);
  expect(alibiSlopes(1)).toEqual([2 ** -8]);
  expect(alibiSlopes(12).slice(8)).toEqual([0.5, 1.5, 2.5, 3.5].map((i) => 2 ** -i));
});

it("Falcon's biases are rounded to bfloat16", () => {
  const table = roundedAlibi(16, 300, 1);
  // 2^-0.5 becomes 181 / 256, its product with 19 becomes 215 / 16; 299 becomes 300, and the product 212.
  expect([table[1], table[19], table[299]]).toEqual([181 / 256, 215 / 16, 212]);
  expect([...roundedAlibi(8, 4, 0.5)].slice(0, 8)).toEqual([0, 0.25, 0.5, 0.75, 0, 0.125, 0.25, 0.375]);
});
