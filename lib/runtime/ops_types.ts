import { InputError, OptionError } from '../errors.js';

export type Rank = 1 | 2 | 3 | 4;

/** Sizes of an array of R dims, outermost first. */
export type ShapeOf<R extends Rank> = {
  1: readonly [number];
  2: readonly [number, number];
  3: readonly [number, number, number];
  4: readonly [number, number, number, number];
}[R];

/** Row-major floats and their shape; the number of dims is part of the type. */
export interface NdArray<R extends Rank = Rank> {
  readonly data: Float32Array;
  readonly shape: ShapeOf<R>;
}

export interface CallOptions {
  /** Where it runs: `cpu` (default), `cpu:avx2` …; `devices()` lists them. */
  readonly device?: string;
}

type Nested1 = readonly number[];
type Nested2 = readonly Nested1[];
type Nested3 = readonly Nested2[];

/** Unlike `every`, this also sees the holes of a list. */
const holdsNumbers = (list: readonly unknown[]): boolean => list.findIndex((v) => typeof v !== 'number') < 0;

function isFlat(x: unknown): x is Float32Array | readonly number[] {
  return x instanceof Float32Array || (Array.isArray(x) && holdsNumbers(x));
}

/** Shape of nested lists; throws where they are ragged or hold something else than numbers. */
function flatten(nested: unknown, into: number[], depth = 0): number[] {
  if (!Array.isArray(nested)) throw new InputError('array: nested lists must hold numbers', { found: typeof nested });
  if (holdsNumbers(nested)) {
    for (const v of nested) into.push(v as number);
    return [nested.length];
  }
  if (depth > 2) throw new InputError('array: lists nested too deeply', { expected: 'at most 4 dims' });
  const shapes = Array.from(nested as readonly unknown[], (part) => flatten(part, into, depth + 1));
  const odd = shapes.find((s) => s.join() !== shapes[0]!.join());
  if (odd !== undefined)
    throw new InputError('array: nested lists differ in length', { expected: shapes[0], found: odd });
  return [nested.length, ...shapes[0]!];
}

/**
 * An array of floats. `array([[1, 2], [3, 4]])` takes nested lists, `array(floats, [rows, cols])` flat ones, row by row; a
 * Float32Array is used as it is, not copied. Throws an InputError where lists are ragged or the length does not fit.
 */
export function array(nested: Nested3): NdArray<3>;
export function array(nested: Nested2): NdArray<2>;
export function array(nested: Nested1): NdArray<1>;
export function array<const S extends ShapeOf<Rank>>(data: ArrayLike<number>, shape: S): NdArray<S['length']>;
export function array(given: unknown, shape?: readonly number[]): NdArray {
  let made: { data: unknown; shape: readonly number[] };
  if (shape === undefined) {
    const into: number[] = [];
    const found = given instanceof Float32Array ? [given.length] : flatten(given, into);
    made = { data: given instanceof Float32Array ? given : Float32Array.from(into), shape: found };
  } else {
    if (!Array.isArray(shape))
      throw new InputError('array: shape', { name: 'shape', expected: 'a list of 1 to 4 sizes', found: shape });
    if (!isFlat(given))
      throw new InputError('array: data', { expected: 'a Float32Array or a list of numbers', found: typeof given });
    made = { data: given instanceof Float32Array ? given : Float32Array.from(given), shape: [...shape] };
  }
  return checkArray('array', 'data', made, [1, 2, 3, 4]);
}

/** The argument is an array of one of these ranks whose length fits its shape. */
export function checkArray(op: string, name: string, x: unknown, ranks: readonly number[]): NdArray {
  const where = `${op}: ${name}`;
  const { data, shape } = (typeof x === 'object' && x !== null ? x : {}) as { data?: unknown; shape?: unknown };
  if (!(data instanceof Float32Array) || !ArrayBuffer.isView(data) || !Array.isArray(shape)) {
    throw new InputError(`${where} is not an array`, {
      name,
      expected: '{ data: Float32Array, shape }, as array() makes it',
      found: typeof x,
    });
  }
  if (!shape.every((n) => Number.isSafeInteger(n) && n >= 0))
    throw new InputError(`${where}: shape`, { name, expected: 'integers from 0', found: shape });
  if (!ranks.includes(shape.length))
    throw new InputError(`${where}: rank`, {
      name,
      expected: ranks.join(' or '),
      found: `${shape.length}, shape [${shape}]`,
    });
  const count = shape.reduce((a: number, b: number) => a * b, 1);
  if (data.length !== count)
    throw new InputError(`${where}: length for shape [${shape}]`, { name, expected: count, found: data.length });
  return x as NdArray;
}

/** The argument has this shape; `expected` entries may be words for what they must equal. */
export function checkShape(op: string, name: string, x: NdArray, expected: readonly number[]): void {
  if (x.shape.length === expected.length && expected.every((n, i) => n === x.shape[i])) return;
  throw new InputError(`${op}: ${name}: shape`, { name, expected: `[${expected}]`, found: `[${x.shape}]` });
}

/** Options are an object that holds no other names than these. */
export function checkOptions(op: string, options: object, known: readonly string[]): void {
  if (typeof options !== 'object' || options === null)
    throw new OptionError(`${op}: options`, { expected: 'an object', found: typeof options });
  for (const name of Object.keys(options)) {
    if (name !== 'device' && !known.includes(name))
      throw new OptionError(`${op}: unknown option`, { name, expected: ['device', ...known], found: name });
  }
  const device: unknown = (options as CallOptions).device;
  if (device !== undefined && typeof device !== 'string')
    throw new OptionError(`${op}: device`, { name: 'device', expected: 'a name', found: typeof device });
}

/** A finite number, at least `least` where that is given. */
export function checkNumber(op: string, name: string, value: unknown, least = Number.NEGATIVE_INFINITY): number {
  if (typeof value === 'number' && Number.isFinite(value) && value >= least) return value;
  throw new OptionError(`${op}: ${name}`, {
    name,
    expected: least === Number.NEGATIVE_INFINITY ? 'a finite number' : `a number of at least ${least}`,
    found: value,
  });
}

export function checkInteger(op: string, name: string, value: unknown, least: number): number {
  if (Number.isSafeInteger(value) && (value as number) >= least) return value as number;
  throw new OptionError(`${op}: ${name}`, { name, expected: `an integer of at least ${least}`, found: value });
}

export function checkFlag(op: string, name: string, value: unknown): boolean {
  if (typeof value === 'boolean') return value;
  throw new OptionError(`${op}: ${name}`, { name, expected: 'a boolean', found: value });
}
