/**
 * The kernels as direct calls: `await softmax(array([[1, 2, 3]]))`. Each call runs off the event loop as a program of one
 * node, compiled at first use. Wrong shapes throw an InputError, wrong options an OptionError, absent devices a DeviceError.
 */
import { InputError, OptionError } from '../errors.js';
import { type Activation, activations } from '../ops/index.js';
import { type CallNode, callNodes, disposeCalls, type Operand } from './ops_calls.js';
import {
  type CallOptions,
  checkArray,
  checkFlag,
  checkNumber,
  checkOptions,
  checkShape,
  type NdArray,
  type Rank,
  type ShapeOf,
} from './ops_types.js';

export { type Attended, type AttentionOptions, attention, type RopeOptions, rope } from './ops_attention.js';
export { array, type CallOptions, type NdArray, type Rank, type ShapeOf } from './ops_types.js';

const anyRank = [1, 2, 3, 4];

/** x as (rows, cols): the last dim, and all others as one. */
function matrix(x: NdArray, rows = 'rows', cols = 'cols'): Operand {
  const width = x.shape.at(-1)!;
  const count = x.shape.slice(0, -1).reduce((a, b) => a * b, 1);
  return { dtype: 'f32', data: x.data, dims: [rows, cols], sizes: [count, width] };
}

function vector(x: NdArray, name = 'cols'): Operand {
  return { dtype: 'f32', data: x.data, dims: [name], sizes: [x.shape[0]] };
}

async function call<R extends Rank>(
  options: CallOptions,
  nodes: readonly CallNode[],
  operands: Record<string, Operand>,
  shape: ShapeOf<R>,
): Promise<NdArray<R>> {
  const [data] = await callNodes(options.device ?? 'cpu', nodes, operands);
  return { data: data!, shape: [...shape] as unknown as ShapeOf<R> };
}

/** One op over (rows, cols) of x whose result is like x. */
function rowwise<R extends Rank>(
  op: string,
  attrs: CallNode['attrs'],
  x: NdArray<R>,
  options: CallOptions,
  name = 'x',
  more: Record<string, Operand> = {},
): Promise<NdArray<R>> {
  const operands = { [name]: matrix(x), ...more };
  const inputs = Object.fromEntries(Object.keys(operands).map((n) => [n, n]));
  return call<R>(options, [{ op, attrs, inputs, outputs: [['rows', 'cols']] }], operands, x.shape);
}

export interface MatmulOptions extends CallOptions {
  /** b is (…, n, k): a bᵀ. */
  readonly transposeB?: boolean;
}

/** a (…, m, k) times b (…, k, n) → (…, m, n); leading dims are equal. Both have rank 2, 3 or 4. */
export async function matmul<R extends 2 | 3 | 4>(
  a: NdArray<R>,
  b: NoInfer<NdArray<R>>,
  options: MatmulOptions = {},
): Promise<NdArray<R>> {
  checkOptions('matmul', options, ['transposeB']);
  const turned = checkFlag('matmul', 'transposeB', options.transposeB ?? false);
  checkArray('matmul', 'a', a, [2, 3, 4]);
  checkArray('matmul', 'b', b, [a.shape.length]);
  const [m, k, n] = [a.shape.at(-2)!, a.shape.at(-1)!, b.shape.at(turned ? -2 : -1)!];
  const batch = a.shape.slice(0, -2);
  checkShape('matmul', 'b', b, [...batch, ...(turned ? [n, k] : [k, n])]);
  const leading = batch.map((_, i) => `batch${i}`);
  const operands: Record<string, Operand> = {
    a: { dtype: 'f32', data: a.data, dims: [...leading, 'm', 'k'], sizes: a.shape },
    b: { dtype: 'f32', data: b.data, dims: [...leading, ...(turned ? ['n', 'k'] : ['k', 'n'])], sizes: b.shape },
  };
  const node: CallNode = {
    op: 'matmul',
    attrs: { transpose_b: turned },
    inputs: { a: 'a', b: 'b' },
    outputs: [[...leading, 'm', 'n']],
  };
  return call<R>(options, [node], operands, [...batch, m, n] as unknown as ShapeOf<R>);
}

