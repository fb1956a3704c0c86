import { CorruptFileError, UnsupportedError } from '../errors.js';
import { maxChannels, maxSampleRate, minSampleRate } from './limits.js';

/** Bits of a sample that each kind of WAV may have; block codecs (ADPCM) count theirs otherwise. */
const bitsOf: Readonly<Record<number, readonly number[]>> = { 1: [8, 16, 24, 32], 3: [32, 64], 6: [8], 7: [8] };

/** Pipes write a length that they do not know as 0 or near 2^31 or 2^32. */
const unknownLength = (size: number): boolean => size === 0 || size >= 0x7fff_f000;

/**
 * Checks a WAV header before it is decoded: chunk sizes alone say how far a chunk reads (RIFF, 1991). `head`: the first bytes;
 * `length`: of the whole file. Returns what the
 * decoder's positive samples must be multiplied by. Throws CorruptFileError, UnsupportedError.
 */
export function checkWavHeader(head: Uint8Array, length: number, file: string | undefined): number {
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  const tag = (at: number): string => String.fromCharCode(...head.subarray(at, at + 4));
  let positive: number | undefined;
  for (let at = 12; at + 8 <= head.length; ) {
    const [name, size] = [tag(at), view.getUint32(at + 4, true)];
    if (name === 'fmt ') {
      if (positive !== undefined) throw new CorruptFileError('two fmt chunks', { file });
      if (size < 16 || at + 8 + Math.min(size, 40) > head.length)
        throw new CorruptFileError('the fmt chunk is cut off', { file, expected: 'at least 16 bytes', found: size });
      positive = checkFormat(view, at + 8, size, file);
    } else if (name === 'data') {
      if (positive === undefined) throw new CorruptFileError('data come before the fmt chunk', { file });
      const found = length - at - 8;
      if (!unknownLength(size) && size > found)
        throw new CorruptFileError('the file is truncated', { file, expected: `${size} bytes of samples`, found });
      return positive;
    }
    at += 8 + size + (size % 2);
  }
  throw new CorruptFileError(positive !== undefined ? 'no data chunk' : 'no fmt chunk', { file });
}

function checkFormat(view: DataView, at: number, size: number, file: string | undefined): number {
  const [channels, rate] = [view.getUint16(at + 2, true), view.getUint32(at + 4, true)];
  const [block, bits] = [view.getUint16(at + 12, true), view.getUint16(at + 14, true)];
  const kind =
    view.getUint16(at, true) === 0xfffe && size >= 40 ? view.getUint16(at + 24, true) : view.getUint16(at, true);
  const range = (name: string, value: number, least: number, most: number): void => {
    if (value < least || value > most)
      throw new UnsupportedError(`bad ${name}`, { file, name, expected: `${least} to ${most}`, found: value });
  };
  range('channels', channels, 1, maxChannels);
  range('sampleRate', rate, minSampleRate, maxSampleRate);
  const known = bitsOf[kind];
  if (known === undefined) {
    const found = `format ${kind}`;
    throw new UnsupportedError('this kind of WAV is not read', {
      file,
      expected: 'PCM, float, A-law or mu-law',
      found,
    });
  }
  if (!known.includes(bits))
    throw new UnsupportedError('bad bits per sample', { file, expected: known.join(', '), found: bits });
  if (block !== (channels * bits) / 8)
    throw new CorruptFileError('bytes per frame', { file, expected: (channels * bits) / 8, found: block });
  // The decoder makes the largest integer 1; everywhere else it is 1 - 2^(1 - bits).
  return kind === 1 ? 1 - 2 ** (1 - bits) : 1;
}
