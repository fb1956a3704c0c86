import { type Command, InvalidArgumentError } from 'commander';
import { OptionError } from '../errors.js';

/** What a command works with besides its own options. */
export interface Context {
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal;
}

/** One file per command: `define` adds arguments, options and the action. */
export interface CommandModule {
  define(command: Command, context: Context): void;
}

/** A use of the command line that no library call would catch: exit code 2. */
export class UsageError extends Error {
  readonly hint: string | undefined;

  constructor(message: string, hint?: string) {
    super(message);
    this.hint = hint;
  }
}

/** Argument parser: a decimal number; ranges are the library's business. */
export function numberOf(text: string): number {
  const value = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i.test(text) ? Number(text) : Number.NaN;
  if (!Number.isFinite(value)) throw new InvalidArgumentError('It is not a number.');
  return value;
}

/** Argument parser: a decimal integer. */
export function integerOf(text: string): number {
  const value = /^[+-]?\d+$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(value)) throw new InvalidArgumentError('It is not an integer.');
  return value;
}

/** Argument parser: an integer of any size. */
export function bigintOf(text: string): bigint {
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError('It is not a whole number.');
  return BigInt(text);
}

/** Argument parser: up to `most` numbers with commas between them. */
export function numbersOf(most: number): (text: string) => number[] {
  return (text) => {
    const parts = text.split(',');
    if (parts.length > most) throw new InvalidArgumentError(`At most ${most} numbers with commas between them.`);
    return parts.map((part) => numberOf(part.trim()));
  };
}

/** Argument parser for options that may be given several times. */
export function collect<T>(parse: (text: string) => T): (text: string, before: T[] | undefined) => T[] {
  return (text, before) => [...(before ?? []), parse(text)];
}

/** The same object without the fields that are undefined. */
export function given<T extends object>(fields: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as never;
}

/** An OptionError of the library with the names of the command line: `flags` by the library's names. Other errors stay. */
export function inFlags(error: unknown, flags: Readonly<Record<string, string>>): unknown {
  if (!(error instanceof OptionError)) return error;
  const { name = '', expected, found, hint } = error.facts;
  const flag = flags[name];
  if (flag === undefined) return error;
  // The library finds a name where it knows none such.
  if (found === name) return new OptionError(`${flag} has no meaning for this model`, { name: flag });
  const spelled = (text: unknown): unknown =>
    typeof text === 'string' ? text.replace(/\b[a-z]+[A-Z]\w*\b/g, (word) => flags[word] ?? word) : text;
  return new OptionError(`bad ${flag}`, {
    ...{ name: flag, found },
    ...(expected === undefined ? {} : { expected: spelled(expected) }),
    ...(hint === undefined ? {} : { hint: spelled(hint) as string }),
  });
}
