import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { ConfigError, VerdantError } from '../../lib/errors.js';
import { openCheckpoint } from '../../lib/weights/checkpoint.js';
import { type ConfigReader, readConfig } from '../../lib/weights/config.js';
import { configDefaults } from '../../lib/weights/defaults.js';
import { readGenerationConfig } from '../../lib/weights/generation_config.js';
import { parseObject } from '../../lib/weights/json.js';
import { safetensors, TempFolder } from '../support/bytes.js';

const temp = new TempFolder();
afterAll(() => temp.dispose());

const parse = (text: string) => parseObject(Buffer.from(text), 'config.json', (m, facts) => new ConfigError(m, facts));
const read = (config: unknown): ConfigReader =>
  readConfig({ config: parse(JSON.stringify(config)), configFile: 'config.json' });
const refuses = (config: unknown, ...messages: RegExp[]) => {
  for (const message of messages) expect(() => read(config)).toThrow(message);
  expect(() => read(config)).toThrow(ConfigError);
};

describe('config.json', () => {
  it.each([
    ['gpt2', [50_257, 768, 12, 12, 1024], undefined],
    ['llama', [32_000, 4096, 32, 32, 2048], [32, 128]],
    ['mistral', [32_000, 4096, 32, 32, 131_072], [8, 128]],
    ['qwen2', [151_936, 4096, 32, 32, 32_768], [32, 128]],
    ['qwen3', [151_936, 4096, 32, 32, 32_768], [32, 128]],
    ['phi3', [32_064, 3072, 32, 32, 4096], [32, 96]],
    ['gemma', [256_000, 3072, 28, 16, 8192], [16, 256]],
    ['gemma2', [256_000, 2304, 26, 8, 8192], [4, 256]],
    ['gemma3_text', [262_208, 2304, 26, 8, 131_072], [4, 256]],
    ['gpt_neox', [50_432, 6144, 44, 64, 2048], [64, 96]],
    ['gptj', [50_400, 4096, 28, 16, 2048], [16, 256]],
    ['gpt_neo', [50_257, 2048, 24, 16, 2048], [16, 128]],
    ['phi', [51_200, 2048, 24, 32, 2048], [32, 64]],
    ['stablelm', [50_304, 2560, 32, 32, 4096], [32, 80]],
    ['starcoder2', [49_152, 3072, 30, 24, 4096], [2, 128]],
  ])('has the class defaults of %s', (type, common, attention) => {
    const config = read({ model_type: type });
    const fields = ['vocab_size', 'hidden_size', 'num_hidden_layers', 'num_attention_heads', 'max_position_embeddings'];
    expect(fields.map((field) => config.int(field))).toEqual(common);
    if (attention !== undefined) expect([config.int('num_key_value_heads'), config.headDim()]).toEqual(attention);
    const tied = type.startsWith('gemma') || ['gpt2', 'gpt_neo', 'starcoder2'].includes(type);
    expect(config.bool('tie_word_embeddings')).toBe(tied);
    expect(configDefaults[type]).toBeDefined();
  });

  it('derives key/value heads, head size, layer types and widths', () => {
    const llama = read({ model_type: 'llama', hidden_size: 64, num_attention_heads: 4, num_key_value_heads: null });
    expect([llama.int('num_key_value_heads'), llama.headDim()]).toEqual([4, 16]);
    expect(read({ model_type: 'gpt2', n_embd: 48, n_head: 3 }).int('n_inner')).toBe(192);
    expect(read({ model_type: 'gpt2', num_hidden_layers: 3 }).int('n_layer')).toBe(3);
    expect(read({ model_type: 'gpt2', n_layer: 3 }).int('num_hidden_layers')).toBe(3);
    refuses({ model_type: 'gpt2', n_layer: 3, num_hidden_layers: 4 }, /the value of/);
    const sliding = (config: object) =>
      read(config)
        .layerTypes()
        .map((type) => type === 'sliding_attention');
    expect(sliding({ model_type: 'gemma2', num_hidden_layers: 3 })).toEqual([true, false, true]);
    const six = sliding({ model_type: 'gemma3_text', num_hidden_layers: 7 });
    expect(six).toEqual([true, true, true, true, true, false, true]);
    const two = sliding({ model_type: 'gemma3_text', num_hidden_layers: 4, sliding_window_pattern: 2 });
    expect(two).toEqual([true, false, true, false]);
    const qwen = { model_type: 'qwen2', num_hidden_layers: 3, max_window_layers: 1 };
    expect(sliding(qwen)).toEqual([false, false, false]);
    expect(sliding({ ...qwen, use_sliding_window: true })).toEqual([false, true, true]);
    expect(read(qwen).slidingWindow()).toBeUndefined();
    expect(read({ ...qwen, use_sliding_window: true }).slidingWindow()).toBe(4096);
    expect(read({ model_type: 'mistral', sliding_window: null }).slidingWindow()).toBeUndefined();
    expect(
      read({ model_type: 'gemma2', attn_logit_softcapping: null }).optionalNum('attn_logit_softcapping'),
    ).toBeUndefined();
  });

  it('knows how much of a head turns, and GPT-NeoX by its own names', () => {
    const part = (config: object) => {
      const { theta, partialRotaryFactor } = read(config).rope();
      return [theta, partialRotaryFactor];
    };
    expect(part({ model_type: 'gpt_neox' })).toEqual([10_000, 0.25]);
    expect(part({ model_type: 'gpt_neox', rotary_pct: 1, rotary_emb_base: 500 })).toEqual([500, 1]);
    const given = { rope_theta: 300, partial_rotary_factor: 0.5, rope_type: 'default' };
    expect(part({ model_type: 'gpt_neox', rope_parameters: given })).toEqual([300, 0.5]);
    refuses({ model_type: 'gpt_neox', rotary_pct: 0.5, partial_rotary_factor: 0.25 }, /the value of/);
    expect(part({ model_type: 'phi' })).toEqual([10_000, 0.5]);
    expect(part({ model_type: 'stablelm', partial_rotary_factor: 0.5 })).toEqual([10_000, 0.5]);
    expect(part({ model_type: 'starcoder2' })).toEqual([10_000, 1]);
    expect(read({ model_type: 'gpt_neo', hidden_size: 48, num_heads: 3 }).int('intermediate_size')).toBe(192);
    expect(read({ model_type: 'gpt_neo', num_layers: 3 }).int('num_hidden_layers')).toBe(3);
  });

  it('names activations', () => {
    const gemma = { model_type: 'gemma', hidden_act: 'gelu' };
    expect(read(gemma).activation()).toBe('gelu');
    expect(read({ ...gemma, hidden_activation: 'gelu_pytorch_tanh' }).activation()).toBe('gelu_tanh');
    expect(read({ model_type: 'gpt2' }).activation('activation_function')).toBe('gelu_tanh');
    expect(() => read({ model_type: 'llama', hidden_act: 'magic' }).activation()).toThrow(/hidden_act.*magic/);
  });

  it('reads the dtype of v4 and v5', () => {
    expect(read({ model_type: 'llama', torch_dtype: 'bfloat16' }).dtype()).toBe('bf16');
    expect(read({ model_type: 'llama', dtype: 'float16', torch_dtype: 'float32' }).dtype()).toBe('f16');
    expect(read({ model_type: 'llama' }).dtype()).toBeUndefined();
    expect(() => read({ model_type: 'llama', dtype: 'int4' }).dtype()).toThrow(ConfigError);
  });

  it('CF-01 code named by a config is data', () => {
    const config = read({ model_type: 'phi3', auto_map: { AutoModel: 'evil.py--X' }, trust_remote_code: true });
    expect(config.int('hidden_size')).toBe(3072);
  });

  it('CF-02 lists every violated rule at once', () => {
    const bad = { model_type: 'llama', num_attention_heads: 0, vocab_size: 0, num_hidden_layers: -1 };
    refuses(bad, /num_attention_heads/, /vocab_size/, /num_hidden_layers/);
    refuses({ model_type: 'llama', hidden_size: 65, num_attention_heads: 4 }, /hidden_size: expected a multiple of/);
    for (const heads of [0, 3]) refuses({ model_type: 'llama', num_key_value_heads: heads }, /num_key_value_heads/);
    refuses({ model_type: 'llama', head_dim: 3 }, /even number of rotated dimensions/);
    refuses({ model_type: 'gpt2', n_embd: 50, n_head: 3 }, /n_embd/);
  });

  it('CF-03 integers in range', () => {
    for (const value of [1e9, 2 ** 53, '12', true, -1, 3.5, [], {}]) {
      refuses({ model_type: 'llama', num_hidden_layers: value }, /num_hidden_layers/);
    }
    refuses({ model_type: 'llama', hidden_size: 2 ** 31 }, /hidden_size/);
    refuses({ model_type: 'llama', hidden_size: null }, /hidden_size/);
    for (const text of ['1e400', 'NaN', 'Infinity', '-Infinity', '01', '+1', '.5', '1.']) {
      expect(() => parse(`{"a":${text}}`), text).toThrow(ConfigError);
    }
  });

  it('CF-04 numeric traps', () => {
    for (const theta of [0, -1]) refuses({ model_type: 'llama', rope_theta: theta }, /rope_theta/);
    refuses({ model_type: 'llama', rope_scaling: { type: 'linear', factor: 0 } }, /factor/);
    refuses({ model_type: 'llama', rope_scaling: { type: 'linear' } }, /factor/);
    refuses({ model_type: 'llama', rope_scaling: { rope_type: 'mystery', factor: 2 } }, /rope_type.*mystery/);
    refuses(
      { model_type: 'llama', rope_scaling: { rope_type: 'linear', factor: 2, mrope_section: [1] } },
      /mrope_section/,
    );
    refuses({ model_type: 'llama', rope_scaling: 'linear' }, /an object or null/);
    refuses({ model_type: 'llama', rms_norm_eps: 0 }, /rms_norm_eps/);
    refuses({ model_type: 'mistral', sliding_window: 0 }, /sliding_window/);
  });

  it('CF-05 special ids lie in the vocabulary', () => {
    refuses({ model_type: 'llama', vocab_size: 8, eos_token_id: [2, 8] }, /eos_token_id: expected ids from 0 to 7/);
    expect(read({ model_type: 'llama', vocab_size: 8, eos_token_id: [2, 7] }).tokenIds('eos_token_id')).toEqual([2, 7]);
    expect(read({ model_type: 'llama', pad_token_id: -1 }).tokenIds('pad_token_id')).toEqual([]);
    expect(read({ model_type: 'gpt2', vocab_size: 8 }).tokenIds('eos_token_id')).toEqual([]);
  });

  it('CF-06 size, depth and duplicates', async () => {
    temp.write('model.safetensors', safetensors('{}'));
    const open = (config: string) => {
      temp.write('config.json', config);
      return openCheckpoint(temp.path);
    };
    await expect(open(`{"a":"${'x'.repeat(1 << 20)}"}`)).rejects.toThrow(/file too large/);
    await expect(open(`{"a":${'['.repeat(200_000)}${']'.repeat(200_000)}}`)).rejects.toThrow(/nested deeper than 64/);
    await expect(open('{"a":1,"a":2}')).rejects.toThrow(/"a" occurs twice/);
    for (const text of [
      '',
      '[]',
      'null',
      '{"a":1}x',
      '{"a":1,}',
      '{a:1}',
      '{"a":"\\ud800"}',
      '{"a":"\n"}',
      '{"a":tru}',
    ]) {
      await expect(open(text), text).rejects.toThrow(VerdantError);
    }
    expect((await open('{"model_type":"llama","x":[1,{"y":null}]}')).config.x).toEqual([1, { y: null }]);
    expect((await openCheckpoint(join(temp.path, 'model.safetensors'))).kind).toBe('safetensors');
  });

  it('CF-07 no prototypes', () => {
    const config = parse('{"model_type":"llama","__proto__":{"hidden_size":1},"toString":1}');
    expect(Object.getPrototypeOf(config)).toBeNull();
    const reader = readConfig({ config, configFile: 'config.json' });
    expect(reader.int('hidden_size')).toBe(4096);
    expect(reader.raw('hasOwnProperty')).toBeUndefined();
    expect(reader.raw('valueOf')).toBeUndefined();
  });
});

