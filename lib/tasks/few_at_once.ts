import { InputError } from '../errors.js';

/**
 * Results of a list in its order, at most `atOnce` of them under way, so that memory does not grow with the list. The first
 * failure ends the call and stops what runs, as `signal` does. Throws InputError for an empty list.
 */
export async function fewAtOnce<I, O>(
  inputs: readonly I[],
  atOnce: number,
  signal: AbortSignal | undefined,
  one: (input: I, signal: AbortSignal) => Promise<O>,
): Promise<O[]> {
  if (inputs.length === 0)
    throw new InputError('the list of inputs is empty', { name: 'inputs', expected: 'at least one' });
  const stop = new AbortController();
  const both = signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]);
  const list = [...inputs]; // the caller may change its own meanwhile
  const found = new Array<O>(list.length);
  let next = 0;
  const work = async (): Promise<void> => {
    for (let i = next++; i < list.length && !stop.signal.aborted; i = next++) found[i] = await one(list[i]!, both);
  };
  try {
    await Promise.all(Array.from({ length: Math.min(atOnce, list.length) }, work));
    return found;
  } finally {
    stop.abort();
  }
}
