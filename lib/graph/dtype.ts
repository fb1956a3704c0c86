/**
 * Element types. `DType`: what values of a program hold while it runs; `StateDType`: what states hold. `WeightDType`: how weights are stored; each row
 * gives the elements and bytes of a block. Native code has the same names (native/core/op.h).
 */
export type DType = 'f32' | 'i32' | 'u8';
export type StateDType = DType | 'bf16';

export const weightDTypes = {
  f32: { block: 1, bytes: 4 },
  f16: { block: 1, bytes: 2 },
  bf16: { block: 1, bytes: 2 },
  q8_0: { block: 32, bytes: 34 },
  q4_0: { block: 32, bytes: 18 },
  q4_1: { block: 32, bytes: 20 },
  q5_0: { block: 32, bytes: 22 },
  q5_1: { block: 32, bytes: 24 },
  q2_k: { block: 256, bytes: 84 },
  q3_k: { block: 256, bytes: 110 },
  q4_k: { block: 256, bytes: 144 },
  q5_k: { block: 256, bytes: 176 },
  q6_k: { block: 256, bytes: 210 },
  iq4_nl: { block: 32, bytes: 18 },
  iq4_xs: { block: 256, bytes: 136 },
} as const;

export type WeightDType = keyof typeof weightDTypes;

/** Narrows a stored dtype's name to one that can be computed with. */
export function isWeightDType(name: string): name is WeightDType {
  return Object.hasOwn(weightDTypes, name);
}

/** The typed array that carries values of a dtype to and from native code. */
export type ArrayOf<T extends DType> = T extends 'f32' ? Float32Array : T extends 'i32' ? Int32Array : Uint8Array;

export function makeArray<T extends DType>(dtype: T, length: number): ArrayOf<T> {
  const made =
    dtype === 'f32' ? new Float32Array(length) : dtype === 'i32' ? new Int32Array(length) : new Uint8Array(length);
  return made as ArrayOf<T>;
}
