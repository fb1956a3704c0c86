/** Types of `verdant/ops`: ranks are part of them. */
import { describe, expectTypeOf, it } from 'vitest';
import {
  type Attended,
  array,
  attention,
  layerNorm,
  linear,
  matmul,
  type NdArray,
  rmsNorm,
  rope,
  softmax,
} from '../../lib/runtime/ops.js';

declare const vector: NdArray<1>;
declare const matrix: NdArray<2>;
declare const cube: NdArray<3>;

describe('ranks', () => {
  it('are inferred', () => {
    expectTypeOf(array([1, 2])).toEqualTypeOf<NdArray<1>>();
    expectTypeOf(array([[1, 2]])).toEqualTypeOf<NdArray<2>>();
    expectTypeOf(array([[[1, 2]]])).toEqualTypeOf<NdArray<3>>();
    expectTypeOf(array(new Float32Array(6), [2, 3])).toEqualTypeOf<NdArray<2>>();
    expectTypeOf(matrix.shape).toEqualTypeOf<readonly [number, number]>();
    expectTypeOf(matmul(cube, cube)).resolves.toEqualTypeOf<NdArray<3>>();
    expectTypeOf(softmax(vector)).resolves.toEqualTypeOf<NdArray<1>>();
    expectTypeOf(attention(cube, cube, cube)).resolves.toEqualTypeOf<NdArray<3>>();
    expectTypeOf(attention(matrix, matrix, matrix, { mask: 'causal', probs: true })).resolves.toEqualTypeOf<
      Attended<2>
    >();
    expectTypeOf(linear(cube, matrix, vector)).resolves.toEqualTypeOf<NdArray<3>>();
  });

  it('that are wrong are refused', () => {
    // @ts-expect-error a vector has no columns
    matmul(vector, vector);
    // @ts-expect-error ranks differ
    matmul(matrix, cube);
    // @ts-expect-error keys of another rank
    attention(matrix, cube, cube);
    // @ts-expect-error rank 1 has no heads
    attention(vector, vector, vector);
    // @ts-expect-error the weight of a norm is a vector
    rmsNorm(matrix, matrix);
    // @ts-expect-error the bias of a norm is a vector
    layerNorm(matrix, vector, matrix);
    // @ts-expect-error a weight is a matrix
    linear(matrix, vector);
    // @ts-expect-error rope takes rows of heads
    rope(vector, [0]);
    // @ts-expect-error rank 5
    array(new Float32Array(1), [1, 1, 1, 1, 1]);
    // @ts-expect-error data without a shape is no array
    softmax(new Float32Array(3));
    // @ts-expect-error doubles
    softmax({ data: new Float64Array(3), shape: [3] });
    // @ts-expect-error no such option
    softmax(matrix, { axis: 1 });
    // @ts-expect-error no such mask
    attention(matrix, matrix, matrix, { mask: 'lower' });
    // @ts-expect-error a mask holds booleans
    attention(matrix, matrix, matrix, { mask: [[1, 0]] });
  });
});
