import { describe, expect, it } from 'vitest';
import { CtcBeamSearch, CtcGreedy, type CtcToken } from '../../lib/generation/ctc.js';
import { Random } from '../support/random.js';

/** All frames but the last in one piece, the last one by itself. */
function greedyCtc(p: Float32Array, vocab: number, blank: number): readonly CtcToken[] {
  const greedy = new CtcGreedy(vocab, blank);
  greedy.push(p.subarray(0, Math.max(0, p.length - vocab)));
  greedy.push(p.subarray(Math.max(0, p.length - vocab)));
  return greedy.tokens();
}

/** (frames, vocab), each row of sum 1. */
function probabilities(frames: number, vocab: number, seed: number, sharp = 1): Float32Array {
  const random = new Random(seed);
  const all = random.normal(frames * vocab, sharp).map(Math.exp);
  for (let t = 0; t < frames; t++) {
    const row = all.subarray(t * vocab, (t + 1) * vocab);
    const sum = row.reduce((a, b) => a + b, 0);
    for (let v = 0; v < vocab; v++) row[v] = row[v]! / sum;
  }
  return all;
}

/** Runs of equal ids as tokens, without the blank. */
function collapse(path: readonly number[], p: Float32Array, vocab: number, blank: number): CtcToken[] {
  const tokens: CtcToken[] = [];
  for (let t = 0; t < path.length; ) {
    let end = t;
    let sum = 0;
    for (; end < path.length && path[end] === path[t]; end++) sum += p[end * vocab + path[t]!]!;
    if (path[t] !== blank) tokens.push({ id: path[t]!, begin: t, end, probability: sum / (end - t) });
    t = end;
  }
  return tokens;
}

interface Text {
  probability: number;
  best: number;
  tokens: CtcToken[];
}

/** All vocab^frames alignments, by the text that they give. */
function everyText(p: Float32Array, frames: number, vocab: number, blank: number): Map<string, Text> {
  const texts = new Map<string, Text>();
  for (let n = 0; n < vocab ** frames; n++) {
    const path = Array.from({ length: frames }, (_, t) => Math.floor(n / vocab ** t) % vocab);
    const probability = path.reduce((product, id, t) => product * p[t * vocab + id]!, 1);
    const tokens = collapse(path, p, vocab, blank);
    const key = tokens.map((token) => token.id).join(' ');
    const text = texts.get(key) ?? { probability: 0, best: 0, tokens };
    text.probability += probability;
    if (probability > text.best) Object.assign(text, { best: probability, tokens });
    texts.set(key, text);
  }
  return texts;
}

describe('greedy decoding', () => {
  it('repeats become one, blanks go, frames and probabilities stay', () => {
    const path = [0, 2, 2, 0, 2, 1, 1, 0, 0, 1];
    const p = new Float32Array(path.length * 3).fill(0.1);
    for (const [t, id] of path.entries()) p[t * 3 + id] = t === 2 ? 0.6 : 0.8;
    const found = greedyCtc(p, 3, 0);
    expect(found.map(({ id, begin, end }) => [id, begin, end])).toEqual([
      [2, 1, 3],
      [2, 4, 5],
      [1, 5, 7],
      [1, 9, 10],
    ]);
    expect(found[0]!.probability).toBeCloseTo(0.7, 6);
    expect(greedyCtc(p, 3, 1).map((t) => t.id)).toEqual([0, 2, 0, 2, 0]);
  });

  it('nothing in no frames, and nothing in blanks', () => {
    expect(greedyCtc(new Float32Array(0), 3, 0)).toEqual([]);
    expect(greedyCtc(Float32Array.of(0.9, 0.1, 0.8, 0.2), 2, 0)).toEqual([]);
  });

  it('the best alignment of all', () => {
    for (let seed = 1; seed <= 20; seed++) {
      const p = probabilities(6, 3, seed);
      let best: { probability: number; path: number[] } = { probability: -1, path: [] };
      for (let n = 0; n < 3 ** 6; n++) {
        const path = Array.from({ length: 6 }, (_, t) => Math.floor(n / 3 ** t) % 3);
        const probability = path.reduce((product, id, t) => product * p[t * 3 + id]!, 1);
        if (probability > best.probability) best = { probability, path };
      }
      expect(greedyCtc(p, 3, 1)).toEqual(collapse(best.path, p, 3, 1));
    }
  });
});

describe('prefix beam search', () => {
  it.each([
    [5, 3, 0],
    [6, 3, 2],
    [4, 4, 1],
    [7, 2, 0],
    [1, 5, 3],
  ])('%i frames of %i tokens: every text with its probability and best alignment', (frames, vocab, blank) => {
    for (let seed = 1; seed <= 8; seed++) {
      const p = probabilities(frames, vocab, seed * 31 + frames);
      const expected = everyText(p, frames, vocab, blank);
      const search = new CtcBeamSearch({ vocab, blank, beams: 1e6 });
      // In two pieces: the frames may come as they like.
      search.push(p.subarray(0, vocab * Math.floor(frames / 2)));
      search.push(p.subarray(vocab * Math.floor(frames / 2)));
      const texts = search.texts();
      expect(texts.length).toBe(expected.size);
      for (const [i, text] of texts.entries()) {
        const key = text.tokens.map((token) => token.id).join(' ');
        const known = expected.get(key)!;
        expect(text.logProbability).toBeCloseTo(Math.log(known.probability), 9);
        expect(text.tokens.map(({ begin, end }) => [begin, end])).toEqual(
          known.tokens.map(({ begin, end }) => [begin, end]),
        );
        for (const [k, token] of text.tokens.entries())
          expect(token.probability).toBeCloseTo(known.tokens[k]!.probability, 9);
        if (i > 0) expect(text.logProbability).toBeLessThanOrEqual(texts[i - 1]!.logProbability);
      }
    }
  });

  it('finds texts that no single alignment shows', () => {
    // Blank is the likeliest in each frame, but "a" in any of them outweighs silence in all.
    const p = Float32Array.of(0.6, 0.4, 0.6, 0.4);
    expect(greedyCtc(p, 2, 0)).toEqual([]);
    const search = new CtcBeamSearch({ vocab: 2, blank: 0, beams: 2 });
    search.push(p);
    const [best] = search.texts();
    expect(best!.tokens.map((t) => t.id)).toEqual([1]);
    expect(Math.exp(best!.logProbability)).toBeCloseTo(0.64, 6);
  });

  it('few beams and few candidates find the text that all find', () => {
    let same = 0;
    for (let seed = 1; seed <= 30; seed++) {
      const p = probabilities(12, 6, seed, 5);
      const run = (beams: number, candidates: number): string => {
        const search = new CtcBeamSearch({ vocab: 6, blank: 0, beams, candidates });
        search.push(p);
        expect(search.texts().length).toBeLessThanOrEqual(beams);
        return search
          .texts()[0]!
          .tokens.map((t) => t.id)
          .join(' ');
      };
      if (run(16, 3) === run(200, 6)) same++;
    }
    expect(same).toBeGreaterThanOrEqual(28);
  });

  it('no probability of 0 makes a text', () => {
    const search = new CtcBeamSearch({ vocab: 3, blank: 0, beams: 8 });
    search.push(Float32Array.of(0.5, 0.5, 0, 0.25, 0.75, 0));
    expect(search.texts().map((t) => t.tokens.map((token) => token.id))).toEqual([[1], []]);
  });
});
