import { readFileSync } from 'node:fs';
import { readSafetensors } from '../../lib/weights/safetensors.js';

/** A tensor read whole; integers of 64 bits become doubles. */
export interface Array64 {
  readonly shape: readonly number[];
  readonly data: Float64Array;
}

/** All tensors of a small file of F32, F16, BF16 and I64 tensors, as doubles. */
export async function readTensors(file: string): Promise<Map<string, Array64>> {
  const { tensors } = await readSafetensors(file);
  const bytes = readFileSync(file);
  const made = new Map<string, Array64>();
  for (const { name, dtype, shape, offset, bytes: size } of tensors.values()) {
    made.set(name, { shape, data: decode(dtype, bytes.subarray(offset, offset + size)) });
  }
  return made;
}

/** Little-endian elements as doubles. */
export function decode(dtype: string, bytes: Buffer): Float64Array {
  const wide: Record<string, number> = { f32: 4, i64: 8, f16: 2, bf16: 2 };
  const step = wide[dtype];
  if (step === undefined) throw new Error(`cannot read ${dtype}`);
  const read = (at: number): number => {
    if (dtype === 'f32') return bytes.readFloatLE(at);
    if (dtype === 'i64') return Number(bytes.readBigInt64LE(at));
    const bits = bytes.readUInt16LE(at);
    if (dtype === 'bf16') return new Float32Array(Uint32Array.of(bits << 16).buffer)[0]!;
    const [sign, exponent, fraction] = [bits >> 15 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
    return sign * (exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15));
  };
  return Float64Array.from({ length: bytes.length / step }, (_, i) => read(i * step));
}

/** Largest |a − b| as a share of the largest |b|. */
export function error(found: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (found.length !== expected.length) throw new Error(`${found.length} numbers, expected ${expected.length}`);
  let [most, scale] = [0, 0];
  for (let i = 0; i < expected.length; i++) {
    const delta = Math.abs(found[i]! - expected[i]!);
    most = delta > most || Number.isNaN(delta) ? delta : most;
    scale = Math.max(scale, Math.abs(expected[i]!));
  }
  return most / scale;
}
