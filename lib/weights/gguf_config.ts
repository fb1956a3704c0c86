/**
 * GGUF metadata → config in Hugging Face's spelling, so that a model file reads one form. Key names: llama.cpp's
 * llama-arch.cpp; what its conversion changes in the weights (permuted q/k rows, gemma's norm + 1) is the models' matter.
 */
import { ConfigError, CorruptFileError, UnsupportedError } from '../errors.js';
import { layerNormFields } from './defaults.js';
import { readExactly, withFile } from './files.js';
import type { GgufFile } from './gguf.js';
import { type MetadataReader, readExperts, refuseOtherExperts } from './gguf_experts.js';
import type { RawConfig, RawValue } from './types.js';

interface Architecture {
  readonly modelType: string;
  readonly className: string;
}

const kArchitectures: Readonly<Record<string, Architecture>> = Object.assign(Object.create(null), {
  llama: { modelType: 'llama', className: 'LlamaForCausalLM' },
  qwen2: { modelType: 'qwen2', className: 'Qwen2ForCausalLM' },
  qwen3: { modelType: 'qwen3', className: 'Qwen3ForCausalLM' },
  qwen3moe: { modelType: 'qwen3_moe', className: 'Qwen3MoeForCausalLM' },
  phi3: { modelType: 'phi3', className: 'Phi3ForCausalLM' },
  gemma: { modelType: 'gemma', className: 'GemmaForCausalLM' },
  gemma2: { modelType: 'gemma2', className: 'Gemma2ForCausalLM' },
  gemma3: { modelType: 'gemma3_text', className: 'Gemma3ForCausalLM' },
  gpt2: { modelType: 'gpt2', className: 'GPT2LMHeadModel' },
  gptneox: { modelType: 'gpt_neox', className: 'GPTNeoXForCausalLM' },
  phi2: { modelType: 'phi', className: 'PhiForCausalLM' },
  stablelm: { modelType: 'stablelm', className: 'StableLmForCausalLM' },
  starcoder2: { modelType: 'starcoder2', className: 'Starcoder2ForCausalLM' },
  olmo2: { modelType: 'olmo2', className: 'Olmo2ForCausalLM' },
  granite: { modelType: 'granite', className: 'GraniteForCausalLM' },
  smollm3: { modelType: 'smollm3', className: 'SmolLM3ForCausalLM' },
});

/** llama.cpp writes an absent special token as -1. */
const kNoToken = 0xffff_ffff;
const kMaxLayers = 1024;

export interface GgufTranslation {
  readonly config: RawConfig;
  readonly generationConfig: RawConfig;
  /** Tensors whose values went into the config. */
  readonly absorbed: ReadonlySet<string>;
}

/** Translates metadata; reads the small tensors that hold rotary factors. Throws for what it cannot express. */
export async function translateGguf(gguf: GgufFile): Promise<GgufTranslation> {
  return new Translator(gguf).translate();
}

class Translator {
  readonly #gguf: GgufFile;
  readonly #name: string;
  readonly #arch: Architecture;
  readonly #config: Record<string, RawValue> = Object.create(null);
  readonly #absorbed = new Set<string>();

  constructor(gguf: GgufFile) {
    this.#gguf = gguf;
    const name = gguf.string('general.architecture');
    if (name === undefined) throw this.#corrupt('general.architecture', 'missing metadata', 'a string', 'nothing');
    this.#name = name;
    const arch = kArchitectures[name];
    if (arch === undefined) {
      const facts = { file: gguf.path, expected: Object.keys(kArchitectures).join(', '), found: name };
      throw new UnsupportedError('no translation for the GGUF architecture', {
        name: 'general.architecture',
        ...facts,
      });
    }
    this.#arch = arch;
  }

  #corrupt(name: string, message: string, expected: unknown, found: unknown): CorruptFileError {
    return new CorruptFileError(`${message}: ${name}`, { file: this.#gguf.path, name, expected, found });
  }

  #bad(name: string, expected: unknown, found: unknown): ConfigError {
    return new ConfigError(`bad metadata ${name}`, { file: this.#gguf.path, name, expected, found });
  }

  #optional(key: string, min = 0, max = 2 ** 30): number | undefined {
    const name = `${this.#name}.${key}`;
    const value = this.#gguf.int(name);
    if (value !== undefined && (value < min || value > max)) throw this.#bad(name, `from ${min} to ${max}`, value);
    return value;
  }

  #required(key: string, min = 1, max = 2 ** 30): number {
    const value = this.#optional(key, min, max);
    if (value === undefined) throw this.#corrupt(`${this.#name}.${key}`, 'missing metadata', 'an integer', 'nothing');
    return value;
  }

