import { describe, expect, it } from 'vitest';
import { ContextOverflowError, OptionError, UnsupportedError } from '../../lib/errors.js';
import { type GenerateOptions, optionTexts, resolveOptions } from '../../lib/generation/options.js';
import type { GenerationDefaults } from '../../lib/weights/generation_config.js';
import { noDefaults } from './sample_case.js';

const context = { vocab: 100, eosIds: [2, 90], contextLeft: 50, promptLength: 10 };
const resolve = (options: unknown, defaults: Partial<GenerationDefaults> = {}, more: Partial<typeof context> = {}) =>
  resolveOptions(options as GenerateOptions, { ...noDefaults, ...defaults }, { ...context, ...more });

const refused: readonly (readonly [name: string, options: unknown])[] = [
  ['n', { n: 1e6 }],
  ['n', { n: 0 }],
  ['logprobs', { logprobs: -1 }],
  ['logprobs', { logprobs: 1e9 }],
  ['logprobs', { logprobs: 2.5 }],
  ['logitBias', { logitBias: { 100: 1 } }],
  ['logitBias', { logitBias: { '-1': 1 } }],
  ['logitBias', { logitBias: { '01': 1 } }],
  ['logitBias[5]', { logitBias: { 5: Number.NaN } }],
  ['logitBias[5]', { logitBias: new Map([[5, Infinity]]) }],
  ['logitBias[5]', { logitBias: { 5: 100.5 } }],
  ['logitBias', { logitBias: [[5, 1]] }],
  ['badWords[0]', { badWords: [[100]] }],
  ['badWords[0]', { badWords: [[]] }],
  ['badWords[1]', { badWords: [[5], [2]] }],
  ['badWords[0][0]', { badWords: [[1.5]] }],
  ['badWords', { badWords: ['word'] }],
  ['badWords[1]', { badWords: [[1], 'x'] }],
  ['maxTokens', { maxTokens: -1 }],
  ['maxTokens', { maxTokens: 2 ** 53 }],
  ['maxTokens', { maxTokens: 0 }],
  ['maxTokens', { maxTokens: '5' }],
  ['minTokens', { maxTokens: 5, minTokens: 6 }],
  ['temperature', { temperature: -1 }],
  ['temperature', { temperature: Number.NaN }],
  ['temperature', { temperature: '0' }],
  ['temperature', { temperature: Infinity }],
  ['temperature', { temperature: null }],
  ['topP', { topP: 0 }],
  ['topP', { topP: 1.01 }],
  ['topK', { topK: -5 }],
  ['topK', { topK: 1.5 }],
  ['topK', { topK: 2 ** 31 }],
  ['minP', { minP: -0.1 }],
  ['typicalP', { typicalP: 0 }],
  ['repetitionPenalty', { repetitionPenalty: 0 }],
  ['frequencyPenalty', { frequencyPenalty: 1e30 }],
  ['noRepeatNgram', { noRepeatNgram: -1 }],
  ['dry', { dry: true }],
  ['dry.multiplier', { dry: {} }],
  ['dry.base', { dry: { multiplier: 1, base: 0.5 } }],
  ['dry.allowedLength', { dry: { multiplier: 1, allowedLength: 0 } }],
  ['dry.sequenceBreakers', { dry: { multiplier: 1 } }],
  ['dry.sequenceBreakers[0]', { dry: { multiplier: 1, sequenceBreakers: [''] } }],
  ['xtc.threshold', { xtc: { probability: 1, threshold: 0.6 } }],
  ['mirostat.tau', { mirostat: { tau: 0 } }],
  ['stop', { stop: 'text' }],
  ['stop', { stop: Array.from({ length: 10_000 }, () => 'x') }],
  ['stop[0]', { stop: [''] }],
  ['stop[1]', { stop: ['a', 'x'.repeat(1e6)] }],
  ['stop[0]', { stop: ['\ud800'] }],
  ['stopTokens', { stopTokens: [100] }],
  ['stopTokens[0]', { stopTokens: [-1] }],
  ['seed', { seed: -1 }],
  ['seed', { seed: 1n << 64n }],
  ['seed', { seed: 0.5 }],
  ['signal', { signal: {} }],
  ['logitsProcessor', { logitsProcessor: 'f' }],
  ['echo', { echo: 1 }],
  ['options', null],
];

describe('resolveOptions refuses', () => {
  it.each(refused)('%s: %o', (name, options) => {
    let error: unknown;
    try {
      resolve(options);
    } catch (caught) {
      error = caught;
    }
    expect(error).toBeInstanceOf(OptionError);
    expect((error as OptionError).facts.name).toBe(name);
    expect((error as OptionError).message).toContain(name);
  });

  it.each([
    ['top_k', 'topK'],
    ['temprature', 'temperature'],
    ['max_tokens', 'maxTokens'],
    ['stopToken', 'stopTokens'],
  ])('the unknown name %s, naming %s', (name, near) => {
    expect(() => resolve({ [name]: 1 })).toThrow(new RegExp(`unknown option ${name}.*Did you mean ${near}\\?`));
  });

  it('unknown names that resemble nothing, and __proto__', () => {
    expect(() => resolve({ qqqqqqqqqqqq: 1 })).toThrow(/Known: /);
    expect(() => resolve(JSON.parse('{"__proto__": 1}'))).toThrow(OptionError);
    expect(() => resolve({ xtc: { probability: 1, treshold: 0.1 } })).toThrow(/Did you mean xtc\.threshold/);
  });

  const cuts: GenerateOptions[] = [
    { topK: 5 },
    { topP: 0.5 },
    { minP: 0.1 },
    { typicalP: 0.5 },
    { xtc: { probability: 1 } },
  ];
  it.each(cuts)('mirostat with %o', (cut) => {
    expect(() => resolve({ mirostat: {}, ...cut })).toThrow(/exclude each other/);
  });

  it.each([
    { greedy: true, temperature: 0.5 },
    { greedy: false, temperature: 0 },
    { temperature: 0, mirostat: {} },
    { greedy: true, xtc: { probability: 0.5 } },
    { temperature: 0, typicalP: 0.5 },
  ])('the pair %o', (pair) => {
    expect(() => resolve(pair)).toThrow(OptionError);
  });

  it('more tokens than the context has left', () => {
    expect(() => resolve({ maxTokens: 51 })).toThrow(ContextOverflowError);
    expect(() => resolve({}, {}, { contextLeft: 0 })).toThrow(ContextOverflowError);
  });

  it.each([
    [{ doSample: true, epsilonCutoff: 0.1 }],
    [{ forcedBosTokenId: 3 }],
    [{ other: { guidance_scale: 3 } }],
  ] as const)('a checkpoint that asks for %o', (defaults) => {
    expect(() => resolve({}, defaults)).toThrow(UnsupportedError);
  });
});

