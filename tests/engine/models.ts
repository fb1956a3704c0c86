/** Small decoders with random weights for tests of the engine. */
import { join } from 'node:path';
import { buildRandom } from '../../lib/bench/random_model.js';
import { type BuiltDecoder, buildDecoder } from '../../lib/engine/build.js';
import { DecoderHost, type HostOptions } from '../../lib/engine/host.js';
import type { WeightDType } from '../../lib/graph/dtype.js';
import { findDecoder } from '../../lib/models/index.js';
import { TextModel } from '../../lib/tasks/text_model.js';
import { loadTokenizer, type Tokenizer } from '../../lib/text/tokenizer.js';
import { readConfig } from '../../lib/weights/config.js';
import type { QuantizeType } from '../../lib/weights/quantize_rules.js';
import { randomSource } from '../../lib/weights/random_source.js';
import type { Checkpoint, RawConfig } from '../../lib/weights/types.js';

const common = {
  vocab_size: 515,
  bos_token_id: null,
  eos_token_id: null,
  pad_token_id: null,
  max_position_embeddings: 1024,
};

/** Sizes that are no multiples of a tile: hidden 264 = 4 heads of 66, ffn 520, vocabulary 515. */
export const llamaConfig: RawConfig = {
  ...common,
  model_type: 'llama',
  architectures: ['LlamaForCausalLM'],
  hidden_size: 264,
  intermediate_size: 520,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  tie_word_embeddings: false,
};

export const gpt2Config: RawConfig = {
  ...common,
  model_type: 'gpt2',
  architectures: ['GPT2LMHeadModel'],
  n_embd: 264,
  n_layer: 2,
  n_head: 4,
  n_inner: 520,
  n_positions: 1024,
};

/** Alternating windows of 40 keys, soft caps, tied. */
export const gemma2Config: RawConfig = {
  ...common,
  model_type: 'gemma2',
  architectures: ['Gemma2ForCausalLM'],
  hidden_size: 264,
  intermediate_size: 520,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 66,
  query_pre_attn_scalar: 66,
  sliding_window: 40,
};

/** 2 of 7 experts; an expert's 140 rows begin within a panel. */
export const mixtralConfig: RawConfig = {
  ...llamaConfig,
  model_type: 'mixtral',
  architectures: ['MixtralForCausalLM'],
  intermediate_size: 140,
  num_local_experts: 7,
  num_experts_per_tok: 2,
};

/** For tests of behaviour, where speed matters more than sizes. */
export const tinyConfig: RawConfig = {
  ...llamaConfig,
  vocab_size: 288,
  hidden_size: 32,
  intermediate_size: 48,
  num_attention_heads: 2,
  num_key_value_heads: 1,
};

export interface RandomModel {
  readonly config?: RawConfig;
  readonly dtype?: WeightDType;
  readonly seed?: number;
  /** What the matrices are quantised to, instead of random blocks of `dtype`; the seed is 1. */
  readonly quantize?: QuantizeType;
}

export function randomDecoder(options: RandomModel = {}): BuiltDecoder {
  const raw = options.config ?? tinyConfig;
  if (options.quantize !== undefined) return buildRandom(raw, 'config.json', options.quantize);
  const config = readConfig({ config: raw, configFile: 'config.json' });
  const architecture = findDecoder(config.architectures[0], config.modelType, 'config.json');
  return buildDecoder(architecture, config, randomSource(options.dtype ?? 'f32', options.seed ?? 1, []));
}

/** A checkpoint with nothing in it but its config. */
export function emptyCheckpoint(config: RawConfig, generationConfig?: RawConfig): Checkpoint {
  return {
    kind: 'safetensors',
    path: 'random',
    config,
    generationConfig,
    tensors: new Map(),
    absorbed: new Set(),
    files: [],
    folder: undefined,
    configFile: 'config.json',
  };
}

/** A tokenizer whose ids are bytes and a few merges, with a chat template. */
export function testTokenizer(): Promise<Tokenizer> {
  return loadTokenizer({ folder: join(import.meta.dirname, '../text/fixtures/fallback_bpe') });
}

export interface TextModelOptions extends RandomModel, HostOptions {
  readonly tokenizer?: Tokenizer | undefined;
  readonly generationConfig?: RawConfig;
}

export async function randomModel(options: TextModelOptions = {}): Promise<TextModel> {
  const { config = tinyConfig, dtype, seed, quantize, tokenizer, generationConfig, ...host } = options;
  const built = randomDecoder({
    config,
    ...(dtype && { dtype }),
    ...(seed && { seed }),
    ...(quantize && { quantize }),
  });
  const opened = await DecoderHost.open(built, { kvMemory: '64MiB', ...host });
  return new TextModel(opened, emptyCheckpoint(config, generationConfig), tokenizer);
}

/** The bits of floats, to compare or print. */
export const bitsOf = (x: ArrayLike<number>): Uint32Array => new Uint32Array(Float32Array.from(x).buffer);
