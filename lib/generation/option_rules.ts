/** Checks of single option values; every failure is an `OptionError` that names option, expected and found. */
import { OptionError } from '../errors.js';
import { editDistance } from '../nearest.js';

export type Rule = (value: unknown, name: string) => void;

export interface Range {
  readonly min?: number;
  readonly max?: number;
  /** Lower bound that is itself refused. */
  readonly above?: number;
}

const show = (value: unknown): unknown =>
  typeof value === 'number' && !Number.isFinite(value)
    ? String(value)
    : typeof value === 'function' || typeof value === 'symbol' || value === undefined
      ? typeof value
      : value;

export function refuse(name: string, expected: string, found: unknown, hint?: string): never {
  throw new OptionError(`option ${name} is not usable`, { name, expected, found: show(found), hint });
}

function rangeText(kind: string, range: Range): string {
  const low = range.above !== undefined ? `above ${range.above}` : range.min !== undefined ? `from ${range.min}` : '';
  return [kind, low, range.max !== undefined ? `up to ${range.max}` : ''].filter((part) => part !== '').join(' ');
}

function inside(value: number, range: Range): boolean {
  return value >= (range.min ?? -Infinity) && value <= (range.max ?? Infinity) && value > (range.above ?? -Infinity);
}

export function number(range: Range): Rule {
  return (value, name) => {
    if (typeof value !== 'number' || !Number.isFinite(value) || !inside(value, range)) {
      refuse(name, rangeText('a number', range), value);
    }
  };
}

export function integer(range: Range): Rule {
  return (value, name) => {
    if (typeof value !== 'number' || !Number.isSafeInteger(value) || !inside(value, range)) {
      refuse(name, rangeText('an integer', range), value);
    }
  };
}

export const boolean: Rule = (value, name) => {
  if (typeof value !== 'boolean') refuse(name, 'true or false', value);
};

/** A list of strings, well-formed, 1 to `bytes` UTF-8 bytes each. */
export function strings(count: number, bytes: number): Rule {
  return (value, name) => {
    if (!Array.isArray(value)) refuse(name, 'an array of strings', value);
    if (value.length > count) refuse(name, `at most ${count} strings`, value.length);
    for (const [i, text] of value.entries()) {
      const size = typeof text === 'string' && !/\p{Surrogate}/u.test(text) ? Buffer.byteLength(text) : -1;
      if (size < 1 || size > bytes) refuse(`${name}[${i}]`, `a well-formed string of 1 to ${bytes} bytes`, text);
    }
  };
}

/** A list of ids; their upper bound, the vocabulary, is checked by `checkIds`. */
export function ids(count: number): Rule {
  return (value, name) => {
    if (!Array.isArray(value)) refuse(name, 'an array of token ids', value);
    if (value.length > count) refuse(name, `at most ${count} ids`, value.length);
    for (const [i, id] of value.entries()) integer({ min: 0, max: 2 ** 31 - 1 })(id, `${name}[${i}]`);
  };
}

/** A list of at most `count` values that all obey a rule. */
export function list(count: number, each: Rule): Rule {
  return (value, name) => {
    if (!Array.isArray(value)) refuse(name, 'an array', value);
    if (value.length > count) refuse(name, `at most ${count} entries`, value.length);
    for (const [i, item] of value.entries()) each(item, `${name}[${i}]`);
  };
}

/** Refuses an id outside the vocabulary (rows of the logits). */
export function checkIds(list: Iterable<number>, vocab: number, name: string): void {
  for (const id of list) {
    if (!Number.isInteger(id) || id < 0 || id >= vocab) refuse(name, `token ids from 0 to ${vocab - 1}`, id);
  }
}

/** Whether a value can hold named options: no list, Map, Promise, Date or buffer, whose contents would be ignored. */
export function isRecord(value: unknown): value is object {
  return Object.prototype.toString.call(value) === '[object Object]';
}

/** An object with these fields and no others; undefined ones count as absent. */
export function fields(rules: Readonly<Record<string, Rule>>, required: readonly string[]): Rule {
  return (value, name) => {
    if (!isRecord(value)) {
      refuse(name, `an object with ${Object.keys(rules).join(', ')}`, value);
    }
    checkNames(value, rules, `${name}.`);
    for (const field of required) {
      if ((value as Record<string, unknown>)[field] === undefined) refuse(`${name}.${field}`, 'a value', undefined);
    }
  };
}

/** The known name that is spelled most like `name`; undefined when none is near. */
export function nearestName(name: string, known: readonly string[]): string | undefined {
  const plain = (text: string): string => text.slice(0, 64).replaceAll(/[_-]/g, '').toLowerCase();
  let best: string | undefined;
  let least = Math.max(2, Math.floor(name.length / 3)) + 1;
  for (const candidate of known) {
    const d = editDistance(plain(name), plain(candidate));
    if (d < least) [best, least] = [candidate, d];
  }
  return best;
}

/** Applies each rule to its value, refusing names without one. */
export function checkNames(options: object, rules: Readonly<Record<string, Rule>>, prefix = ''): void {
  for (const [name, value] of Object.entries(options)) {
    if (!Object.hasOwn(rules, name)) {
      const near = nearestName(name, Object.keys(rules));
      throw new OptionError(`unknown option ${prefix}${name}`, {
        name: `${prefix}${name}`,
        hint: near === undefined ? `Known: ${Object.keys(rules).join(', ')}` : `Did you mean ${prefix}${near}?`,
      });
    }
    if (value !== undefined) rules[name]!(value, prefix + name);
  }
}