describe('rotary embeddings', () => {
  const llama3 = { factor: 8, low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 8192 };

  it('reads v4 and v5 spellings alike', () => {
    const v4 = { model_type: 'llama', rope_theta: 5e5, rope_scaling: { rope_type: 'llama3', ...llama3 } };
    const v5 = { model_type: 'llama', rope_parameters: { rope_type: 'llama3', rope_theta: 5e5, ...llama3 } };
    const expected = {
      ...{ type: 'llama3', theta: 5e5, partialRotaryFactor: 1, factor: 8, lowFreqFactor: 1, highFreqFactor: 4 },
      originalMaxPositionEmbeddings: 8192,
    };
    expect(read(v4).rope()).toEqual(expected);
    expect(read(v5).rope()).toEqual(expected);
    const old = { model_type: 'llama', rope_scaling: { type: 'dynamic', factor: 2 } };
    const dynamic = { type: 'dynamic', theta: 10_000, partialRotaryFactor: 1, factor: 2, maxPositionEmbeddings: 2048 };
    expect(read(old).rope()).toEqual(dynamic);
    expect(read({ model_type: 'llama', rope_scaling: null }).rope().type).toBe('default');
  });

  it('reads gemma 3 per layer type', () => {
    const v4 = read({ model_type: 'gemma3_text', rope_theta: 1e6, rope_scaling: { rope_type: 'linear', factor: 8 } });
    const local = { rope_type: 'default', rope_theta: 1e4 };
    const parameters = {
      full_attention: { rope_type: 'linear', factor: 8, rope_theta: 1e6 },
      sliding_attention: local,
    };
    const v5 = read({ model_type: 'gemma3_text', rope_parameters: parameters });
    for (const config of [v4, v5]) {
      expect(config.rope('full_attention')).toEqual({ type: 'linear', theta: 1e6, factor: 8, partialRotaryFactor: 1 });
      expect(config.rope('sliding_attention')).toEqual({ type: 'default', theta: 1e4, partialRotaryFactor: 1 });
    }
    expect(read({ model_type: 'gemma3_text' }).rope('sliding_attention').theta).toBe(10_000);
    expect(read({ model_type: 'gemma3_text' }).rope('full_attention').theta).toBe(1_000_000);
    refuses({ model_type: 'gemma3_text', rope_parameters: local }, /one object per layer type/);
  });

  it('computes attention factors as transformers does', () => {
    const yarn = { rope_type: 'yarn', factor: 4, original_max_position_embeddings: 32_768 };
    const plain = read({ model_type: 'qwen2', rope_scaling: yarn }).rope();
    expect(plain).toMatchObject({ type: 'yarn', betaFast: 32, betaSlow: 1, truncate: true });
    expect(plain.type === 'yarn' && plain.attentionFactor).toBeCloseTo(1.1386294361119891, 14);
    const phi = { model_type: 'phi3', hidden_size: 8, num_attention_heads: 2, num_key_value_heads: 2 };
    const lengths = { max_position_embeddings: 131_072, original_max_position_embeddings: 4096 };
    const factors = { type: 'su', short_factor: [1, 1.5], long_factor: [2, 3] };
    const rope = read({ ...phi, ...lengths, rope_scaling: factors }).rope();
    expect(rope).toMatchObject({ type: 'longrope', longFactor: [2, 3], originalMaxPositionEmbeddings: 4096 });
    expect(rope.type === 'longrope' && rope.attentionFactor).toBeCloseTo(1.1902380714238083, 14);
    const half = { ...phi, hidden_size: 16, partial_rotary_factor: 0.5, rope_scaling: factors };
    expect(read(half).rope()).toMatchObject({ partialRotaryFactor: 0.5, shortFactor: [1, 1.5] });
    refuses({ ...phi, rope_scaling: { ...factors, long_factor: [1] } }, /long_factor.*2 numbers/);
  });
});