describe('resolveOptions', () => {
  it('is greedy unless the checkpoint or the caller samples', () => {
    expect(resolve({}).temperature).toBe(0);
    expect(resolve({}, { temperature: 0.6, doSample: false }).temperature).toBe(0);
    expect(resolve({ topP: 0.9 }, { temperature: 0.6 })).toMatchObject({ temperature: 0.6, topP: 0.9, topK: 0 });
    expect(resolve({ temperature: 0.8 }, { topK: 20 })).toMatchObject({ temperature: 0.8, topK: 20 });
    expect(resolve({}, { doSample: true, topP: 0.8 })).toMatchObject({ temperature: 1, topP: 0.8, topK: 50 });
    expect(resolve({ greedy: true }, { doSample: true }).temperature).toBe(0);
    expect(resolve({ temperature: 1e-40 }).temperature).toBe(0);
    expect(resolve({ mirostat: {} }, { doSample: true, topP: 0.5, topK: 9 })).toMatchObject({
      topK: 0,
      topP: 1,
      mirostat: { tau: 5, eta: 0.1 },
    });
    expect(resolve({ temperature: 0, topK: 5 })).toMatchObject({ temperature: 0, topK: 5 });
  });

  it('takes lengths from the caller, the checkpoint, the context', () => {
    expect(resolve({ maxTokens: 7 }, { maxNewTokens: 9 }).maxTokens).toBe(7);
    expect(resolve({}, { maxNewTokens: 9 }).maxTokens).toBe(9);
    expect(resolve({}, { maxNewTokens: 900 }).maxTokens).toBe(50);
    expect(resolve({}, { maxLength: 30 }).maxTokens).toBe(20);
    expect(resolve({}).maxTokens).toBe(50);
    expect(resolve({ maxTokens: 0, echo: true }).maxTokens).toBe(0);
    expect(resolve({}, { minLength: 15 }).minTokens).toBe(5);
    expect(resolve({ minTokens: 3 }, { minNewTokens: 9 }).minTokens).toBe(3);
  });

  it('joins stop ids, bans, and biases', () => {
    expect(resolve({ stopTokens: [5, 2] }).stopIds).toEqual([2, 5, 90]);
    expect(resolve({ stopTokens: [5], ignoreEos: true }).stopIds).toEqual([5]);
    expect(resolve({}, { badWordsIds: [[2], [3, 4]], suppressTokens: [2] }).badWords).toEqual([[3, 4], [2]]);
    expect(resolve({ badWords: [[7]] }, { badWordsIds: [[3]] }).badWords).toEqual([[7]]);
    expect(resolve({ logitBias: { 4: -1, 9: 2 } })).toMatchObject({ biasIds: [4, 9], biasValues: [-1, 2] });
    expect(resolve({ logitBias: new Map([[9, 2]]) })).toMatchObject({ biasIds: [9], biasValues: [2] });
  });

  it('splits seeds, and draws and reports one where none is given', () => {
    expect(resolve({ seed: 0xffff_fffe_8000_0001n })).toMatchObject({ seedLow: -(2 ** 31) + 1, seedHigh: -2 });
    expect(resolve({ seed: 5 })).toMatchObject({ seed: 5n, seedLow: 5, seedHigh: 0 });
    const seeds = new Set(Array.from({ length: 20 }, () => resolve({}).seed));
    expect(seeds.size).toBe(20);
    for (const seed of seeds) expect(Number.isSafeInteger(Number(seed))).toBe(true);
  });

  it('tells which texts need the tokenizer', () => {
    expect(optionTexts({})).toEqual({ badWords: [], breakers: [] });
    const options: GenerateOptions = { badWords: ['mole'], dry: { multiplier: 1 } };
    expect(optionTexts(options)).toEqual({ badWords: ['mole'], breakers: ['\n', ':', '"', '*'] });
    const done = resolveOptions(options, noDefaults, { ...context, badWordIds: [[8, 9]], breakerIds: [1] });
    expect(done.badWords).toEqual([[8, 9]]);
    expect(done.dry).toEqual({ multiplier: 1, base: 1.75, allowedLength: 2, range: 0, breakerIds: [1] });
    expect(resolve({ dry: { multiplier: 1, sequenceBreakers: [] } }).dry.breakerIds).toEqual([]);
  });

  it('reads logprobs as a flag or a count', () => {
    expect(resolve({})).toMatchObject({ logprobs: false, topLogprobs: 0 });
    expect(resolve({ logprobs: true })).toMatchObject({ logprobs: true, topLogprobs: 0 });
    expect(resolve({ logprobs: 5 })).toMatchObject({ logprobs: true, topLogprobs: 5 });
  });
});
