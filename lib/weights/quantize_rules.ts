/**
 * Which type each matrix gets when a model is quantised, at load or into a file: llama-quantize's rules without an
 * importance matrix (llama.cpp, src/llama-quant.cpp), so that a file from either is made of the same types.
 */
import { type WeightDType, weightDTypes } from '../graph/dtype.js';
import { quantizedType } from './quantize_types.js';

/** Mixtures by their published names: the type of most matrices, of a fused q/k/v, and where more bits are given. */
const mixtures = {
  q4_k_m: { base: 'q4_k', fused: 'q5_k', more: 'q6_k' },
  q5_k_m: { base: 'q5_k', fused: 'q6_k', more: 'q6_k' },
} as const;

/** A weight type for all matrices, or a mixture. */
export type QuantizeType = WeightDType | keyof typeof mixtures;

/** Names that `quantize` and `--type` take. */
export const quantizeTypes: readonly QuantizeType[] = [
  ...(Object.keys(weightDTypes) as WeightDType[]),
  ...(Object.keys(mixtures) as (keyof typeof mixtures)[]),
];

export function isQuantizeType(name: unknown): name is QuantizeType {
  return (quantizeTypes as readonly unknown[]).includes(name);
}

/** What one matrix becomes: `wanted` by the rules, `type` where its columns do not divide into the wanted blocks. */
export interface MatrixType {
  readonly wanted: WeightDType;
  readonly type: WeightDType;
}

/** Layers in which attn_v and ffn_down of a mixture get more bits: the first and last eighth, and every third between. */
function moreBits(layer: number, layers: number): boolean {
  const eighth = Math.floor(layers / 8);
  return layer < eighth || layer >= Math.floor((7 * layers) / 8) || (layer - eighth) % 3 === 2;
}

function wantedType(quantize: QuantizeType, name: string, layers: number, tied: boolean): WeightDType {
  const mixture = Object.hasOwn(mixtures, quantize) ? mixtures[quantize as keyof typeof mixtures] : undefined;
  const base: WeightDType = mixture?.base ?? (quantize as WeightDType);
  // The head decides on all logits: 6 bits at least, also where the token table is the head.
  if (name === 'output.weight' || (tied && name === 'token_embd.weight'))
    return weightDTypes[base].block === 1 || base === 'q8_0' ? base : 'q6_k';
  if (mixture === undefined) return base;
  if (name.endsWith('.attn_qkv.weight')) return mixture.fused;
  const layer = /^blk\.(\d+)\.(?:attn_v|ffn_down|ffn_down_exps)\.weight$/.exec(name)?.[1];
  return layer !== undefined && moreBits(Number(layer), layers) ? mixture.more : base;
}

/** The type of a matrix by its GGUF name and its columns. `tied`: the token table is the head too. */
export function matrixType(
  quantize: QuantizeType,
  name: string,
  cols: number,
  model: { readonly layers: number; readonly tied: boolean },
): MatrixType {
  const wanted = wantedType(quantize, name, model.layers, model.tied);
  return { wanted, type: quantizedType(wanted, cols) };
}

/** `general.file_type` of llama.cpp (enum llama_ftype). */
export const fileTypes: Readonly<Record<QuantizeType, number>> = {
  f32: 0,
  f16: 1,
  q4_0: 2,
  q4_1: 3,
  q8_0: 7,
  q5_0: 8,
  q5_1: 9,
  q2_k: 10,
  q3_k: 11,
  q4_k: 14,
  q4_k_m: 15,
  q5_k: 16,
  q5_k_m: 17,
  q6_k: 18,
  iq4_nl: 25,
  iq4_xs: 30,
  bf16: 32,
};
