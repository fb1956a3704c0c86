import type { Tensor } from '../graph/graph.js';
import { finite, type OpInfo, require, same } from './op.js';

export const activations = ['gelu', 'gelu_tanh', 'silu', 'quick_gelu', 'relu', 'tanh', 'sigmoid', 'exp'] as const;
export type Activation = (typeof activations)[number];

export const activationInfo: OpInfo = { name: 'activation', inputs: ['x'], outputs: ['y'], attrs: { fn: activations } };
export const gatedInfo: OpInfo = { name: 'gated', inputs: ['gate', 'up'], outputs: ['y'], attrs: { fn: activations } };
export const addInfo: OpInfo = { name: 'add', inputs: ['a', 'b'], outputs: ['y'], attrs: {} };
export const mulInfo: OpInfo = { name: 'mul', inputs: ['a', 'b'], outputs: ['y'], attrs: {} };
export const scaleInfo: OpInfo = {
  name: 'scale',
  inputs: ['x'],
  outputs: ['y'],
  attrs: { factor: 'number', offset: 'number' },
};
export const softcapInfo: OpInfo = { name: 'softcap', inputs: ['x'], outputs: ['y'], attrs: { cap: 'number' } };

type F32<S extends readonly string[]> = Tensor<S, 'f32'>;

function one<S extends readonly string[]>(
  op: OpInfo,
  inputs: readonly Tensor[],
  attrs: Record<string, number | string>,
  like: F32<S>,
): F32<S> {
  const [y] = like.graph.node(op.name, inputs, attrs, [{ dims: like.dims, dtype: 'f32' }]);
  return y as unknown as F32<S>;
}

/** fn(x), element by element; gelu by erf, gelu_tanh as GPT-2's gelu_new. */
export function activation<S extends readonly string[]>(x: F32<S>, fn: Activation): F32<S> {
  return one(activationInfo, [x as unknown as Tensor], { fn }, x);
}

/** fn(gate) · up: SwiGLU, GeGLU (Shazeer 2020). */
export function gated<S extends readonly string[]>(gate: F32<S>, up: F32<S>, fn: Activation): F32<S> {
  sameShape(gatedInfo, gate, up);
  return one(gatedInfo, [gate as unknown as Tensor, up as unknown as Tensor], { fn }, gate);
}

export function add<S extends readonly string[]>(a: F32<S>, b: F32<S>): F32<S> {
  sameShape(addInfo, a, b);
  return one(addInfo, [a as unknown as Tensor, b as unknown as Tensor], {}, a);
}

export function mul<S extends readonly string[]>(a: F32<S>, b: F32<S>): F32<S> {
  sameShape(mulInfo, a, b);
  return one(mulInfo, [a as unknown as Tensor, b as unknown as Tensor], {}, a);
}

/** x · factor + offset. */
export function scale<S extends readonly string[]>(x: F32<S>, factor: number, offset = 0): F32<S> {
  return one(
    scaleInfo,
    [x as unknown as Tensor],
    { factor: finite(scaleInfo, 'factor', factor), offset: finite(scaleInfo, 'offset', offset) },
    x,
  );
}

/** cap · tanh(x / cap): Gemma 2's final logits. */
export function softcap<S extends readonly string[]>(x: F32<S>, cap: number): F32<S> {
  require(softcapInfo, finite(softcapInfo, 'cap', cap) > 0, 'cap', 'a positive number', cap);
  return one(softcapInfo, [x as unknown as Tensor], { cap }, x);
}

function sameShape<S extends readonly string[]>(op: OpInfo, a: F32<S>, b: F32<S>): void {
  require(op, a.dims.length === b.dims.length, 'rank', a.dims.length, b.dims.length);
  for (let i = 0; i < a.dims.length; i++) same(op, `dim ${i}`, a.dims[i]!, b.dims[i]!);
}