  #float(key: string): number | undefined {
    const name = `${this.#name}.${key}`;
    const value = this.#gguf.float(name);
    if (value !== undefined && !Number.isFinite(value)) throw this.#bad(name, 'a finite number', value);
    // float32 in the file: 9.99999974e-7 was written as 1e-6, and Hugging Face computes with that.
    return value === undefined ? undefined : Number(value.toPrecision(7));
  }

  /** A count that newer files may give per layer; layers that differ cannot be expressed. */
  #perLayer(key: string, layers: number): number | undefined {
    const name = `${this.#name}.${key}`;
    if (this.#gguf.metadata.get(name)?.type !== 'array') return this.#optional(key, 1, 2 ** 20);
    const list = this.#gguf.numbers(name, ['uint32', 'int32']) ?? [];
    const values = Array.from(list, Number);
    const first = values[0];
    if (first === undefined || values.length < layers)
      throw this.#bad(name, `${layers} numbers`, `${values.length} numbers`);
    if (values.some((value) => value < 1)) throw this.#bad(name, 'numbers from 1', values);
    if (values.some((value) => value !== first)) {
      throw new UnsupportedError(`layers differ in ${name}`, { file: this.#gguf.path, name, found: values });
    }
    return first;
  }

  get #reader(): MetadataReader {
    return {
      architecture: this.#name,
      optional: (key, min, max) => this.#optional(key, min, max),
      required: (key, min, max) => this.#required(key, min, max),
      float: (key) => this.#float(key),
      flag: (key) => this.#gguf.bool(`${this.#name}.${key}`),
    };
  }

  async translate(): Promise<GgufTranslation> {
    this.#refuse();
    const c = this.#config;
    c.model_type = this.#arch.modelType;
    c.architectures = [this.#arch.className];
    const layers = this.#required('block_count', 1, kMaxLayers);
    const hidden = this.#required('embedding_length', 1, 2 ** 17);
    const heads = this.#perLayer('attention.head_count', layers);
    if (heads === undefined)
      throw this.#corrupt(`${this.#name}.attention.head_count`, 'missing metadata', 'an integer', 'nothing');
    const positions = this.#required('context_length');
    const feedForward = this.#perLayer('feed_forward_length', layers);
    c.vocab_size = this.#vocabulary();
    c.tie_word_embeddings = !this.#gguf.tensors.has('output.weight');
    if (this.#arch.modelType === 'gpt2') {
      Object.assign(c, { n_layer: layers, n_embd: hidden, n_head: heads, n_positions: positions });
      c.n_inner = feedForward ?? 4 * hidden;
    } else {
      if (feedForward === undefined)
        throw this.#corrupt(`${this.#name}.feed_forward_length`, 'missing metadata', 'an integer', 'nothing');
      Object.assign(c, { num_hidden_layers: layers, hidden_size: hidden, num_attention_heads: heads });
      Object.assign(c, { intermediate_size: feedForward, max_position_embeddings: positions });
      c.num_key_value_heads = this.#perLayer('attention.head_count_kv', layers) ?? heads;
      const headDim = this.#headDim(hidden, heads);
      c.head_dim = headDim;
      this.#attention(layers, hidden / heads, headDim);
      this.#variants();
      Object.assign(c, readExperts(this.#reader));
      await this.#rope(headDim);
    }
    const epsilon = layerNormFields[this.#arch.modelType];
    if (epsilon === undefined) c.rms_norm_eps = this.#epsilon('attention.layer_norm_rms_epsilon');
    else c[epsilon] = this.#epsilon('attention.layer_norm_epsilon');
    return { config: c, generationConfig: this.#tokens(c.vocab_size), absorbed: this.#absorbed };
  }

  /** Features that change the result and that no field here expresses. */
  #refuse(): void {
    const refuse = (name: string, expected: unknown, found: unknown): never => {
      const facts = { file: this.#gguf.path, name, expected, found };
      throw new UnsupportedError(`metadata ${name} asks for something not supported`, facts);
    };
    refuseOtherExperts(this.#reader, refuse);
    const scales = this.#name === 'granite' ? [] : ['logit_scale', 'residual_scale', 'embedding_scale'];
    for (const key of ['attention.clamp_kqv', 'attention.max_alibi_bias', ...scales]) {
      const value = this.#float(key);
      if (value !== undefined && value !== 0) refuse(`${this.#name}.${key}`, 'nothing', value);
    }
    if (this.#gguf.bool(`${this.#name}.attention.causal`) === false)
      refuse(`${this.#name}.attention.causal`, true, false);
    // StableLM's files say true of models that are not; there its missing norm tells.
    const parallel = ['gptneox', 'phi2', 'stablelm'].includes(this.#name);
    if (!parallel && this.#gguf.bool(`${this.#name}.use_parallel_residual`) === true)
      refuse(`${this.#name}.use_parallel_residual`, false, true);
    const splits = this.#gguf.int('split.count');
    if (splits !== undefined && splits > 1)
      refuse('split.count', 'one file (join with llama-gguf-split --merge)', splits);
    const type = this.#gguf.string('general.type');
    if (type !== undefined && type !== 'model') refuse('general.type', 'model', type);
  }

  #epsilon(key: string): number {
    const name = `${this.#name}.${key}`;
    const value = this.#float(key);
    if (value === undefined) throw this.#corrupt(name, 'missing metadata', 'a float', 'nothing');
    if (value <= 0 || value > 1) throw this.#bad(name, 'above 0, up to 1', value);
    return value;
  }

  /** Rows of the embedding; the token list and the declared size must agree with it. */
  #vocabulary(): number {
    const gguf = this.#gguf;
    const tokens = gguf.strings('tokenizer.ggml.tokens')?.length;
    const declared = this.#optional('vocab_size', 1, 2 ** 24);
    const rows = gguf.tensors.get('token_embd.weight')?.shape[0];
    const size = rows ?? tokens ?? declared;
    if (size === undefined) throw this.#corrupt('tokenizer.ggml.tokens', 'missing metadata', 'a vocabulary', 'nothing');
    if (tokens !== undefined && tokens !== size) {
      throw this.#corrupt('tokenizer.ggml.tokens', 'length differs from the rows of token_embd.weight', size, tokens);
    }
    if (declared !== undefined && declared !== size) {
      throw this.#corrupt(`${this.#name}.vocab_size`, 'differs from the vocabulary', size, declared);
    }
    for (const [key, types] of [
      ['tokenizer.ggml.scores', ['float32']],
      ['tokenizer.ggml.token_type', ['int32', 'uint32']],
    ] as const) {
      const list = gguf.numbers(key, types);
      if (list !== undefined && list.length !== tokens)
        throw this.#corrupt(key, 'length differs from the tokens', tokens, list.length);
    }
    return size;
  }

  #headDim(hidden: number, heads: number): number {
    const key = this.#optional('attention.key_length', 1, 4096);
    const value = this.#optional('attention.value_length', 1, 4096);
    if (key === undefined && hidden % heads !== 0) {
      throw this.#bad(`${this.#name}.attention.head_count`, `a divisor of embedding_length ${hidden}`, heads);
    }
    const size = key ?? hidden / heads;
    if ((value ?? hidden / heads) !== size) {
      const name = `${this.#name}.attention.value_length`;
      const facts = { file: this.#gguf.path, name, expected: size, found: value };
      throw new UnsupportedError('key and value heads differ in size', facts);
    }
    return size;
  }

  #attention(layers: number, plainHeadDim: number, headDim: number): void {
    const c = this.#config;
    const { modelType } = this.#arch;
    const window = this.#optional('attention.sliding_window');
    if (modelType === 'llama' && window) {
      // Mistral has llama's GGUF architecture; the window tells them apart.
      c.model_type = 'mistral';
      c.architectures = ['MistralForCausalLM'];
    }
    if (['llama', 'granite', 'smollm3'].includes(modelType)) {
      c.attention_bias = this.#gguf.tensors.has('blk.0.attn_q.bias');
      c.mlp_bias = this.#gguf.tensors.has('blk.0.ffn_gate.bias');
    }
    if (modelType === 'granite') {
      c.attention_multiplier = this.#float('attention.scale') ?? headDim ** -0.5;
      c.embedding_multiplier = this.#float('embedding_scale') ?? 1;
      c.residual_multiplier = this.#float('residual_scale') ?? 1;
      c.logits_scaling = this.#float('logit_scale') ?? 1;
    }
    // OLMo 3 shares OLMo 2's name and has a window.
    if (['olmo2', 'granite', 'smollm3'].includes(modelType) && window)
      throw this.#bad(`${this.#name}.attention.sliding_window`, 'no window', window);
    if (modelType.startsWith('qwen') && window) Object.assign(c, { use_sliding_window: true, max_window_layers: 0 });
    if (modelType === 'gemma') c.hidden_act = 'gelu_pytorch_tanh';
    // 0 and absent mean "no window", except for the two families whose alternating layers always have one.
    if (window) c.sliding_window = window;
    else if (modelType === 'gemma2') c.sliding_window = 4096;
    else if (modelType === 'gemma3_text')
      throw this.#bad('gemma3.attention.sliding_window', 'from 1', window ?? 'nothing');
    else if (modelType !== 'llama' && modelType !== 'gemma') c.sliding_window = null;
    if (modelType !== 'gemma2' && modelType !== 'gemma3_text') return;
    const gemma2 = modelType === 'gemma2';
    const pattern = this.#optional('attention.sliding_window_pattern', 1, kMaxLayers);
    if (pattern !== undefined && !(gemma2 && pattern === 2)) {
      if (gemma2) throw this.#bad('gemma2.attention.sliding_window_pattern', 2, pattern);
      c.sliding_window_pattern = pattern;
    }
    c.attn_logit_softcapping = this.#float('attn_logit_softcapping') ?? (gemma2 ? 50 : null);
    c.final_logit_softcapping = this.#float('final_logit_softcapping') ?? (gemma2 ? 30 : null);
    const scale = this.#float('attention.scale');
    // GGUF leaves the scale to the reader: only the 27B sizes (46 and 62 layers) scale by hidden / heads.
    const large = layers === (gemma2 ? 46 : 62);
    c.query_pre_attn_scalar = scale !== undefined ? 1 / (scale * scale) : large ? plainHeadDim : headDim;
  }

  /** What differs between models of one family with layer norms: biases, and whether attention and MLP stand side by side. */
  #variants(): void {
    const c = this.#config;
    const has = (tensor: string): boolean => this.#gguf.tensors.has(`blk.0.${tensor}`);
    switch (this.#arch.modelType) {
      case 'gpt_neox':
        c.attention_bias = has('attn_qkv.bias');
        c.use_parallel_residual = this.#gguf.bool('gptneox.use_parallel_residual') ?? true;
        return;
      case 'stablelm':
        c.use_qkv_bias = has('attn_q.bias');
        c.use_parallel_residual = !has('ffn_norm.weight');
        return;
      case 'starcoder2':
        c.use_bias = has('attn_q.bias');
    }
  }

  async #rope(headDim: number): Promise<void> {
    const c = this.#config;
    const gemma3 = this.#arch.modelType === 'gemma3_text';
    const theta = this.#float('rope.freq_base') ?? (gemma3 ? 1_000_000 : 10_000);
    c.rope_theta = theta;
    if (gemma3) c.rope_local_base_freq = this.#float('rope.freq_base_swa') ?? 10_000;
    const dims = this.#optional('rope.dimension_count', 1, headDim);
    const wanted = dims ?? headDim;
    // A reader takes floor(head_dim × share), which dims / head_dim may fall short of: 44 × (30 / 44) < 30.
    const share = wanted / headDim;
    const turned = Math.floor(headDim * share) === wanted ? share : (wanted + 0.5) / headDim;
    if (turned !== 1 || ['gpt_neox', 'phi', 'stablelm'].includes(this.#arch.modelType))
      c.partial_rotary_factor = turned;
    c.rope_scaling = await this.#scaling(dims ?? headDim);
  }

  async #scaling(dims: number): Promise<RawConfig | null> {
    const original = this.#optional('rope.scaling.original_context_length', 1);
    const name = `${this.#name}.rope.scaling.type`;
    const type = this.#gguf.string(name) ?? 'none';
    const attention = this.#float('rope.scaling.attn_factor');
    const short = await this.#factors('rope_factors_short.weight', dims);
    const long = await this.#factors('rope_factors_long.weight', dims);
    if (short !== undefined && long !== undefined) {
      if (original !== undefined) this.#config.original_max_position_embeddings = original;
      return { rope_type: 'longrope', short_factor: short, long_factor: long, attention_factor: attention ?? null };
    }
    if (short !== undefined || long !== undefined) {
      throw this.#corrupt('rope_factors_short.weight, rope_factors_long.weight', 'one of two tensors is missing', 2, 1);
    }
    const factors = await this.#factors('rope_freqs.weight', dims);
    const factor = this.#float('rope.scaling.factor') ?? this.#float('rope.scale_linear') ?? 1;
    const scaled = type !== 'none' && factor !== 1 && factor !== 0;
    if (factors !== undefined) {
      if (scaled) throw this.#bad(name, 'none beside rope_freqs.weight', type);
      return { rope_type: 'factors', factors };
    }
    if (!scaled) return null;
    if (type === 'linear') return { rope_type: 'linear', factor };
    if (type !== 'yarn') throw this.#bad(name, 'none, linear, yarn or longrope', type);
    if (this.#float('rope.scaling.yarn_log_multiplier')) {
      throw new UnsupportedError('yarn_log_multiplier is not supported', { file: this.#gguf.path, name });
    }
    return {
      rope_type: 'yarn',
      factor,
      original_max_position_embeddings: original ?? null,
      // llama.cpp multiplies its own 1 + 0.1 ln(factor) by this one.
      attention_factor: attention === undefined ? null : attention * (1 + 0.1 * Math.log(factor)),
      beta_fast: this.#float('rope.scaling.yarn_beta_fast') ?? null,
      beta_slow: this.#float('rope.scaling.yarn_beta_slow') ?? null,
    };
  }

  /** A tensor of dims / 2 float32 divisors, read now. */
  async #factors(tensor: string, dims: number): Promise<number[] | undefined> {
    const entry = this.#gguf.tensors.get(tensor);
    if (entry === undefined) return undefined;
    const count = dims >> 1;
    if (entry.dtype !== 'f32' || entry.shape.length !== 1 || entry.shape[0] !== count) {
      const found = `${entry.dtype} ${JSON.stringify(entry.shape)}`;
      const facts = { file: this.#gguf.path, tensor, expected: `f32 [${count}]`, found };
      throw new CorruptFileError('bad rotary factors', facts);
    }
    const bytes = await withFile(entry.file, (file) => readExactly(file, entry.offset, entry.bytes));
    this.#absorbed.add(tensor);
    const values = Array.from({ length: count }, (_, index) => bytes.readFloatLE(4 * index));
    if (values.some((value) => !(value > 0) || !Number.isFinite(value))) {
      const facts = { file: this.#gguf.path, tensor, expected: 'positive numbers', found: values };
      throw new CorruptFileError('bad rotary factors', facts);
    }
    return values;
  }

  /** Special token ids, checked against the vocabulary. */
  #tokens(vocabulary: number): RawConfig {
    const id = (key: string, optional: boolean): number | undefined => {
      const name = `tokenizer.ggml.${key}`;
      const value = this.#gguf.int(name);
      if (value === undefined || (optional && (value === kNoToken || value === -1))) return undefined;
      if (value < 0 || value >= vocabulary) throw this.#bad(name, `from 0 to ${vocabulary - 1}`, value);
      return value;
    };
    const bos = id('bos_token_id', false);
    const eos = id('eos_token_id', false);
    id('unknown_token_id', false);
    const stops = [eos, id('eot_token_id', true), id('eom_token_id', true)].filter((item) => item !== undefined);
    const unique = [...new Set(stops)];
    const result: Record<string, RawValue> = Object.create(null);
    result.bos_token_id = bos ?? null;
    result.eos_token_id = unique.length > 1 ? unique : (unique[0] ?? null);
    result.pad_token_id = id('padding_token_id', true) ?? null;
    Object.assign(this.#config, result);
    return result;
  }
}
