import type { AudioBuilder } from '../layers/audio.js';
import type { DecoderBuilder } from '../layers/decoder.js';
import type { EncoderBuilder } from '../layers/encoder.js';
import type { CrossHeads, Seq2SeqBuilder } from '../layers/seq2seq.js';
import type { ConfigReader } from '../weights/config.js';

/**
 * GGUF's names for one architecture: patterns with * for the layer number, Hugging Face's name → GGUF's. A second * is
 * the number of an expert: GGUF holds all of them in one tensor.
 */
export interface GgufNames {
  /** general.architecture */
  readonly arch: readonly string[];
  readonly names: Readonly<Record<string, string>>;
}

interface Named {
  /** Names in `architectures` of config.json. */
  readonly classes: readonly string[];
  /** `model_type` of config.json. */
  readonly modelType: string;
  /** Stored tensors that are not weights (buffers): accepted and not read. */
  readonly ignored?: readonly RegExp[];
  readonly gguf?: GgufNames;
}

/** A model that continues text: each token sees those before it. */
export interface DecoderArchitecture extends Named {
  readonly kind?: 'decoder';
  readonly build: (m: DecoderBuilder) => void;
}

/** A model that reads text as a whole: each token sees all others. */
export interface EncoderArchitecture extends Named {
  readonly kind: 'encoder';
  readonly build: (m: EncoderBuilder) => void;
}

/** A model that reads a text and writes another: translation, summaries, T5's tasks. */
export interface Seq2SeqArchitecture extends Named {
  readonly kind: 'seq2seq';
  /** Heads of cross-attention. */
  readonly crossHeads: (config: ConfigReader) => CrossHeads;
  readonly build: (m: Seq2SeqBuilder) => void;
}

/** A model that reads a waveform: speech. */
export interface AudioArchitecture extends Named {
  readonly kind: 'audio';
  readonly build: (m: AudioBuilder) => void;
}

/** A model family: a function from config and weights to a graph, and the names under which files know it. */
export type Architecture = DecoderArchitecture | EncoderArchitecture | Seq2SeqArchitecture | AudioArchitecture;

/** GGUF name of a Hugging Face name, or undefined where the table has none. */
export function ggufName(names: GgufNames, name: string): string | undefined {
  const exact = names.names[name];
  if (exact !== undefined) return exact;
  const layer = /\.(\d+)\./.exec(name);
  if (layer === null) return undefined;
  const pattern = name.replace(layer[0], '.*.');
  const found = names.names[pattern] ?? names.names[pattern.replace(/\.\d+\./, '.*.')];
  return found?.replace('*', layer[1]!);
}

/** The number of a tensor's expert; undefined: it is of none. */
export function expertOf(name: string): number | undefined {
  const found = /\.experts\.(\d+)\./.exec(name);
  return found === null ? undefined : Number(found[1]);
}

/** Entries for the weight and the bias of each layer: { 'model.norm': 'output_norm' } gives two. */
export function withBiases(layers: Readonly<Record<string, string>>): Record<string, string> {
  const both = Object.entries(layers).flatMap(([name, as]) =>
    ['weight', 'bias'].map((part) => [`${name}.${part}`, `${as}.${part}`] as const),
  );
  return Object.fromEntries(both);
}

/** The names that llama.cpp gives to decoders with Llama's layout. */
export const llamaGgufNames: Readonly<Record<string, string>> = {
  'model.embed_tokens.weight': 'token_embd.weight',
  'model.norm.weight': 'output_norm.weight',
  'lm_head.weight': 'output.weight',
  'model.layers.*.input_layernorm.weight': 'blk.*.attn_norm.weight',
  'model.layers.*.self_attn.q_proj.weight': 'blk.*.attn_q.weight',
  'model.layers.*.self_attn.k_proj.weight': 'blk.*.attn_k.weight',
  'model.layers.*.self_attn.v_proj.weight': 'blk.*.attn_v.weight',
  'model.layers.*.self_attn.o_proj.weight': 'blk.*.attn_output.weight',
  'model.layers.*.self_attn.q_proj.bias': 'blk.*.attn_q.bias',
  'model.layers.*.self_attn.k_proj.bias': 'blk.*.attn_k.bias',
  'model.layers.*.self_attn.v_proj.bias': 'blk.*.attn_v.bias',
  'model.layers.*.self_attn.o_proj.bias': 'blk.*.attn_output.bias',
  'model.layers.*.post_attention_layernorm.weight': 'blk.*.ffn_norm.weight',
  'model.layers.*.mlp.gate_proj.weight': 'blk.*.ffn_gate.weight',
  'model.layers.*.mlp.up_proj.weight': 'blk.*.ffn_up.weight',
  'model.layers.*.mlp.down_proj.weight': 'blk.*.ffn_down.weight',
  'model.layers.*.mlp.gate_proj.bias': 'blk.*.ffn_gate.bias',
  'model.layers.*.mlp.up_proj.bias': 'blk.*.ffn_up.bias',
  'model.layers.*.mlp.down_proj.bias': 'blk.*.ffn_down.bias',
};

/** The router and the experts, by their published names under `block`. */
export function expertGgufNames(
  block: string,
  names: { readonly gate: string; readonly up: string; readonly down: string },
): Record<string, string> {
  const layer = `model.layers.*.${block}`;
  return {
    [`${layer}.gate.weight`]: 'blk.*.ffn_gate_inp.weight',
    [`${layer}.${names.gate}`]: 'blk.*.ffn_gate_exps.weight',
    [`${layer}.${names.up}`]: 'blk.*.ffn_up_exps.weight',
    [`${layer}.${names.down}`]: 'blk.*.ffn_down_exps.weight',
  };
}

/** The same for decoders with norms on both sides of each block. */
export const sandwichGgufNames: Readonly<Record<string, string>> = {
  ...llamaGgufNames,
  'model.layers.*.post_attention_layernorm.weight': 'blk.*.post_attention_norm.weight',
  'model.layers.*.pre_feedforward_layernorm.weight': 'blk.*.ffn_norm.weight',
  'model.layers.*.post_feedforward_layernorm.weight': 'blk.*.post_ffw_norm.weight',
};