/** x (…, in), weight (out, in), bias (out) → x weightᵀ + bias (…, out); torch.nn.Linear. */
export async function linear<R extends Rank>(
  x: NdArray<R>,
  weight: NdArray<2>,
  bias?: NdArray<1>,
  options: CallOptions = {},
): Promise<NdArray<R>> {
  checkOptions('linear', options, []);
  checkArray('linear', 'x', x, anyRank);
  checkArray('linear', 'weight', weight, [2]);
  const [out, into] = [weight.shape[0], x.shape.at(-1)!];
  checkShape('linear', 'weight', weight, [out, into]);
  const operands: Record<string, Operand> = { x: matrix(x, 'rows', 'in'), weight: matrix(weight, 'out', 'in') };
  const nodes: CallNode[] = [
    { op: 'matmul', attrs: { transpose_b: true }, inputs: { a: 'x', b: 'weight' }, outputs: [['rows', 'out']] },
  ];
  if (bias !== undefined) {
    checkArray('linear', 'bias', bias, [1]);
    checkShape('linear', 'bias', bias, [out]);
    operands.bias = vector(bias, 'out');
    nodes.push({ op: 'add', attrs: {}, inputs: { a: 0, b: 'bias' }, outputs: [['rows', 'out']] });
  }
  return call<R>(options, nodes, operands, [...x.shape.slice(0, -1), out] as unknown as ShapeOf<R>);
}

/** exp(x − max) / Σ exp(x − max) over the last dim. A row of −∞ gives NaN. */
export async function softmax<R extends Rank>(x: NdArray<R>, options: CallOptions = {}): Promise<NdArray<R>> {
  checkOptions('softmax', options, []);
  checkArray('softmax', 'x', x, anyRank);
  return rowwise('softmax', {}, x, options);
}

export interface RmsNormOptions extends CallOptions {
  /** Added to the mean square; default 1e-6. */
  readonly eps?: number;
  /** Added to the weight: 1 in Gemma; default 0. */
  readonly offset?: number;
}

/** x (…, cols), weight (cols) → x / √(mean x² + eps) · (offset + weight); Zhang & Sennrich 2019. */
export async function rmsNorm<R extends Rank>(
  x: NdArray<R>,
  weight: NdArray<1>,
  options: RmsNormOptions = {},
): Promise<NdArray<R>> {
  checkOptions('rmsNorm', options, ['eps', 'offset']);
  const attrs = {
    eps: checkNumber('rmsNorm', 'eps', options.eps ?? 1e-6, 0),
    offset: checkNumber('rmsNorm', 'offset', options.offset ?? 0),
  };
  checkArray('rmsNorm', 'x', x, anyRank);
  checkArray('rmsNorm', 'weight', weight, [1]);
  checkShape('rmsNorm', 'weight', weight, [x.shape.at(-1)!]);
  return rowwise('rms_norm', attrs, x, options, 'x', { weight: vector(weight) });
}

export interface LayerNormOptions extends CallOptions {
  /** Added to the variance; default 1e-5. */
  readonly eps?: number;
}

/** x (…, cols), weight and bias (cols) → (x − mean) / √(var + eps) · weight + bias; Ba et al. 2016, torch.nn.LayerNorm. */
export async function layerNorm<R extends Rank>(
  x: NdArray<R>,
  weight: NdArray<1>,
  bias?: NdArray<1>,
  options: LayerNormOptions = {},
): Promise<NdArray<R>> {
  checkOptions('layerNorm', options, ['eps']);
  const attrs = { eps: checkNumber('layerNorm', 'eps', options.eps ?? 1e-5, 0) };
  checkArray('layerNorm', 'x', x, anyRank);
  const more: Record<string, Operand> = {};
  for (const [name, w] of Object.entries({ weight, bias })) {
    if (w === undefined && name === 'bias') continue;
    checkShape('layerNorm', name, checkArray('layerNorm', name, w, [1]), [x.shape.at(-1)!]);
    more[name] = vector(w!);
  }
  return rowwise('layer_norm', attrs, x, options, 'x', more);
}

