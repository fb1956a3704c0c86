/** Defaults of the encoders' Config classes; see defaults.ts. */
import type { RawConfig } from './types.js';

const kBert = {
  vocab_size: 30_522,
  hidden_size: 768,
  num_hidden_layers: 12,
  num_attention_heads: 12,
  intermediate_size: 3072,
  hidden_act: 'gelu',
  max_position_embeddings: 512,
  type_vocab_size: 2,
  layer_norm_eps: 1e-12,
  position_embedding_type: 'absolute',
  is_decoder: false,
  add_cross_attention: false,
  tie_word_embeddings: true,
  pad_token_id: 0,
  bos_token_id: null,
  eos_token_id: null,
} as const;

const kRoberta = { ...kBert, pad_token_id: 1, bos_token_id: 0, eos_token_id: 2 } as const;

export const encoderDefaults: Readonly<Record<string, RawConfig>> = {
  bert: kBert,
  roberta: { ...kRoberta, vocab_size: 50_265 },
  'xlm-roberta': kRoberta,
  electra: { ...kBert, embedding_size: 128, hidden_size: 256, num_attention_heads: 4, intermediate_size: 1024 },
  mpnet: { ...kRoberta, vocab_size: 30_527, relative_attention_num_buckets: 32 },
  distilbert: {
    vocab_size: 30_522,
    max_position_embeddings: 512,
    sinusoidal_pos_embds: false,
    n_layers: 6,
    n_heads: 12,
    dim: 768,
    hidden_dim: 3072,
    activation: 'gelu',
    tie_word_embeddings: true,
    pad_token_id: 0,
    bos_token_id: null,
    eos_token_id: null,
  },
  modernbert: {
    vocab_size: 50_368,
    hidden_size: 768,
    intermediate_size: 1152,
    num_hidden_layers: 22,
    num_attention_heads: 12,
    hidden_activation: 'gelu',
    max_position_embeddings: 8192,
    norm_eps: 1e-5,
    norm_bias: false,
    attention_bias: false,
    mlp_bias: false,
    decoder_bias: true,
    classifier_pooling: 'cls',
    classifier_bias: false,
    classifier_activation: 'gelu',
    layer_types: null,
    global_attn_every_n_layers: 3,
    global_rope_theta: 160_000,
    local_rope_theta: 10_000,
    local_attention: 128,
    tie_word_embeddings: true,
    pad_token_id: 50_283,
    bos_token_id: 50_281,
    eos_token_id: 50_282,
  },
};

/** Second spellings of fields (`attribute_map`). */
export const encoderAliases: Readonly<Record<string, readonly (readonly [string, string])[]>> = {
  distilbert: [
    ['hidden_size', 'dim'],
    ['num_attention_heads', 'n_heads'],
    ['num_hidden_layers', 'n_layers'],
  ],
};
