import { type WeightDType, weightDTypes } from '../graph/dtype.js';

/** The smaller-block type that stands in for a type of blocks of 256, as llama-quantize chooses it. */
const standIns: Readonly<Partial<Record<WeightDType, WeightDType>>> = {
  q2_k: 'q4_0',
  q3_k: 'q4_0',
  q4_k: 'q5_0',
  q5_k: 'q5_1',
  q6_k: 'q8_0',
  iq4_xs: 'iq4_nl',
};

/**
 * The type for a matrix of `cols` columns where `wanted` is asked for: `wanted` if its blocks divide the columns, else
 * the stand-in with blocks of 32, else f16. Source: `tensor_type_fallback` of llama.cpp's src/llama-quant.cpp.
 */
export function quantizedType(wanted: WeightDType, cols: number): WeightDType {
  const fits = (type: WeightDType): boolean => cols % weightDTypes[type].block === 0;
  if (fits(wanted)) return wanted;
  const other = standIns[wanted];
  return other !== undefined && fits(other) ? other : 'f16';
}
