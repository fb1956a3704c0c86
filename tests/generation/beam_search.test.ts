/** Beam search on tiny vocabularies, against trying everything. */
import { describe, expect, it } from 'vitest';
import { BeamSearch } from '../../lib/generation/beam_search.js';
import { logSoftmax, processLogProbs } from '../../lib/generation/log_processors.js';
import { Random } from '../support/random.js';

const eos = 0;
const vocab = 4;

/** Log-probabilities after a sequence: the same for the same ids. */
function after(ids: readonly number[]): Float64Array {
  const seed = ids.reduce((h, id) => (Math.imul(h, 31) + id + 7) >>> 0, 17);
  return logSoftmax(new Random(seed).normal(vocab, 2));
}

/** All sequences of up to `most` new ids that end in EOS or are that long, with their scores. */
function all(
  ids: readonly number[],
  sum: number,
  left: number,
  penalty: number,
  start: number,
): { ids: number[]; score: number }[] {
  if (left === 0 || (ids.length > start && ids.at(-1) === eos))
    return [{ ids: [...ids], score: sum / (ids.length - start) ** penalty }];
  const values = after(ids);
  return Array.from({ length: vocab }, (_, id) =>
    all([...ids, id], sum + values[id]!, left - 1, penalty, start),
  ).flat();
}

function search(beams: number, penalty: number, early: boolean | 'never', most: number) {
  const prompt = [3, 1];
  const found = new BeamSearch(prompt, {
    ...{ beams, promptLength: 2, maxLength: 2 + most, eosIds: [eos] },
    ...{ lengthPenalty: penalty, earlyStopping: early },
  });
  while (found.running.length > 0) found.step(found.running.map((b) => after(b.ids)));
  return found.finished;
}

describe('beam search', () => {
  it('with as many beams as there are sequences finds the best of all', () => {
    const best = all([3, 1], 0, 4, 1, 2).sort((a, b) => b.score - a.score);
    const found = search(256, 1, 'never', 4);
    expect(found[0]!.ids).toEqual(best[0]!.ids);
    expect(found[0]!.score).toBeCloseTo(best[0]!.score, 12);
  });

  it('gives sequences in order, each ended, with the scores of their ids', () => {
    for (const early of [true, false, 'never'] as const) {
      const found = search(3, 0.7, early, 6);
      expect(found).toHaveLength(3);
      for (const [i, { ids, score }] of found.entries()) {
        expect(ids.at(-1) === eos || ids.length === 8).toBe(true);
        const sum = ids.slice(2).reduce((s, id, j) => s + after(ids.slice(0, 2 + j))[id]!, 0);
        expect(score).toBeCloseTo(sum / (ids.length - 2) ** 0.7, 12);
        if (i > 0) expect(score).toBeLessThanOrEqual(found[i - 1]!.score);
      }
      expect(new Set(found.map((b) => b.ids.join(' '))).size).toBe(3);
    }
  });

  it('a forced first id leaves no ended beam behind', () => {
    const found = new BeamSearch([2], {
      ...{ beams: 4, promptLength: 1, maxLength: 6, eosIds: [1], lengthPenalty: 1, earlyStopping: true },
    });
    const forced = new Float64Array(vocab).fill(Number.NEGATIVE_INFINITY);
    forced[0] = 0;
    found.step([forced]);
    expect(found.finished).toEqual([]);
    expect(found.running[0]!.ids).toEqual([2, 0]);
  });

  it('processors: repetition, n-grams, bad words, least length, forced ids', () => {
    const rules = {
      ...{ repetitionPenalty: 1, noRepeatNgram: 0, badWords: [], eosIds: [eos], minLength: 0, suppress: [] },
      ...{ forcedBos: undefined, forcedEos: undefined, promptLength: 1, maxLength: 9, renormalize: false },
    };
    const values = (): Float64Array => Float64Array.of(-1, -2, -3, -4);
    const of = (ids: number[], more: object): number[] => [...processLogProbs(values(), ids, { ...rules, ...more })];
    const never = Number.NEGATIVE_INFINITY;
    expect(of([1, 2], {})).toEqual([-1, -2, -3, -4]);
    expect(of([1, 2, 1], { repetitionPenalty: 2 })).toEqual([-1, -4, -6, -4]);
    expect(of([1, 2, 3, 1], { noRepeatNgram: 2 })).toEqual([-1, -2, never, -4]);
    expect(of([1, 2], { badWords: [[3], [2, 1], [0, 1]] })).toEqual([-1, never, -3, never]);
    expect(of([1, 2], { minLength: 3 })).toEqual([never, -2, -3, -4]);
    expect(of([1], { forcedBos: 2 })).toEqual([never, never, 0, never]);
    expect(of([1, 1, 1, 1, 1, 1, 1, 1], { forcedEos: 0 })).toEqual([0, never, never, never]);
    expect(of([1], { suppress: [1] })[1]).toBe(never);
  });
});