describe('generation_config.json', () => {
  const defaults = (generation: object | undefined, config: object = { model_type: 'llama', vocab_size: 16 }) => {
    const generationConfig = generation === undefined ? undefined : parse(JSON.stringify(generation));
    const parsed = parse(JSON.stringify(config));
    const files = { path: '', tensors: new Map(), absorbed: new Set<string>(), files: [], folder: undefined };
    const checkpoint = {
      kind: 'safetensors' as const,
      config: parsed,
      generationConfig,
      configFile: 'config.json',
      ...files,
    };
    return readGenerationConfig(checkpoint, readConfig(checkpoint));
  };

  it('reads typed fields and keeps the others', () => {
    const found = defaults({
      ...{ eos_token_id: [3, 4], pad_token_id: null, do_sample: true, temperature: 0.6, top_k: 20, top_p: 0.9 },
      ...{ repetition_penalty: 1.1, bad_words_ids: [[1, 2]], suppress_tokens: [5], guidance_scale: 2, use_cache: true },
    });
    expect(found).toMatchObject({
      eosTokenIds: [3, 4],
      bosTokenId: 1,
      padTokenId: undefined,
      doSample: true,
      topK: 20,
    });
    expect(found).toMatchObject({ temperature: 0.6, topP: 0.9, repetitionPenalty: 1.1, badWordsIds: [[1, 2]] });
    expect(found.suppressTokens).toEqual([5]);
    expect({ ...found.other }).toEqual({ guidance_scale: 2 });
  });

  it('falls back to config.json for special tokens', () => {
    expect(defaults(undefined).eosTokenIds).toEqual([2]);
    expect(defaults({ eos_token_id: null }).eosTokenIds).toEqual([]);
    expect(defaults({}, { model_type: 'qwen2', vocab_size: 16 }).eosTokenIds).toEqual([]);
  });

  it('CF-05 lists every bad field', () => {
    const bad = { eos_token_id: 16, temperature: -1, top_p: 2, top_k: 1.5, do_sample: 'yes', bad_words_ids: [[99]] };
    for (const field of Object.keys(bad)) expect(() => defaults(bad), field).toThrow(field);
    expect(() => defaults(bad)).toThrow(ConfigError);
  });
});
