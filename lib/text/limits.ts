/** Limits on text, checked before any work is done. */
import { InputError } from '../errors.js';
import type { Segment } from './protocol.js';

/** Longest text of one call, in UTF-16 units. */
export const maxTextLength: number = 16 * 1024 * 1024;
/** A normaliser may expand a text up to this length. */
export const maxNormalizedLength: number = 4 * maxTextLength;

export function checkText(text: unknown): void {
  if (typeof text !== 'string')
    throw new InputError('text must be a string', { expected: 'string', found: typeof text });
  if (text.length > maxTextLength) {
    throw new InputError('text is too long to tokenise in one call', {
      expected: `at most ${maxTextLength} UTF-16 units`,
      found: text.length,
    });
  }
}

/** Throws where a normaliser made a text too long. */
export function checkNormalized(normal: string): void {
  if (normal.length <= maxNormalizedLength) return;
  throw new InputError('the text grows too long when normalised', {
    expected: `at most ${maxNormalizedLength} UTF-16 units`,
    found: normal.length,
  });
}

/** Both texts of a pair: strings, within the limit together. */
export function checkPair(first: unknown, second: unknown): void {
  checkText(first);
  checkText(second);
  const total = (first as string).length + (second as string).length;
  if (total > maxTextLength) {
    throw new InputError('the pair is too long to tokenise in one call', { expected: maxTextLength, found: total });
  }
}

/** Validates the parts of a text and copies them to plain data. */
export function checkSegments(segments: readonly Segment[]): Segment[] {
  if (!Array.isArray(segments)) throw new InputError('segments must be an array', { found: typeof segments });
  let total = 0;
  const copy = segments.map((segment: Segment, i) => {
    if (typeof segment?.special !== 'boolean' || typeof segment.text !== 'string') {
      throw new InputError(`segments[${i}] must be {text: string, special: boolean}`);
    }
    total += segment.text.length;
    return { text: segment.text, special: segment.special };
  });
  if (total > maxTextLength) {
    throw new InputError('segments are too long to tokenise in one call', { expected: maxTextLength, found: total });
  }
  return copy;
}
