/** Configs of published models, for models of their real shape with random weights. */
import { OptionError } from '../errors.js';
import type { RawConfig } from '../weights/types.js';
import { familyNames } from './family_shapes.js';

const llama = { architectures: ['LlamaForCausalLM'], model_type: 'llama', rms_norm_eps: 1e-5, hidden_act: 'silu' };
const llama3 = { ...llama, vocab_size: 128_256, max_position_embeddings: 131_072, rope_theta: 500_000 };
const qwen2 = {
  architectures: ['Qwen2ForCausalLM'],
  model_type: 'qwen2',
  rms_norm_eps: 1e-6,
  hidden_act: 'silu',
  max_position_embeddings: 32_768,
  rope_theta: 1_000_000,
};

const table = {
  gpt2: { architectures: ['GPT2LMHeadModel'], model_type: 'gpt2' },
  'smollm2-135m': {
    ...llama,
    hidden_size: 576,
    intermediate_size: 1536,
    num_hidden_layers: 30,
    num_attention_heads: 9,
    num_key_value_heads: 3,
    vocab_size: 49_152,
    max_position_embeddings: 8192,
    rope_theta: 100_000,
    tie_word_embeddings: true,
  },
  'qwen2.5-0.5b': {
    ...qwen2,
    hidden_size: 896,
    intermediate_size: 4864,
    num_hidden_layers: 24,
    num_attention_heads: 14,
    num_key_value_heads: 2,
    vocab_size: 151_936,
    tie_word_embeddings: true,
  },
  'qwen2.5-1.5b': {
    ...qwen2,
    hidden_size: 1536,
    intermediate_size: 8960,
    num_hidden_layers: 28,
    num_attention_heads: 12,
    num_key_value_heads: 2,
    vocab_size: 151_936,
    tie_word_embeddings: true,
  },
  'llama-3.2-1b': {
    ...llama3,
    hidden_size: 2048,
    intermediate_size: 8192,
    num_hidden_layers: 16,
    num_attention_heads: 32,
    num_key_value_heads: 8,
    head_dim: 64,
    tie_word_embeddings: true,
  },
  'llama-3.2-3b': {
    ...llama3,
    hidden_size: 3072,
    intermediate_size: 8192,
    num_hidden_layers: 28,
    num_attention_heads: 24,
    num_key_value_heads: 8,
    head_dim: 128,
    tie_word_embeddings: true,
  },
  'llama-3.1-8b': {
    ...llama3,
    hidden_size: 4096,
    intermediate_size: 14_336,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    num_key_value_heads: 8,
    tie_word_embeddings: false,
  },
} as const satisfies Readonly<Record<string, RawConfig>>;

export type ShapeName = keyof typeof table;

export const shapeNames: readonly ShapeName[] = Object.keys(table) as ShapeName[];

/** The config of a shape. Throws an OptionError that lists the names. */
export function shapeConfig(name: string): RawConfig {
  if (Object.hasOwn(table, name)) return table[name as ShapeName];
  const expected = [...shapeNames, ...familyNames].join(', ');
  throw new OptionError(`no shape ${name}`, { name: 'shape', expected, found: name });
}
