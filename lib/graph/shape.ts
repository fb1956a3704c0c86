import { GraphError } from '../errors.js';

/** A named dimension. `size` undefined: it comes with each step (rows, sequences …). The name is part of its type. */
export interface Dim<N extends string = string> {
  readonly name: N;
  readonly size: number | undefined;
}

/** A dimension of fixed size. */
export function dim<N extends string>(name: N, size: number): Dim<N> {
  if (!Number.isSafeInteger(size) || size < 1)
    throw new GraphError(`dim ${name}`, { expected: 'a positive integer', found: size });
  return { name, size };
}

/** A dimension whose size comes with each step. */
export function stepDim<N extends string>(name: N): Dim<N> {
  return { name, size: undefined };
}

/** Dims of a tuple of names: `DimsOf<['rows', 'hidden']>` is `[Dim<'rows'>, Dim<'hidden'>]`. */
export type DimsOf<S extends readonly string[]> = { readonly [I in keyof S]: Dim<S[I]> };

/** For messages: (rows, hidden = 64). */
export function shapeText(shape: readonly Dim[]): string {
  return `(${shape.map((d) => (d.size === undefined ? d.name : `${d.name} = ${d.size}`)).join(', ')})`;
}

/** Throws unless both name the same dimension with the same size; equal names with different sizes are a config fault. */
export function sameDim(where: string, expected: Dim, found: Dim): void {
  if (expected.name === found.name && expected.size === found.size) return;
  throw new GraphError(`${where}: dims differ`, { expected: shapeText([expected]), found: shapeText([found]) });
}
