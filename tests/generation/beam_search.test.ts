/** Beam search on tiny vocabularies, against trying everything. */
import { describe, expect, it } from 'vitest';
import {
  type BeamCandidates,
  type BeamOptions,
  BeamSearch,
  candidatesWanted,
} from '../../lib/generation/beam_search.js';
import { Random } from '../support/random.js';

const eos = 0;
const vocab = 4;

function logSoftmax(x: Float32Array): number[] {
  const sum = x.reduce((n, v) => n + Math.exp(v), 0);
  return Array.from(x, (v) => v - Math.log(sum));
}

/** The best of all ids, as the sample op gives them. */
function candidates(logProbs: readonly number[], most = Number.POSITIVE_INFINITY): BeamCandidates {
  const ids = [...logProbs.keys()].sort((a, b) => logProbs[b]! - logProbs[a]! || a - b).slice(0, most);
  return { ids, logProbs: ids.map((id) => logProbs[id]!) };
}

/** Log-probabilities after a sequence: the same for the same ids. */
function logProbsAfter(ids: readonly number[]): number[] {
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
  const values = logProbsAfter(ids);
  return Array.from({ length: vocab }, (_, id) =>
    all([...ids, id], sum + values[id]!, left - 1, penalty, start),
  ).flat();
}

function searchWith(options: BeamOptions, most = candidatesWanted(options)): BeamSearch {
  const found = new BeamSearch([3, 1], options);
  while (found.running.length > 0) found.step(found.running.map((b) => candidates(logProbsAfter(b.ids), most)));
  return found;
}

function search(beams: number, penalty: number, early: boolean | 'never', most: number) {
  const ends = { promptLength: 2, maxLength: 2 + most, eosIds: [eos] };
  return searchWith({ beams, ...ends, lengthPenalty: penalty, earlyStopping: early }).finished;
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
        const sum = ids.slice(2).reduce((s, id, j) => s + logProbsAfter(ids.slice(0, 2 + j))[id]!, 0);
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
    found.step([{ ids: [0], logProbs: [0] }]);
    expect(found.finished).toEqual([]);
    expect(found.running[0]!.ids).toEqual([2, 0]);
  });

  it('groups: without a penalty all the same; with one they choose other ids; no candidate beyond those wanted matters', () => {
    const ends = { promptLength: 2, maxLength: 7, eosIds: [eos], lengthPenalty: 1, earlyStopping: false } as const;
    const alone = searchWith({ ...ends, beams: 2 }).finished;
    const three = searchWith({ ...ends, beams: 6, groups: 3, diversityPenalty: 0 }).finished;
    expect(three.map((b) => b.ids)).toEqual(alone.flatMap((b) => [b.ids, b.ids, b.ids]));
    const options = { ...ends, beams: 6, groups: 3, diversityPenalty: 0.8 };
    expect(searchWith(options).finished).toEqual(searchWith(options, vocab).finished);
    const first = new BeamSearch([3, 1], { ...ends, beams: 4, groups: 4, diversityPenalty: 100 });
    first.step(first.running.map((b) => candidates(logProbsAfter(b.ids))));
    expect(first.running.length).toBeGreaterThanOrEqual(3);
    expect(new Set(first.running.map((b) => b.ids[2])).size).toBe(first.running.length);
  });
});

it('heirs of one beam have lists of their own, and a finished sequence and the prompt stay as they are', () => {
  const prompt = [7];
  const search = new BeamSearch(prompt, {
    ...{ beams: 2, promptLength: 1, maxLength: 9, eosIds: [0], lengthPenalty: 1, earlyStopping: false },
  });
  const step = (...of: readonly (readonly [number[], number[]])[]): readonly number[] =>
    search.step(of.map(([ids, logProbs]) => ({ ids, logProbs })));
  step([
    [1, 2, 3, 4],
    [-1, -2, -9, -9],
  ]);
  // Both go on from the first beam; the end after it is the best of all.
  expect(
    step(
      [
        [0, 5, 6, 4],
        [-0.5, -0.75, -0.875, -9],
      ],
      [
        [5, 6, 4, 3],
        [-90, -90, -90, -90],
      ],
    ),
  ).toEqual([0, 0]);
  expect(search.running.map((b) => b.ids)).toEqual([
    [7, 1, 5],
    [7, 1, 6],
  ]);
  expect(search.running.map((b) => b.logProbs)).toEqual([
    [-1, -0.75],
    [-1, -0.875],
  ]);
  expect(search.finished.map((b) => b.ids)).toEqual([[7, 1, 0]]);
  step(
    [
      [8, 9, 4, 3],
      [-0.5, -80, -80, -80],
    ],
    [
      [8, 9, 4, 3],
      [-0.5, -80, -80, -80],
    ],
  );
  expect(search.finished.map((b) => b.ids)).toEqual([[7, 1, 0]]);
  expect(prompt).toEqual([7]);
});
