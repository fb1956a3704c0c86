import type { RawConfig } from '../../lib/weights/types.js';
import { checkSameAnswer } from './same_answer.js';

/** Sizes that are no multiples of a tile: hidden 132 = 6 heads of 22, of which 10 or fewer turn. */
const common: RawConfig = {
  vocab_size: 263,
  hidden_size: 132,
  intermediate_size: 260,
  num_hidden_layers: 2,
  num_attention_heads: 6,
  max_position_embeddings: 1024,
  bos_token_id: null,
  eos_token_id: null,
  pad_token_id: null,
};
const of = (model_type: string, name: string, more: RawConfig): RawConfig => ({
  ...common,
  model_type,
  architectures: [name],
  ...more,
});

checkSameAnswer([
  {
    name: 'gpt-neox, fused head by head, bf16',
    config: of('gpt_neox', 'GPTNeoXForCausalLM', { rotary_pct: 10 / 22 }),
    dtype: 'bf16',
  },
  { name: 'gpt-j, pairs turned, f32', config: of('gptj', 'GPTJForCausalLM', { rotary_dim: 10 }), dtype: 'f32' },
  {
    name: 'gpt-neo, a layer with a window of 40 keys, f32',
    config: of('gpt_neo', 'GPTNeoForCausalLM', { attention_types: [[['global', 'local'], 1]], window_size: 40 }),
    dtype: 'f32',
  },
  {
    name: 'stablelm, a norm for each head, f16',
    config: of('stablelm', 'StableLmForCausalLM', {
      num_key_value_heads: 2,
      partial_rotary_factor: 10 / 22,
      qk_layernorm: true,
      use_parallel_residual: true,
    }),
    dtype: 'f16',
  },
]);
