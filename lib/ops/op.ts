import { GraphError } from '../errors.js';
import type { Dim } from '../graph/shape.js';
import { shapeText } from '../graph/shape.js';

/** What an op is called and takes; one test compares the list with the native one. '?': may be absent; '...': any more. */
export interface OpInfo {
  readonly name: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attrs: Readonly<Record<string, 'integer' | 'number' | 'boolean' | readonly string[]>>;
}

/** Throws a GraphError that names the op unless `ok`. */
export function require(op: OpInfo, ok: boolean, what: string, expected: unknown, found: unknown): asserts ok {
  if (!ok) throw new GraphError(`${op.name}: ${what}`, { expected, found });
}

/** A dim whose size is known when the graph is built. */
export function fixed(op: OpInfo, d: Dim): number {
  require(op, d.size !== undefined, `dim ${d.name} needs a fixed size`, 'a size', shapeText([d]));
  return d.size;
}

/** Both must be the same dimension. */
export function same(op: OpInfo, what: string, expected: Dim, found: Dim): void {
  require(op, expected.name === found.name && expected.size === found.size, what, shapeText([expected]), shapeText([
    found,
  ]));
}

export function integer(op: OpInfo, name: string, value: number, least: number): number {
  require(op, Number.isSafeInteger(value) && value >= least, name, `an integer of at least ${least}`, value);
  return value;
}

export function finite(op: OpInfo, name: string, value: number): number {
  require(op, Number.isFinite(value), name, 'a finite number', value);
  return value;
}
