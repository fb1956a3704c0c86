import { describe, expect, it } from 'vitest';
import { buildSeq2Seq } from '../../lib/engine/build.js';
import {
  ConfigError,
  TensorMissingError,
  TensorShapeError,
  TensorUnusedError,
  UnsupportedError,
} from '../../lib/errors.js';
import type { WeightSource } from '../../lib/layers/weights.js';
import { architectures, findArchitecture } from '../../lib/models/index.js';
import { openCheckpoint } from '../../lib/weights/checkpoint.js';
import { readConfig } from '../../lib/weights/config.js';
import { checkpointSource } from '../../lib/weights/source.js';
import type { RawConfig } from '../../lib/weights/types.js';
import { fixture, fixtures } from '../support/fixtures.js';
import { build } from '../support/forward.js';

/** What `run` throws; fails where it throws nothing. */
function thrown(run: () => unknown): unknown {
  try {
    run();
  } catch (error) {
    return error;
  }
  throw new Error('nothing was thrown');
}

function without(source: WeightSource, lost: string): WeightSource {
  const names = [...source.names].filter((n) => n !== lost);
  return { ...source, names, find: (name) => (name === lost ? undefined : source.find(name)) };
}

function reshaped(source: WeightSource, target: string): WeightSource {
  return {
    ...source,
    find(name) {
      const tensor = source.find(name);
      if (tensor === undefined || name !== target) return tensor;
      return { ...tensor, shape: [...(tensor.shape ?? []).slice(0, -1), (tensor.shape ?? []).at(-1)! + 1] };
    },
  };
}

describe('checkpoints that do not fit', () => {
  for (const { name, folder, case: c } of fixtures('models')) {
    it(`${name}: a missing or misshapen tensor is named, whichever it is`, async () => {
      const checkpoint = await openCheckpoint(folder);
      const source = checkpointSource(checkpoint);
      for (const tensor of c.tensors) {
        // A tied table is missed under its usual name.
        const missed =
          tensor === 'lm_head.weight' && checkpoint.config.tie_word_embeddings ? 'model.embed_tokens.weight' : tensor;
        const missing = thrown(() => build(checkpoint, { source: without(source, tensor) })) as TensorMissingError;
        expect(missing).toBeInstanceOf(TensorMissingError);
        expect(missing.facts).toMatchObject({ file: folder, tensor: missed });
        const shape = thrown(() => build(checkpoint, { source: reshaped(source, tensor) })) as TensorShapeError;
        expect(shape).toBeInstanceOf(TensorShapeError);
        expect(shape.facts.tensor).toBe(tensor);
        expect(shape.message).toMatch(/expected \[\d+(, \d+)?\]; found \[\d+(, \d+)?\]/);
      }
    });

    it(`${name}: a tensor that the model does not use is named`, async () => {
      const checkpoint = await openCheckpoint(folder);
      const source = checkpointSource(checkpoint);
      const names = [...source.names, 'model.layers.0.self_attn.sinks'];
      const unused = thrown(() => build(checkpoint, { source: { ...source, names } })) as TensorUnusedError;
      expect(unused).toBeInstanceOf(TensorUnusedError);
      expect(unused.message).toContain('1 tensors are not part of this architecture: model.layers.0.self_attn.sinks');
    });
  }

  it('types that cannot be computed with are refused by tensor', async () => {
    const checkpoint = await openCheckpoint(fixture('models', 'qwen3').folder);
    const source = checkpointSource(checkpoint);
    const odd: WeightSource = {
      ...source,
      find(name) {
        const tensor = source.find(name);
        return tensor !== undefined && name === 'model.norm.weight' ? { ...tensor, dtype: 'i64' } : tensor;
      },
    };
    const error = thrown(() => build(checkpoint, { source: odd })) as UnsupportedError;
    expect(error).toBeInstanceOf(UnsupportedError);
    expect(error.facts.tensor).toBe('model.norm.weight');
    expect(error.message).toContain('i64');
  });
});

