/** Draws on the device beside those on the CPU: the same ids, for every option alone and some together. */
import { describe, expect, it } from 'vitest';
import type { GenerateOptions } from '../../lib/generation/options.js';
import { type Draw, resolved, runSample } from '../generation/sample_case.js';
import { testDevices } from '../support/run_op.js';

const kVocab = 5003;
const history = [Array.from({ length: 75 }, (_, i) => (i * i) % 17), [7], [3, 4, 3, 4, 3]];

/** Numbers in [0, 1) that are the same in every run. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

/** `width` units from the largest to the smallest; every third value comes more than once, some ids are banned. */
function logitsOf(seed: number, width: number): Float32Array {
  const next = random(seed);
  return Float32Array.from({ length: kVocab }, (_, i) => {
    const value = width * (next() ** 3 - 0.5);
    return i % 101 === 7 ? -Infinity : i % 3 === 0 ? Math.round(value) : value;
  });
}

const options: readonly GenerateOptions[] = [
  { temperature: 0, logprobs: 20 },
  { temperature: 1 },
  { temperature: 3, logprobs: 5 },
  { temperature: 1, topK: 40 },
  { temperature: 2, topK: 3000 },
  { temperature: 1, topP: 0.9 },
  { temperature: 1, topP: 0.999 },
  { temperature: 1.5, minP: 0.001 },
  { temperature: 1, typicalP: 0.6 },
  { temperature: 1, topK: 500, topP: 0.8, minP: 0.01, typicalP: 0.9 },
  { temperature: 1, xtc: { probability: 1, threshold: 0.01 } },
  { temperature: 1, mirostat: { tau: 4, eta: 0.1 } },
  { temperature: 1, repetitionPenalty: 1.7, presencePenalty: 0.5, frequencyPenalty: 0.2, penaltyWindow: 40 },
  { temperature: 0.9, noRepeatNgram: 2, badWords: [[5], [3, 4, 6]], logitBias: { 8: 6, 9: -3 } },
  { temperature: 0.7, dry: { multiplier: 0.8, base: 1.75, allowedLength: 1, range: 0 } },
];

const draws = (width: number): Draw[] =>
  Array.from({ length: 8 * options.length }, (_, i) => ({
    options: resolved({ seed: 11, ...options[i % options.length]! }, kVocab, [2], [16]),
    logits: logitsOf(i, width),
    history: i % history.length,
    sampleIndex: i,
    promptLength: 1,
    ...(i % 11 === 4 ? { allowed: Array.from({ length: 900 }, (_, n) => 5 * n) } : {}),
  }));

describe.each(testDevices())('sample on %s beside the CPU', (device) => {
  it.each([0.01, 20, 200])('logits within %d', async (width) => {
    const [made, expected] = [
      await runSample(draws(width), history, device),
      await runSample(draws(width), history, 'cpu'),
    ];
    expect([...made.ids]).toEqual([...expected.ids]);
    expect([...made.topIds]).toEqual([...expected.topIds]);
    for (const name of ['logprobs', 'topLogprobs', 'mu'] as const)
      for (const [i, value] of made[name].entries())
        if (value !== expected[name][i]) expect(value).toBeCloseTo(expected[name][i]!, 4);
  });

  it('beams that want more candidates than a block has threads, or than there are', async () => {
    const ask = (candidates: number, renormalize: boolean, more: GenerateOptions): Draw => {
      const own = resolved({ numBeams: 2, ...more }, kVocab, [0]);
      return {
        options: { ...own, beams: { ...own.beams!, renormalize } },
        logits: logitsOf(candidates, 30),
        history: 0,
        sampleIndex: 0,
        promptLength: 1,
        candidates,
      };
    };
    const list = [
      ask(4, false, {}),
      ask(700, false, { repetitionPenalty: 1.3 }),
      ask(1100, true, { badWords: [[40], [41]] }),
      ask(kVocab + 3, false, { noRepeatNgram: 1 }),
    ];
    const [made, expected] = [await runSample(list, history, device), await runSample(list, history, 'cpu')];
    expect([...made.ids]).toEqual([...expected.ids]);
    expect(made.topIds).toEqual(expected.topIds);
    for (const [i, value] of made.topLogprobs.entries())
      if (value !== expected.topLogprobs[i]) expect(value).toBeCloseTo(expected.topLogprobs[i]!, 4);
  });
});
