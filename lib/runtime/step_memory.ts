import { type ErrorFacts, OutOfMemoryError } from '../errors.js';
import type { Program } from '../graph/program.js';
import type { Executable } from './executable.js';

type Sizes = Readonly<Record<string, number>>;

/**
 * Bytes that a step of these dims needs at least: its outputs, and the most temps that live at the same time. NaN where a
 * dim has no size.
 */
export function stepBytes(program: Program, dims: Sizes): number {
  const { nodes, outputs, values } = program;
  const given = new Set(outputs.map((o) => o.value));
  const bytes = (v: number): number =>
    values[v]!.shape.reduce<number>((n, d) => n * (typeof d === 'number' ? d : (dims[d] ?? Number.NaN)), 4);
  const last = new Map<number, number>();
  for (const [n, node] of nodes.entries()) for (const v of [...node.outputs, ...node.inputs]) last.set(v, n);
  let [live, most] = [0, 0];
  for (const [n, node] of nodes.entries()) {
    const made = node.outputs.filter((v) => !given.has(v));
    live += made.reduce((sum, v) => sum + bytes(v), 0);
    if (!(live <= most)) most = live;
    const read = node.inputs.filter((v) => v >= 0 && values[v]!.kind === 'temp' && !given.has(v));
    for (const v of new Set([...read, ...made])) if (last.get(v) === n) live -= bytes(v);
  }
  return [...given].reduce((sum, v) => sum + bytes(v), most);
}

/**
 * Throws an OutOfMemoryError where more bytes are needed than there are: memory that is asked for and not there would end
 * the process, not the call.
 */
export function checkFree(needed: number, found: number, message: string, facts: ErrorFacts): void {
  if (needed > found)
    throw new OutOfMemoryError(message, { ...facts, expected: `${needed} bytes`, found: `${found} bytes` });
}

/** Throws an OutOfMemoryError where a step needs more than is free. */
export function checkStepMemory(executable: Executable, dims: Sizes, message: string, facts: ErrorFacts): void {
  checkFree(
    stepBytes(executable.program, dims),
    executable.freeBytes() + executable.profile().arenaBytes,
    message,
    facts,
  );
}
