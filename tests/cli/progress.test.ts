import { afterEach, describe, expect, it, vi } from 'vitest';
import { bytes, oneLine, Progress } from '../../lib/cli/output.js';

/** What a run of updates, one second apart, writes on a standard error that is no terminal. */
function written(steps: readonly number[]): string {
  let now = 0;
  let text = '';
  vi.spyOn(performance, 'now').mockImplementation(() => now);
  vi.spyOn(process.stderr, 'write').mockImplementation((chunk) => {
    text += String(chunk);
    return true;
  });
  const progress = new Progress('loading');
  for (const done of steps) {
    now += 1000;
    progress.update(done, 4096);
  }
  progress.stop();
  progress.update(4096, 4096);
  return text;
}

afterEach(() => vi.restoreAllMocks());

describe.skipIf(process.stderr.isTTY)('progress without a terminal', () => {
  it('is a plain line for each quarter', () => {
    expect(written([1, 1000, 1024, 1500, 4000, 4096])).toBe(
      'loading: 25 % of 4.00 KiB\nloading: 75 % of 4.00 KiB\nloading: 100 % of 4.00 KiB\n',
    );
  });

  it('is silent for short work', () => {
    expect(written([4000])).toBe('');
    expect(written([1, 2, 4096])).toBe('');
  });
});

describe('texts', () => {
  it('are safe for a terminal', () => {
    expect(oneLine('a\u001b[31m\n b\u0007')).toBe('a\ufffd[31m; b\ufffd');
  });

  it('count bytes', () => {
    expect([0, 1023, 1536, 20 * 2 ** 20, 3 * 2 ** 40].map(bytes)).toEqual([
      '0 B',
      '1023 B',
      '1.50 KiB',
      '20.0 MiB',
      '3.00 TiB',
    ]);
  });
});
