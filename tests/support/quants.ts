/** Blocks of the quantised weight types, decoded once more in float64 from the published layouts. */
import { type WeightDType, weightDTypes } from '../../lib/graph/dtype.js';

export type QuantType = Exclude<WeightDType, 'f32' | 'f16' | 'bf16'>;

export const quantTypes = Object.keys(weightDTypes).filter((t) => !['f32', 'f16', 'bf16'].includes(t)) as QuantType[];

/** IEEE half: sign, 5 bits of exponent, 10 of mantissa. */
export function decodeF16(bits: number): number {
  const [sign, exponent, mantissa] = [bits & 0x8000 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
  if (exponent === 31) return mantissa === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return exponent === 0 ? sign * mantissa * 2 ** -24 : sign * (1 + mantissa / 1024) * 2 ** (exponent - 15);
}

/** Where the halves of a block lie, and the exponent bits that give weights around 2^-4. */
export const quantHalves: Readonly<Record<QuantType, readonly (readonly [at: number, exponent: number])[]>> = {
  q8_0: [[0, 4]],
  q4_0: [[0, 8]],
  q4_1: [
    [0, 8],
    [2, 11],
  ],
  q5_0: [[0, 7]],
  q5_1: [
    [0, 7],
    [2, 11],
  ],
  q2_k: [
    [80, 6],
    [82, 7],
  ],
  q3_k: [[108, 5]],
  q4_k: [
    [0, 2],
    [2, 5],
  ],
  q5_k: [
    [0, 1],
    [2, 5],
  ],
  q6_k: [[208, 1]],
  iq4_nl: [[0, 4]],
  iq4_xs: [[0, 1]],
};

const levels = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

const half = (b: Uint8Array, at: number): number => decodeF16(b[at]! | (b[at + 1]! << 8));
const signed = (v: number): number => (v << 24) >> 24;
/** Nibble of element i: 32 elements in 16 bytes, the first half low. */
const nibble = (b: Uint8Array, at: number, i: number): number => (b[at + (i % 16)]! >> (i >= 16 ? 4 : 0)) & 15;
const bit = (b: Uint8Array, at: number, i: number): number => (b[at + (i >> 3)]! >> (i & 7)) & 1;

/** Six-bit scale and minimum of group i of q4_k and q5_k; their twelve bytes start at 4. */
function scaleMin(b: Uint8Array, i: number): [number, number] {
  const s = (j: number): number => b[4 + j]!;
  if (i < 4) return [s(i) & 63, s(i + 4) & 63];
  return [(s(i + 4) & 15) | ((s(i - 4) >> 6) << 4), (s(i + 4) >> 4) | ((s(i) >> 6) << 4)];
}

/** Element e of groups of 128 in quarters of 32: which quarter, and its place in it. */
const quarters = (e: number): { c: number; j: number; l: number } => ({ c: e >> 7, j: (e >> 5) & 3, l: e & 31 });

const elements: Readonly<Record<QuantType, (b: Uint8Array, e: number) => number>> = {
  q8_0: (b, e) => half(b, 0) * signed(b[2 + e]!),
  q4_0: (b, e) => half(b, 0) * (nibble(b, 2, e) - 8),
  q4_1: (b, e) => half(b, 0) * nibble(b, 4, e) + half(b, 2),
  q5_0: (b, e) => half(b, 0) * (nibble(b, 6, e) + 16 * bit(b, 2, e) - 16),
  q5_1: (b, e) => half(b, 0) * (nibble(b, 8, e) + 16 * bit(b, 4, e)) + half(b, 2),
  q2_k: (b, e) => {
    const { c, j, l } = quarters(e);
    const scale = b[e >> 4]!;
    return half(b, 80) * (scale & 15) * ((b[16 + 32 * c + l]! >> (2 * j)) & 3) - half(b, 82) * (scale >> 4);
  },
  q3_k: (b, e) => {
    const { c, j, l } = quarters(e);
    const i = e >> 4;
    const low = (b[96 + (i & 7)]! >> (i >= 8 ? 4 : 0)) & 15;
    const scale = low + 16 * ((b[104 + (i & 3)]! >> (2 * (i >> 2))) & 3) - 32;
    const q = ((b[32 + 32 * c + l]! >> (2 * j)) & 3) + 4 * ((b[l]! >> (4 * c + j)) & 1);
    return half(b, 108) * scale * (q - 4);
  },
  q4_k: (b, e) => {
    const [scale, min] = scaleMin(b, e >> 5);
    const q = (b[16 + 32 * (e >> 6) + (e & 31)]! >> (e & 32 ? 4 : 0)) & 15;
    return half(b, 0) * scale * q - half(b, 2) * min;
  },
  q5_k: (b, e) => {
    const [scale, min] = scaleMin(b, e >> 5);
    const q = (b[48 + 32 * (e >> 6) + (e & 31)]! >> (e & 32 ? 4 : 0)) & 15;
    return half(b, 0) * scale * (q + 16 * ((b[16 + (e & 31)]! >> (e >> 5)) & 1)) - half(b, 2) * min;
  },
  q6_k: (b, e) => {
    const { c, j, l } = quarters(e);
    const low = (b[64 * c + 32 * (j & 1) + l]! >> (j & 2 ? 4 : 0)) & 15;
    const q = low + 16 * ((b[128 + 32 * c + l]! >> (2 * j)) & 3) - 32;
    return half(b, 208) * signed(b[192 + (e >> 4)]!) * q;
  },
  iq4_nl: (b, e) => half(b, 0) * levels[nibble(b, 2, e)]!,
  iq4_xs: (b, e) => {
    const i = e >> 5;
    const low = (b[4 + (i >> 1)]! >> (i & 1 ? 4 : 0)) & 15;
    const scale = low + 16 * (((b[2]! | (b[3]! << 8)) >> (2 * i)) & 3) - 32;
    return half(b, 0) * scale * levels[nibble(b, 8 + 16 * i, e & 31)]!;
  },
};

/** Whole blocks to numbers. */
export function decodeQuant(dtype: QuantType, data: Uint8Array): Float64Array {
  const { block, bytes } = weightDTypes[dtype];
  const out = new Float64Array((data.length / bytes) * block);
  for (let n = 0; n < data.length / bytes; n++) {
    const b = data.subarray(n * bytes, (n + 1) * bytes);
    for (let e = 0; e < block; e++) out[n * block + e] = elements[dtype](b, e);
  }
  return out;
}
