/**
 * Config in Hugging Face's spelling → GGUF metadata: the inverse of gguf_config.ts. Key names: llama.cpp's llama-arch.cpp.
 * What GGUF cannot say is refused by name; what it says and llama.cpp is known not to heed is a note.
 */
import { UnsupportedError } from '../errors.js';
import type { ConfigReader } from './config.js';
import { layerNormFields } from './defaults.js';
import type { GgufValue } from './gguf_types.js';
import type { RopeConfig } from './rope_config.js';

export interface GgufDescription {
  readonly metadata: Map<string, GgufValue>;
  /** Rotary factors, which GGUF holds as tensors: dims / 2 divisors each. */
  readonly factors: ReadonlyMap<string, Float32Array>;
  /** What a reader of the file should know. */
  readonly notes: readonly string[];
}

/** Activation that the architecture's name implies, and GGUF's name of the model types that differ. */
const kFamilies: Readonly<Record<string, { readonly arch: string; readonly activation: readonly string[] }>> = {
  gpt2: { arch: 'gpt2', activation: ['gelu_tanh'] },
  llama: { arch: 'llama', activation: ['silu'] },
  mistral: { arch: 'llama', activation: ['silu'] },
  mixtral: { arch: 'llama', activation: ['silu'] },
  qwen2: { arch: 'qwen2', activation: ['silu'] },
  qwen3: { arch: 'qwen3', activation: ['silu'] },
  qwen3_moe: { arch: 'qwen3moe', activation: ['silu'] },
  phi3: { arch: 'phi3', activation: ['silu'] },
  // Its files say "gelu" and mean the tanh form.
  gemma: { arch: 'gemma', activation: ['gelu', 'gelu_tanh'] },
  gemma2: { arch: 'gemma2', activation: ['gelu_tanh'] },
  gemma3_text: { arch: 'gemma3', activation: ['gelu_tanh'] },
  gpt_neox: { arch: 'gptneox', activation: ['gelu'] },
  phi: { arch: 'phi2', activation: ['gelu_tanh'] },
  stablelm: { arch: 'stablelm', activation: ['silu'] },
  starcoder2: { arch: 'starcoder2', activation: ['gelu_tanh'] },
  olmo2: { arch: 'olmo2', activation: ['silu'] },
  granite: { arch: 'granite', activation: ['silu'] },
  smollm3: { arch: 'smollm3', activation: ['silu'] },
};

/** Describes a checkpoint's config. Throws UnsupportedError for what the format has no place for. */
export function describeForGguf(config: ConfigReader): GgufDescription {
  return new Describer(config).describe();
}

class Describer {
  readonly #config: ConfigReader;
  readonly #arch: string;
  readonly #metadata = new Map<string, GgufValue>();
  readonly #factors = new Map<string, Float32Array>();
  readonly #notes: string[] = [];

  constructor(config: ConfigReader) {
    this.#config = config;
    const family = Object.hasOwn(kFamilies, config.modelType) ? kFamilies[config.modelType] : undefined;
    if (family === undefined) {
      const facts = { file: config.file, expected: Object.keys(kFamilies).join(', '), found: config.modelType };
      throw new UnsupportedError('no GGUF form of the model type', { name: 'model_type', ...facts });
    }
    this.#arch = family.arch;
    const field = config.modelType === 'gpt2' ? 'activation_function' : undefined;
    const activation = config.activation(field);
    if (!family.activation.includes(activation))
      this.#refuse(field ?? 'hidden_act', family.activation.at(-1), activation);
  }

  #refuse(name: string, expected: unknown, found: unknown): never {
    const message = `GGUF's ${this.#arch} architecture has no place for this ${name}`;
    throw new UnsupportedError(message, { file: this.#config.file, name, expected, found });
  }

  #u32(key: string, value: number): void {
    this.#metadata.set(`${this.#arch}.${key}`, { type: 'uint32', value });
  }

