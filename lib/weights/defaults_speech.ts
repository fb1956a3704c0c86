/** Defaults of the Config classes of encoders of waveforms; see defaults.ts. */
import type { RawConfig } from './types.js';

const kWav2Vec2 = {
  vocab_size: 32,
  hidden_size: 768,
  num_hidden_layers: 12,
  num_attention_heads: 12,
  intermediate_size: 3072,
  hidden_act: 'gelu',
  layer_norm_eps: 1e-5,
  feat_extract_norm: 'group',
  feat_extract_activation: 'gelu',
  conv_dim: [512, 512, 512, 512, 512, 512, 512],
  conv_stride: [5, 2, 2, 2, 2, 2, 2],
  conv_kernel: [10, 3, 3, 3, 3, 2, 2],
  conv_bias: false,
  num_conv_pos_embeddings: 128,
  num_conv_pos_embedding_groups: 16,
  do_stable_layer_norm: false,
  tie_word_embeddings: true,
  pad_token_id: 0,
  bos_token_id: 1,
  eos_token_id: 2,
} as const;

export const speechDefaults: Readonly<Record<string, RawConfig>> = {
  wav2vec2: { ...kWav2Vec2, add_adapter: false, adapter_attn_dim: null },
  hubert: { ...kWav2Vec2, feat_proj_layer_norm: true, conv_pos_batch_norm: false },
};
