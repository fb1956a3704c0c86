import type { OpInput } from '../support/run_op.js';

/** Inputs of op cases, by dtype. */
export function f32(data: Float32Array, ...shape: number[]): OpInput & { readonly data: Float32Array } {
  return { dtype: 'f32', shape, data };
}

export function i32(data: ArrayLike<number>, ...shape: number[]): OpInput & { readonly data: Int32Array } {
  return { dtype: 'i32', shape: shape.length === 0 ? [data.length] : shape, data: Int32Array.from(data) };
}

export function u8(data: Uint8Array, ...shape: number[]): OpInput {
  return { dtype: 'u8', shape, data };
}

/** Shape of an f32 output. */
export function out(...shape: number[]): { dtype: 'f32'; shape: number[] } {
  return { dtype: 'f32', shape };
}

/** Sizes that no vector, panel or page divides. */
export const oddSizes = [1, 3, 17, 129] as const;
