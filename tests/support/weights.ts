import { type WeightDType, weightDTypes } from '../../lib/graph/dtype.js';
import type { WeightExpr } from '../../lib/graph/weight_expr.js';
import type { Random } from './random.js';

/** A weight as it is stored, and the same numbers in float64. */
export interface StoredWeight {
  readonly expr: WeightExpr;
  readonly values: Float64Array;
}

/** IEEE half: sign, 5 bits of exponent, 10 of mantissa. */
export function decodeF16(bits: number): number {
  const [sign, exponent, mantissa] = [bits & 0x8000 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
  if (exponent === 31) return mantissa === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return exponent === 0 ? sign * mantissa * 2 ** -24 : sign * (1 + mantissa / 1024) * 2 ** (exponent - 15);
}

/** The float whose upper half these bits are. */
export function decodeBf16(bits: number): number {
  return new Float32Array(Uint32Array.of(bits << 16).buffer)[0]!;
}

/** Rounds to the nearest bf16, ties to even. */
export function roundBf16(x: number): number {
  const bits = new Uint32Array(Float32Array.of(x).buffer)[0]!;
  return decodeBf16((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16);
}

/** Random stored bits of a type, subnormal and negative numbers among them; values around 2^-4. */
export function storedWeight(random: Random, dtype: WeightDType, rows: number, cols: number): StoredWeight {
  const values = new Float64Array(rows * cols);
  const made = (data: Float32Array | Uint16Array | Uint8Array): StoredWeight => ({
    expr: { kind: 'bytes', dtype, rows, cols, data },
    values,
  });
  if (dtype === 'f32') {
    const data = random.normal(rows * cols, 0.1);
    values.set(data);
    return made(data);
  }
  if (dtype === 'f16' || dtype === 'bf16') {
    const data = new Uint16Array(rows * cols);
    for (let i = 0; i < data.length; i++) {
      const exponent = random.next() < 0.05 ? 0 : random.integer(8, 13);
      const half = (random.integer(0, 2) << 15) | (exponent << 10) | random.integer(0, 1024);
      data[i] = dtype === 'f16' ? half : new Uint32Array(random.normal(1, 0.1).buffer)[0]! >>> 16;
      values[i] = dtype === 'f16' ? decodeF16(half) : decodeBf16(data[i]!);
    }
    return made(data);
  }
  return made(blocks(random, dtype, values));
}

/** Blocks of 32: a half scale d, then q8_0: d · q, q int8; q4_0: d · (q − 8), element i < 16 in the low nibble of byte i. */
function blocks(random: Random, dtype: 'q8_0' | 'q4_0', values: Float64Array): Uint8Array {
  const { block, bytes } = weightDTypes[dtype];
  const data = new Uint8Array((values.length / block) * bytes);
  for (let b = 0; b < values.length / block; b++) {
    const scale = ((dtype === 'q8_0' ? 4 : 8) << 10) | random.integer(0, 1024);
    data.set([scale & 255, scale >> 8], b * bytes);
    for (let i = 0; i < bytes - 2; i++) {
      const q = random.integer(0, 256);
      data[b * bytes + 2 + i] = q;
      if (dtype === 'q8_0') values[b * block + i] = decodeF16(scale) * ((q << 24) >> 24);
      else {
        values[b * block + i] = decodeF16(scale) * ((q & 15) - 8);
        values[b * block + i + 16] = decodeF16(scale) * ((q >> 4) - 8);
      }
    }
  }
  return data;
}
