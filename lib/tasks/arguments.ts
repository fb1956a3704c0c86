import { OptionError } from '../errors.js';

/** Throws an OptionError unless `signal` is absent or an AbortSignal. */
export function checkSignal(signal: unknown): void {
  if (signal === undefined || signal instanceof AbortSignal) return;
  throw new OptionError('bad signal', { name: 'signal', expected: 'an AbortSignal', found: signal });
}

/** Throws an OptionError unless `given` is an object that holds no other names than `known`. */
export function checkObject(what: string, given: unknown, known?: readonly string[]): void {
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    throw new OptionError(`${what} must be an object`, { name: what, expected: 'an object', found: given });
  }
  const unknown = known === undefined ? undefined : Object.keys(given).find((name) => !known.includes(name));
  if (unknown === undefined) return;
  throw new OptionError(`${what}: unknown name ${unknown}`, {
    name: unknown,
    expected: known?.join(', '),
    found: unknown,
  });
}
