/**
 * What a field of config.json is when it is absent, per model type: the defaults of the Config classes of Hugging Face
 * transformers (5.18; 4.x has the same). Derived ones are computed: key/value heads, head size, layer types.
 * `null` means "not used", as in the classes.
 */
import { decoderAliases, decoderDefaults } from './defaults_decoders.js';
import { encoderAliases, encoderDefaults } from './defaults_encoders.js';
import { gptAliases, gptDefaults } from './defaults_gpt.js';
import { seq2seqAliases, seq2seqDefaults } from './defaults_seq2seq.js';
import { speechDefaults } from './defaults_speech.js';
import type { RawConfig, RawValue } from './types.js';

const kCommon = {
  rope_theta: 10_000,
  tie_word_embeddings: false,
  hidden_act: 'silu',
  rms_norm_eps: 1e-6,
  attention_bias: false,
  num_key_value_heads: null,
  head_dim: null,
  pad_token_id: null,
  bos_token_id: 1,
  eos_token_id: 2,
  initializer_range: 0.02,
} as const;

const kQwen = {
  ...kCommon,
  vocab_size: 151_936,
  hidden_size: 4096,
  intermediate_size: 22_016,
  num_hidden_layers: 32,
  num_attention_heads: 32,
  num_key_value_heads: 32,
  max_position_embeddings: 32_768,
  use_sliding_window: false,
  sliding_window: 4096,
  max_window_layers: 28,
  layer_types: null,
  bos_token_id: null,
  eos_token_id: null,
} as const;

const kGemma = {
  ...kCommon,
  head_dim: 256,
  tie_word_embeddings: true,
  pad_token_id: 0,
  eos_token_id: 1,
  bos_token_id: 2,
  use_bidirectional_attention: null,
} as const;

const kGemma2 = {
  ...kGemma,
  vocab_size: 256_000,
  hidden_size: 2304,
  intermediate_size: 9216,
  num_hidden_layers: 26,
  num_attention_heads: 8,
  num_key_value_heads: 4,
  hidden_activation: 'gelu_pytorch_tanh',
  max_position_embeddings: 8192,
  query_pre_attn_scalar: 256,
  sliding_window: 4096,
  layer_types: null,
  attn_logit_softcapping: 50,
  final_logit_softcapping: 30,
} as const;

export const configDefaults: Readonly<Record<string, RawConfig>> = Object.assign(Object.create(null), {
  gpt2: {
    vocab_size: 50_257,
    n_positions: 1024,
    n_embd: 768,
    n_layer: 12,
    n_head: 12,
    n_inner: null,
    activation_function: 'gelu_new',
    layer_norm_epsilon: 1e-5,
    initializer_range: 0.02,
    scale_attn_weights: true,
    scale_attn_by_inverse_layer_idx: false,
    reorder_and_upcast_attn: false,
    add_cross_attention: false,
    tie_word_embeddings: true,
    pad_token_id: null,
    bos_token_id: 50_256,
    eos_token_id: 50_256,
  },
  llama: {
    ...kCommon,
    vocab_size: 32_000,
    hidden_size: 4096,
    intermediate_size: 11_008,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    max_position_embeddings: 2048,
    mlp_bias: false,
    pretraining_tp: 1,
  },
  mistral: {
    ...kCommon,
    vocab_size: 32_000,
    hidden_size: 4096,
    intermediate_size: 14_336,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    num_key_value_heads: 8,
    max_position_embeddings: 131_072,
    sliding_window: 4096,
  },
  mixtral: {
    ...kCommon,
    vocab_size: 32_000,
    hidden_size: 4096,
    intermediate_size: 14_336,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    num_key_value_heads: 8,
    max_position_embeddings: 131_072,
    rms_norm_eps: 1e-5,
    rope_theta: 1_000_000,
    sliding_window: null,
    num_experts_per_tok: 2,
    num_local_experts: 8,
  },
  // Qwen2's attention always has q/k/v biases and none on the output; its head size is hidden_size / heads.
  qwen2: kQwen,
  qwen3: { ...kQwen, head_dim: 128 },
  qwen3_moe: {
    ...kCommon,
    vocab_size: 151_936,
    hidden_size: 2048,
    intermediate_size: 6144,
    num_hidden_layers: 24,
    num_attention_heads: 32,
    num_key_value_heads: 4,
    max_position_embeddings: 32_768,
    use_sliding_window: false,
    sliding_window: 4096,
    decoder_sparse_step: 1,
    moe_intermediate_size: 768,
    num_experts_per_tok: 8,
    num_experts: 128,
    norm_topk_prob: false,
    mlp_only_layers: [],
    bos_token_id: null,
    eos_token_id: null,
  },
  phi3: {
    ...kCommon,
    vocab_size: 32_064,
    hidden_size: 3072,
    intermediate_size: 8192,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    rms_norm_eps: 1e-5,
    max_position_embeddings: 4096,
    original_max_position_embeddings: 4096,
    partial_rotary_factor: 1,
    sliding_window: null,
    pad_token_id: 32_000,
    eos_token_id: 32_000,
  },
  // Gemma's files say hidden_act "gelu" beside hidden_activation null: see ConfigReader.activation.
  gemma: {
    ...kGemma,
    vocab_size: 256_000,
    hidden_size: 3072,
    intermediate_size: 24_576,
    num_hidden_layers: 28,
    num_attention_heads: 16,
    num_key_value_heads: 16,
    hidden_act: 'gelu_pytorch_tanh',
    max_position_embeddings: 8192,
  },
  gemma2: kGemma2,
  // rope_theta is of the full-attention layers, rope_local_base_freq of the sliding ones.
  gemma3_text: {
    ...kGemma2,
    vocab_size: 262_208,
    max_position_embeddings: 131_072,
    attn_logit_softcapping: null,
    final_logit_softcapping: null,
    use_bidirectional_attention: false,
    sliding_window_pattern: 6,
    rope_theta: 1_000_000,
    rope_local_base_freq: 10_000,
  },
  ...encoderDefaults,
  ...gptDefaults,
  ...seq2seqDefaults,
  ...decoderDefaults,
  ...speechDefaults,
});

