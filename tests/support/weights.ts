import { type WeightDType, weightDTypes } from '../../lib/graph/dtype.js';
import type { WeightExpr } from '../../lib/graph/weight_expr.js';
import { decodeF16, decodeQuant, type QuantType, quantHalves } from './quants.js';
import type { Random } from './random.js';

/** A weight as it is stored, and the same numbers in float64. */
export interface StoredWeight {
  readonly expr: WeightExpr;
  readonly values: Float64Array;
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

/** Random blocks of finite weights: every bit but those of the halves is drawn. */
function blocks(random: Random, dtype: QuantType, values: Float64Array): Uint8Array {
  const { block, bytes } = weightDTypes[dtype];
  const data = new Uint8Array((values.length / block) * bytes);
  for (let b = 0; b < data.length; b += bytes) {
    for (let i = 0; i < bytes; i++) data[b + i] = random.integer(0, 256);
    for (const [at, exponent] of quantHalves[dtype]) {
      const negative = dtype === 'q8_0' || dtype === 'q4_0' ? 0 : random.integer(0, 2) << 15;
      const bits = negative | (exponent << 10) | random.integer(0, 1024);
      data.set([bits & 255, bits >> 8], b + at);
    }
  }
  values.set(decodeQuant(dtype, data));
  return data;
}
