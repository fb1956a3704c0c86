/** Defaults of the encoder-decoders' Config classes; see defaults.ts. */
import type { RawConfig } from './types.js';

const kT5 = {
  vocab_size: 32_128,
  d_model: 512,
  d_kv: 64,
  d_ff: 2048,
  num_layers: 6,
  num_decoder_layers: null,
  num_heads: 8,
  relative_attention_num_buckets: 32,
  relative_attention_max_distance: 128,
  layer_norm_epsilon: 1e-6,
  feed_forward_proj: 'relu',
  tie_word_embeddings: true,
  is_encoder_decoder: true,
  pad_token_id: 0,
  eos_token_id: 1,
  bos_token_id: null,
} as const;

const kBart = {
  max_position_embeddings: 1024,
  encoder_layers: 12,
  encoder_ffn_dim: 4096,
  encoder_attention_heads: 16,
  decoder_layers: 12,
  decoder_ffn_dim: 4096,
  decoder_attention_heads: 16,
  activation_function: 'gelu',
  d_model: 1024,
  scale_embedding: false,
  tie_word_embeddings: true,
  is_encoder_decoder: true,
  pad_token_id: 1,
  bos_token_id: 0,
  eos_token_id: 2,
} as const;

export const seq2seqDefaults: Readonly<Record<string, RawConfig>> = {
  t5: kT5,
  mt5: {
    ...kT5,
    vocab_size: 250_112,
    d_ff: 1024,
    num_layers: 8,
    num_heads: 6,
    feed_forward_proj: 'gated-gelu',
    tie_word_embeddings: false,
  },
  bart: { ...kBart, vocab_size: 50_265, decoder_start_token_id: 2, forced_eos_token_id: 2 },
  mbart: { ...kBart, vocab_size: 50_265, forced_eos_token_id: 2 },
  marian: {
    ...kBart,
    vocab_size: 58_101,
    decoder_vocab_size: null,
    decoder_start_token_id: 58_100,
    share_encoder_decoder_embeddings: true,
    forced_eos_token_id: 0,
    pad_token_id: 58_100,
    bos_token_id: null,
    eos_token_id: 0,
  },
  m2m_100: {
    ...kBart,
    vocab_size: 128_112,
    activation_function: 'relu',
    scale_embedding: true,
    decoder_start_token_id: 2,
  },
  pegasus: {
    ...kBart,
    vocab_size: 50_265,
    decoder_start_token_id: 0,
    forced_eos_token_id: 1,
    pad_token_id: 0,
    bos_token_id: null,
    eos_token_id: 1,
  },
};

const kBartAliases = [
  ['hidden_size', 'd_model'],
  ['num_attention_heads', 'encoder_attention_heads'],
  ['num_hidden_layers', 'encoder_layers'],
] as const;

/** Second spellings of fields (`attribute_map`). */
export const seq2seqAliases: Readonly<Record<string, readonly (readonly [string, string])[]>> = {
  t5: [
    ['hidden_size', 'd_model'],
    ['num_attention_heads', 'num_heads'],
    ['num_hidden_layers', 'num_layers'],
    ['head_dim', 'd_kv'],
  ],
  mt5: [
    ['hidden_size', 'd_model'],
    ['num_attention_heads', 'num_heads'],
    ['num_hidden_layers', 'num_layers'],
    ['head_dim', 'd_kv'],
  ],
  bart: kBartAliases,
  mbart: kBartAliases,
  marian: kBartAliases,
  pegasus: kBartAliases,
  m2m_100: kBartAliases,
};