describe('configs that ask for something else', () => {
  const cases: [name: string, patch: RawConfig, found: RegExp][] = [
    ['gemma', { use_bidirectional_attention: true }, /use_bidirectional_attention.*false/],
    ['gemma3_text', { use_bidirectional_attention: true }, /use_bidirectional_attention.*false/],
    ['gemma2', { sliding_window: null }, /sliding_window: expected an integer.*null/],
    ['gemma2', { query_pre_attn_scalar: 0 }, /query_pre_attn_scalar: expected a number above 0/],
    ['qwen2_window', { layer_types: ['full_attention'] }, /layer_types: expected 3 times/],
    ['llama', { hidden_act: 'snake' }, /hidden_act: expected silu.*snake/],
    ['phi3_longrope', { partial_rotary_factor: 0.6 }, /short_factor: expected a list of 3 numbers/],
    ['mixtral', { num_experts_per_tok: 6 }, /num_experts_per_tok: expected an integer from 1 to 5, found 6/],
    ['mixtral', { num_local_experts: 0 }, /num_local_experts: expected an integer from 1/],
    ['qwen3_moe', { decoder_sparse_step: 0 }, /decoder_sparse_step: expected an integer from 1/],
    ['qwen3_moe', { mlp_only_layers: 'all' }, /mlp_only_layers: expected a list/],
    ['mistral', { num_key_value_heads: 3 }, /num_key_value_heads: expected a divisor/],
    ['gptj', { rotary_dim: 7 }, /rotary_dim: expected an even number, found 7/],
    ['gptj', { rotary_dim: 16 }, /rotary_dim: expected an integer from 2 to 14, found 16/],
    ['gptj', { rotary_dim: null }, /rotary_dim: expected an integer/],
    ['gpt_neo', { attention_types: [[['global'], 2]] }, /attention_types: expected lists like.*num_layers/],
    ['gpt_neo', { attention_types: [[['global', 'dense', 'local'], 1]] }, /attention_types: expected lists like/],
    ['gpt_neo', { attention_types: [[[], 1e9]] }, /attention_types: expected lists like/],
    ['gpt_neo', { attention_layers: ['local', 'global', 'local'] }, /attention_layers: expected the layers of/],
    ['gpt_neox', { rotary_pct: 0.3 }, /even number of rotated dimensions/],
  ];
  for (const [name, patch, found] of cases) {
    it(`${name} with ${JSON.stringify(patch)}`, async () => {
      const checkpoint = await openCheckpoint(fixture('models', name).folder);
      const error = thrown(() => build(checkpoint, { config: { ...checkpoint.config, ...patch } })) as ConfigError;
      expect(error).toBeInstanceOf(ConfigError);
      expect(error.message).toMatch(found);
    });
  }

  it('an unknown class is refused with the known ones and the nearest', () => {
    const error = thrown(() => findArchitecture('MambaForCausalLM', 'mamba', 'config.json')) as UnsupportedError;
    expect(error).toBeInstanceOf(UnsupportedError);
    expect(error.message).toMatch(
      /found MambaForCausalLM\. Nearest: .*Supported: .*LlamaForCausalLM.*Gemma3ForCausalLM/,
    );
    for (const name of architectures.flatMap((a) => a.classes)) expect(error.message).toContain(name);
    const near = (name: string | undefined, type: string): string =>
      (thrown(() => findArchitecture(name, type, 'config.json')) as UnsupportedError).facts.hint!;
    expect(near('LamaForCausalLM', 'llama')).toMatch(/^Nearest: LlamaForCausalLM, /);
    expect(near(undefined, 'whispr')).toMatch(/^Nearest: whisper, /);
  });

  it('a T5 whose distances cannot be', async () => {
    const checkpoint = await openCheckpoint(fixture('seq2seq', 't5').folder);
    for (const far of [0, -1, 2 ** 31, 1e308, Number(checkpoint.config.relative_attention_num_buckets) / 2]) {
      const config = { ...checkpoint.config, relative_attention_max_distance: far };
      const reader = readConfig({ config, configFile: 'config.json' });
      const architecture = findArchitecture(reader.architectures[0], reader.modelType, 'config.json');
      if (architecture.kind !== 'seq2seq') throw new Error('T5 is an encoder-decoder');
      const error = thrown(() => buildSeq2Seq(architecture, reader, checkpointSource(checkpoint))) as ConfigError;
      expect(error).toBeInstanceOf(ConfigError);
      expect(error.message).toMatch(/relative_attention_max_distance/);
    }
  });

  it('a file that says llama but holds Phi-3 is refused by tensor', async () => {
    const checkpoint = await openCheckpoint(fixture('models', 'phi3').folder);
    const config = { ...checkpoint.config, model_type: 'llama', architectures: ['LlamaForCausalLM'] };
    const error = thrown(() => build(checkpoint, { config })) as TensorMissingError;
    expect(error.facts.tensor).toBe('model.layers.0.self_attn.q_proj.weight');
  });
});