  #f32(key: string, value: number): void {
    this.#metadata.set(`${this.#arch}.${key}`, { type: 'float32', value });
  }

  describe(): GgufDescription {
    const c = this.#config;
    const gpt2 = c.modelType === 'gpt2';
    const [hidden, heads] = [c.int('hidden_size'), c.int('num_attention_heads')];
    this.#metadata.set('general.architecture', { type: 'string', value: this.#arch });
    this.#u32('vocab_size', c.int('vocab_size'));
    this.#u32('context_length', c.int('max_position_embeddings'));
    this.#u32('embedding_length', hidden);
    this.#u32('block_count', c.int('num_hidden_layers'));
    this.#u32('feed_forward_length', gpt2 ? (c.optionalInt('n_inner') ?? 4 * hidden) : c.int('intermediate_size'));
    this.#u32('attention.head_count', heads);
    const epsilon = layerNormFields[c.modelType];
    if (epsilon !== undefined) this.#f32('attention.layer_norm_epsilon', c.num(epsilon));
    else this.#f32('attention.layer_norm_rms_epsilon', c.num('rms_norm_eps'));
    if (gpt2) {
      if (!c.bool('scale_attn_weights')) this.#refuse('scale_attn_weights', true, false);
      if (c.bool('scale_attn_by_inverse_layer_idx')) this.#refuse('scale_attn_by_inverse_layer_idx', false, true);
    } else {
      this.#u32('attention.head_count_kv', c.int('num_key_value_heads'));
      this.#u32('attention.key_length', c.headDim());
      this.#u32('attention.value_length', c.headDim());
      this.#biases();
      this.#variants();
      this.#windows();
      if (c.modelType === 'granite') this.#scales();
      if (c.modelType === 'smollm3') this.#rotations();
      this.#experts();
      if (c.modelType === 'gemma2' || c.modelType === 'gemma3_text') this.#caps(hidden / heads);
      this.#rope();
    }
    return { metadata: this.#metadata, factors: this.#factors, notes: this.#notes };
  }

  /** Only the llama architecture may have or lack them; Qwen2's are not optional. */
  #biases(): void {
    const type = this.#config.modelType;
    if (['qwen3', 'qwen3_moe', 'gemma', 'gemma2', 'gemma3_text', 'olmo2', 'smollm3'].includes(type)) {
      if (this.#config.bool('attention_bias')) this.#refuse('attention_bias', false, true);
    }
    if (type === 'smollm3' && this.#config.bool('mlp_bias')) this.#refuse('mlp_bias', false, true);
  }

  /** Norms of single heads have no place, and attention beside the MLP only where the architecture knows of it. */
  #variants(): void {
    const c = this.#config;
    if (['phi', 'stablelm'].includes(c.modelType) && c.bool('qk_layernorm')) this.#refuse('qk_layernorm', false, true);
    if (!['gpt_neox', 'stablelm'].includes(c.modelType)) return;
    const value = c.bool('use_parallel_residual');
    this.#metadata.set(`${this.#arch}.use_parallel_residual`, { type: 'bool', value });
  }

  #windows(): void {
    const c = this.#config;
    const types = ['qwen2', 'qwen3', 'gemma2', 'gemma3_text'].includes(c.modelType) ? c.layerTypes() : undefined;
    const sliding = (layer: number): boolean => types?.[layer] === 'sliding_attention';
    if (c.modelType === 'gemma2' || c.modelType === 'gemma3_text') {
      this.#pattern(types!.map((_, i) => sliding(i)));
      this.#u32('attention.sliding_window', c.int('sliding_window'));
      return;
    }
    if (['llama', 'gemma', 'gpt_neox', 'phi', 'stablelm'].includes(c.modelType)) return;
    if (types?.some((type) => type !== types[0]) === true) this.#refuse('layer_types', 'layers of one type', types);
    const window = types === undefined || sliding(0) ? c.slidingWindow() : undefined;
    if (window === undefined) return;
    this.#u32('attention.sliding_window', window);
    this.#notes.push(`llama.cpp attends to all keys in this architecture: no sliding window of ${window} tokens`);
  }

  #experts(): void {
    const c = this.#config;
    const qwen = c.modelType === 'qwen3_moe';
    if (!qwen && c.modelType !== 'mixtral') return;
    this.#u32('expert_count', c.int(qwen ? 'num_experts' : 'num_local_experts'));
    this.#u32('expert_used_count', c.int('num_experts_per_tok'));
    if (!qwen) return;
    this.#u32('expert_feed_forward_length', c.int('moe_intermediate_size'));
    if (c.int('decoder_sparse_step') !== 1) this.#refuse('decoder_sparse_step', 1, c.int('decoder_sparse_step'));
    const dense = c.nums('mlp_only_layers');
    if (dense.length > 0) this.#refuse('mlp_only_layers', [], dense);
    if (c.bool('norm_topk_prob')) return;
    this.#metadata.set(`${this.#arch}.expert_weights_norm`, { type: 'bool', value: false });
    this.#notes.push('llama.cpp makes the weights of the chosen experts sum to 1 in this architecture');
  }

  /** Which layers slide: every other one in Gemma 2, all but each Nth in Gemma 3. */
  #pattern(slides: readonly boolean[]): void {
    const gemma2 = this.#arch === 'gemma2';
    const fits = (n: number): boolean => slides.every((slide, i) => slide === ((i + 1) % n !== 0));
    const usual = gemma2 ? 2 : 6;
    if (fits(usual)) return;
    const found = gemma2 ? undefined : slides.map((_, i) => i + 1).find(fits);
    if (found === undefined)
      this.#refuse('layer_types', gemma2 ? 'every other layer sliding' : 'each Nth layer full', slides);
    this.#u32('attention.sliding_window_pattern', found);
    this.#notes.push(`releases of llama.cpp that do not know sliding_window_pattern take every 6th layer as full`);
  }

  /** Soft caps and the scale of queries; `plain` is hidden / heads. */
  #caps(plain: number): void {
    const c = this.#config;
    const gemma2 = this.#arch === 'gemma2';
    for (const [field, needed] of [
      ['attn_logit_softcapping', gemma2],
      ['final_logit_softcapping', gemma2],
    ] as const) {
      // Gemma 3's attention heeds no cap, whatever its config says.
      const cap = gemma2 || field.startsWith('final') ? c.optionalNum(field) : undefined;
      if (cap === undefined && needed) this.#refuse(field, 'a number', null);
      if (cap !== undefined) this.#f32(field, cap);
      if (cap !== undefined && !gemma2) this.#notes.push(`llama.cpp may not heed ${field} in gemma3`);
    }
    const large = c.int('num_hidden_layers') === (gemma2 ? 46 : 62);
    const scalar = c.num('query_pre_attn_scalar');
    if (scalar === (large ? plain : c.headDim())) return;
    this.#f32('attention.scale', scalar ** -0.5);
    this.#notes.push(`llama.cpp scales queries of this architecture by its own rule, not by ${scalar}^-0.5`);
  }

  #scales(): void {
    const c = this.#config;
    this.#f32('attention.scale', c.num('attention_multiplier'));
    this.#f32('embedding_scale', c.num('embedding_multiplier'));
    this.#f32('residual_scale', c.num('residual_multiplier'));
    this.#f32('logit_scale', c.num('logits_scaling'));
  }

  /** The name implies that every fourth layer has no rotary positions, and that all see all keys. */
  #rotations(): void {
    const c = this.#config;
    const rotates = c.nums('no_rope_layers').slice(0, c.int('num_hidden_layers'));
    if (rotates.some((use, i) => (use !== 0) !== ((i + 1) % 4 !== 0)))
      this.#refuse('no_rope_layers', '0 in every fourth layer', rotates);
    const types = c.layerTypes();
    if (types.includes('sliding_attention')) this.#refuse('layer_types', 'full_attention', types);
  }

  #rope(): void {
    const c = this.#config;
    const gemma3 = c.modelType === 'gemma3_text';
    const rope = gemma3 ? c.rope('full_attention') : c.rope();
    const headDim = c.headDim();
    const dims = Math.floor(headDim * rope.partialRotaryFactor);
    if (dims !== headDim && this.#arch === 'llama') this.#refuse('partial_rotary_factor', 1, rope.partialRotaryFactor);
    this.#u32('rope.dimension_count', dims);
    this.#f32('rope.freq_base', rope.theta);
    if (gemma3) {
      const local = c.rope('sliding_attention');
      if (local.type !== 'default') this.#refuse('rope_parameters.sliding_attention', 'no scaling', local.type);
      this.#f32('rope.freq_base_swa', local.theta);
    }
    this.#scaling(rope, dims);
  }

  #scaling(rope: RopeConfig, dims: number): void {
    const type = (value: string): void =>
      void this.#metadata.set(`${this.#arch}.rope.scaling.type`, { type: 'string', value });
    switch (rope.type) {
      case 'default':
        return;
      case 'linear':
        type('linear');
        this.#f32('rope.scaling.factor', rope.factor);
        return;
      case 'llama3':
        this.#factors.set('rope_freqs.weight', llama3Factors(rope, dims));
        return;
      case 'factors':
        this.#factors.set('rope_freqs.weight', Float32Array.from(rope.factors));
        return;
      case 'yarn': {
        if (!rope.truncate) this.#refuse('truncate', true, false);
        type('yarn');
        this.#f32('rope.scaling.factor', rope.factor);
        this.#u32('rope.scaling.original_context_length', rope.originalMaxPositionEmbeddings);
        this.#f32('rope.scaling.yarn_beta_fast', rope.betaFast);
        this.#f32('rope.scaling.yarn_beta_slow', rope.betaSlow);
        // llama.cpp multiplies its own 1 + 0.1 ln(factor) by this one.
        const scale = rope.attentionFactor / (1 + 0.1 * Math.log(rope.factor));
        if (Math.abs(scale - 1) > 1e-7) this.#f32('rope.scaling.attn_factor', scale);
        return;
      }
      case 'longrope':
        type('longrope');
        this.#f32('rope.scaling.attn_factor', rope.attentionFactor);
        this.#u32('rope.scaling.original_context_length', rope.originalMaxPositionEmbeddings);
        this.#factors.set('rope_factors_long.weight', Float32Array.from(rope.longFactor));
        this.#factors.set('rope_factors_short.weight', Float32Array.from(rope.shortFactor));
        return;
      case 'dynamic':
        this.#refuse('rope_type', 'default, linear, llama3, yarn or longrope', rope.type);
    }
  }
}

/** By what Llama 3.1's scaling divides each frequency: 1 for short waves, `factor` for long ones, a ramp between. */
function llama3Factors(rope: Extract<RopeConfig, { type: 'llama3' }>, dims: number): Float32Array {
  const original = rope.originalMaxPositionEmbeddings;
  return Float32Array.from({ length: dims / 2 }, (_, i) => {
    const wave = 2 * Math.PI * rope.theta ** ((2 * i) / dims);
    if (wave < original / rope.highFreqFactor) return 1;
    if (wave > original / rope.lowFreqFactor) return rope.factor;
    const smooth = (original / wave - rope.lowFreqFactor) / (rope.highFreqFactor - rope.lowFreqFactor);
    return 1 / ((1 - smooth) / rope.factor + smooth);
  });
}