type Aliases = readonly (readonly [string, string])[];

const kGpt2Aliases: Aliases = [
  ['hidden_size', 'n_embd'],
  ['max_position_embeddings', 'n_positions'],
  ['num_attention_heads', 'n_head'],
  ['num_hidden_layers', 'n_layer'],
];

/** Both ways. */
const pairs = (list: Aliases): ReadonlyMap<string, string> =>
  new Map(
    list.flatMap(([a, b]): [string, string][] => [
      [a, b],
      [b, a],
    ]),
  );

const kExpertAliases: Aliases = [['num_experts', 'num_local_experts']];

/** Second spellings that the classes accept (`attribute_map`), both ways. */
export const configAliases: Readonly<Record<string, ReadonlyMap<string, string>>> = Object.assign(Object.create(null), {
  gpt2: pairs(kGpt2Aliases),
  mixtral: pairs(kExpertAliases),
  qwen3_moe: pairs(kExpertAliases),
  ...Object.fromEntries(
    Object.entries({ ...encoderAliases, ...gptAliases, ...decoderAliases, ...seq2seqAliases }).map(([type, list]) => [
      type,
      pairs(list),
    ]),
  ),
});

/** The field for the epsilon of layer norms, where a model type has those instead of RMS norms. */
export const layerNormFields: Readonly<Record<string, string>> = Object.assign(Object.create(null), {
  gpt2: 'layer_norm_epsilon',
  gpt_neox: 'layer_norm_eps',
  phi: 'layer_norm_eps',
  stablelm: 'layer_norm_eps',
  starcoder2: 'norm_epsilon',
});

/** Reads a field of the config with plain defaults applied; undefined where neither has it. */
export type Look = (field: string) => RawValue | undefined;

/** Fields that a class computes from others when they are absent or null. */
export function derivedDefault(modelType: string, field: string, look: Look): RawValue | undefined {
  const heads = look('num_attention_heads');
  if (field === 'num_key_value_heads') return heads;
  if (field === 'num_decoder_layers') return look('num_layers');
  if (field === 'decoder_vocab_size') return look('vocab_size');
  if (field === 'head_dim') {
    const hidden = look('hidden_size');
    return typeof hidden === 'number' && typeof heads === 'number' ? hidden / heads : undefined;
  }
  if (field === 'n_inner') {
    const width = look('n_embd');
    return typeof width === 'number' ? 4 * width : undefined;
  }
  if (field === 'intermediate_size' && modelType === 'gpt_neo') {
    const width = look('hidden_size');
    return typeof width === 'number' ? 4 * width : undefined;
  }
  if (field === 'word_embed_proj_dim') return look('hidden_size');
  if (field === 'no_rope_layers') return ropeLayers(look);
  return field === 'layer_types' ? layerTypes(modelType, look) : undefined;
}

/** SmolLM3: 1 where a layer rotates q and k, 0 in every no_rope_layer_interval-th. */
function ropeLayers(look: Look): readonly number[] | undefined {
  const [layers, interval] = [look('num_hidden_layers'), look('no_rope_layer_interval')];
  if (!Number.isInteger(layers) || !Number.isInteger(interval) || (layers as number) > 1024) return undefined;
  return Array.from({ length: Math.max(0, layers as number) }, (_, i) =>
    (i + 1) % (interval as number) === 0 ? 0 : 1,
  );
}

function layerTypes(modelType: string, look: Look): readonly string[] | undefined {
  const layers = look('num_hidden_layers');
  if (typeof layers !== 'number' || !Number.isInteger(layers) || layers < 0 || layers > 1024) return undefined;
  const make = (sliding: (layer: number) => boolean): string[] =>
    Array.from({ length: layers }, (_, layer) => (sliding(layer) ? 'sliding_attention' : 'full_attention'));
  if (modelType === 'gemma2') return make((layer) => (layer + 1) % 2 !== 0);
  if (modelType === 'gemma3_text') {
    const pattern = look('sliding_window_pattern');
    return typeof pattern === 'number' ? make((layer) => (layer + 1) % pattern !== 0) : undefined;
  }
  if (modelType === 'modernbert') {
    const every = look('global_attn_every_n_layers');
    return typeof every === 'number' ? make((layer) => layer % every !== 0) : undefined;
  }
  if (modelType === 'qwen2' || modelType === 'qwen3') {
    const from = look('max_window_layers');
    const on = look('use_sliding_window') === true && look('sliding_window') !== null;
    return typeof from === 'number' ? make((layer) => on && layer >= from) : undefined;
  }
  const window = look('sliding_window');
  if (modelType === 'smollm3') {
    const rotates = look('no_rope_layers') ?? ropeLayers(look);
    const on = look('use_sliding_window') === true && typeof window === 'number';
    return Array.isArray(rotates) ? make((layer) => on && !rotates[layer]) : undefined;
  }
  return make(() => typeof window === 'number');
}
