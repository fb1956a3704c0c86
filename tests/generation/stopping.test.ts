import { describe, expect, it } from 'vitest';
import { StopMatcher } from '../../lib/generation/stopping.js';

function stream(
  stops: readonly string[],
  pieces: readonly string[],
): { text: string; stopped: string | undefined; emits: string[] } {
  const matcher = new StopMatcher(stops);
  const emits = pieces.map((piece) => matcher.push(piece).emit);
  emits.push(matcher.flush());
  return { text: emits.join(''), stopped: matcher.stopped, emits };
}

/** By definition: the first place where a stop string is complete, and the longest one there. */
function naive(stops: readonly string[], text: string): { text: string; stopped: string | undefined } {
  for (let end = 1; end <= text.length; end++) {
    const found = stops.filter((stop) => text.slice(0, end).endsWith(stop)).sort((a, b) => b.length - a.length)[0];
    if (found !== undefined) return { text: text.slice(0, end - found.length), stopped: found };
  }
  return { text, stopped: undefined };
}

function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

describe('StopMatcher', () => {
  it('stops at a string that spans pieces and emits nothing of it', () => {
    expect(stream(['</end>'], ['ab<', '/e', 'n', 'd>tail'])).toMatchObject({ text: 'ab', stopped: '</end>' });
  });

  it('holds back only what can still become a stop string', () => {
    const matcher = new StopMatcher(['\n\nUser:']);
    expect(matcher.push('Hi\n').emit).toBe('Hi');
    expect(matcher.push('\n').emit).toBe('');
    expect(matcher.push('\n').emit).toBe('\n');
    expect(matcher.push('Use').emit).toBe('');
    expect(matcher.push('d').emit).toBe('\n\nUsed');
    expect(matcher.flush()).toBe('');
  });

  it('gives the held text at the end of the stream', () => {
    expect(stream(['STOP'], ['no ST', 'O'])).toMatchObject({ text: 'no STO', stopped: undefined });
  });

  it('emits nothing after a stop', () => {
    const matcher = new StopMatcher(['.']);
    expect(matcher.push('a.b')).toEqual({ emit: 'a', stopped: '.' });
    expect(matcher.push('c.')).toEqual({ emit: '', stopped: '.' });
    expect(matcher.flush()).toBe('');
  });

  it('never splits a surrogate pair between two emitted texts', () => {
    const text = '🙂a😀🙃b';
    const { emits, text: joined } = stream(
      ['😀🙂'],
      [...text].flatMap((c) => c.split('')),
    );
    expect(joined).toBe(text);
    for (const emit of emits) expect(emit).not.toMatch(/\p{Surrogate}/u);
    expect(stream(['😀🙃'], text.split(''))).toMatchObject({ text: '🙂a', stopped: '😀🙃' });
  });

  it('agrees with a naive search on random texts, stop strings and cuts', () => {
    const pick = random(11);
    let stopped = 0;
    for (let round = 0; round < 3000; round++) {
      const letters = ['a', 'b', '😀', '🙂'].slice(0, 2 + pick(3));
      const make = (n: number): string => Array.from({ length: n }, () => letters[pick(letters.length)]).join('');
      const stops = Array.from({ length: 1 + pick(4) }, () => make(1 + pick(6)));
      const text = make(pick(40));
      const pieces: string[] = [];
      for (let at = 0; at < text.length; ) {
        const size = 1 + pick(5);
        pieces.push(text.slice(at, at + size));
        at += size;
      }
      const found = stream(stops, pieces);
      expect({ text: found.text, stopped: found.stopped }).toEqual(naive(stops, text));
      if (found.stopped !== undefined) stopped++;
    }
    expect(stopped).toBeGreaterThan(500);
    expect(stopped).toBeLessThan(2900);
  });

  it('takes linear time on the worst texts', () => {
    const stop = `${'a'.repeat(511)}b`;
    const time = (pieces: number): number => {
      const matcher = new StopMatcher([stop, `${'a'.repeat(510)}cc`, 'ab'.repeat(200)]);
      const start = performance.now();
      for (let i = 0; i < pieces; i++) matcher.push('aaaa');
      return performance.now() - start;
    };
    time(10_000);
    const [small, large] = [Math.min(time(20_000), time(20_000)), time(160_000)];
    expect(large).toBeLessThan(8 * small * 4 + 50);
  });
});