function checkFn(op: string, fn: Activation): Activation {
  if (activations.includes(fn)) return fn;
  throw new InputError(`${op}: fn`, { name: 'fn', expected: activations, found: fn });
}

/** fn(x), element by element: gelu (by erf), gelu_tanh, silu, quick_gelu, relu, tanh, sigmoid, exp. */
export async function activation<R extends Rank>(
  x: NdArray<R>,
  fn: Activation,
  options: CallOptions = {},
): Promise<NdArray<R>> {
  checkOptions('activation', options, []);
  checkArray('activation', 'x', x, anyRank);
  return rowwise('activation', { fn: checkFn('activation', fn) }, x, options);
}

/** x Φ(x) by erf (Hendrycks & Gimpel 2016); GPT-2's tanh form is `activation(x, 'gelu_tanh')`. */
export function gelu<R extends Rank>(x: NdArray<R>, options: CallOptions = {}): Promise<NdArray<R>> {
  return activation(x, 'gelu', options);
}

/** x / (1 + exp(−x)). */
export function silu<R extends Rank>(x: NdArray<R>, options: CallOptions = {}): Promise<NdArray<R>> {
  return activation(x, 'silu', options);
}

/** max(x, 0). */
export function relu<R extends Rank>(x: NdArray<R>, options: CallOptions = {}): Promise<NdArray<R>> {
  return activation(x, 'relu', options);
}

export function tanh<R extends Rank>(x: NdArray<R>, options: CallOptions = {}): Promise<NdArray<R>> {
  return activation(x, 'tanh', options);
}

/** 1 / (1 + exp(−x)). */
export function sigmoid<R extends Rank>(x: NdArray<R>, options: CallOptions = {}): Promise<NdArray<R>> {
  return activation(x, 'sigmoid', options);
}

/** a and b of equal shapes. */
async function pairwise<R extends Rank>(
  op: string,
  attrs: CallNode['attrs'],
  names: readonly [string, string],
  a: NdArray<R>,
  b: NdArray<R>,
  options: CallOptions,
): Promise<NdArray<R>> {
  checkOptions(op, options, []);
  checkArray(op, names[0], a, anyRank);
  checkArray(op, names[1], b, anyRank);
  checkShape(op, names[1], b, a.shape);
  return rowwise(op, attrs, a, options, names[0], { [names[1]]: matrix(b) });
}

/** fn(gate) · up over equal shapes: SwiGLU, GeGLU (Shazeer 2020). */
export async function gated<R extends Rank>(
  gate: NdArray<R>,
  up: NoInfer<NdArray<R>>,
  fn: Activation,
  options: CallOptions = {},
): Promise<NdArray<R>> {
  return pairwise('gated', { fn: checkFn('gated', fn) }, ['gate', 'up'], gate, up, options);
}

/** a + b over equal shapes. */
export function add<R extends Rank>(
  a: NdArray<R>,
  b: NoInfer<NdArray<R>>,
  options: CallOptions = {},
): Promise<NdArray<R>> {
  return pairwise('add', {}, ['a', 'b'], a, b, options);
}

/** a · b, element by element, over equal shapes. */
export function mul<R extends Rank>(
  a: NdArray<R>,
  b: NoInfer<NdArray<R>>,
  options: CallOptions = {},
): Promise<NdArray<R>> {
  return pairwise('mul', {}, ['a', 'b'], a, b, options);
}

/** cap · tanh(x / cap): Gemma 2's soft limit. */
export async function softcap<R extends Rank>(
  x: NdArray<R>,
  cap: number,
  options: CallOptions = {},
): Promise<NdArray<R>> {
  checkOptions('softcap', options, []);
  checkArray('softcap', 'x', x, anyRank);
  if (!(checkNumber('softcap', 'cap', cap) > 0))
    throw new OptionError('softcap: cap', { name: 'cap', expected: 'a positive number', found: cap });
  return rowwise('softcap', { cap }, x, options);
}

/**
 * Frees what the calls so far compiled; a later call compiles anew. Not needed before the process ends: idle programs do
 * not keep it alive.
 */
export function dispose(): Promise<void> {
  return disposeCalls();
}
