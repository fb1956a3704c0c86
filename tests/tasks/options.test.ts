import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { OptionError } from '../../lib/errors.js';
import { generateRules } from '../../lib/generation/option_table.js';
import type { GenerateOptions } from '../../lib/generation/options.js';
import type { GenerationResult } from '../../lib/tasks/generation.js';
import type { TextModel } from '../../lib/tasks/text_model.js';
import type { Tokenizer } from '../../lib/text/tokenizer.js';
import { randomModel, testTokenizer, tinyConfig } from '../engine/models.js';

let model: TextModel;
let tokenizer: Tokenizer;
beforeAll(async () => {
  tokenizer = await testTokenizer();
  const config = { ...tinyConfig, hidden_size: 64, vocab_size: tokenizer.vocabSize };
  model = await randomModel({ config, tokenizer, generationConfig: { eos_token_id: 2 } });
});
afterAll(() => model.dispose());

const prompt = [5, 300, 7, 300, 8, 300];
const base: GenerateOptions = { maxTokens: 24, ignoreEos: true };
const sampled: GenerateOptions = { ...base, temperature: 1, seed: 5 };
const beams: GenerateOptions = { ...base, numBeams: 4 };
const ends = Array.from({ length: 60 }, (_, i) => i);
const make = (options: GenerateOptions): Promise<GenerationResult> => model.generate(prompt, options).result();
const ids = async (options: GenerateOptions): Promise<number[]> => [...(await make(options)).ids];
const repeats = (x: readonly number[]): number => x.length - new Set(x).size;

/** An option, what it is compared with, and what must hold of the ids with and without it. */
type Effect = [
  name: keyof GenerateOptions,
  without: GenerateOptions,
  value: unknown,
  holds: (a: number[], b: number[]) => boolean,
];
const differ = (a: number[], b: number[]): boolean => a.join() !== b.join();
const equal = (a: number[], b: number[]): boolean => a.join() === b.join();

const effects: Effect[] = [
  ['maxTokens', base, 7, (a) => a.length === 7],
  ['temperature', base, 1.5, differ],
  ['greedy', { ...base, topK: 5, seed: 3 }, true, differ],
  ['seed', sampled, 6, differ],
  ['topK', sampled, 2, differ],
  ['topP', sampled, 0.01, differ],
  ['minP', sampled, 0.9, differ],
  ['typicalP', sampled, 0.05, differ],
  ['repetitionPenalty', base, 3, (a, b) => repeats(a) < repeats(b)],
  ['presencePenalty', base, 5, (a, b) => repeats(a) < repeats(b)],
  ['frequencyPenalty', base, 5, (a, b) => repeats(a) < repeats(b)],
  ['numBeams', base, 4, differ],
  ['lengthPenalty', { ...beams, stopTokens: ends }, 9, differ],
  ['earlyStopping', { ...beams, lengthPenalty: 9, stopTokens: ends }, true, differ],
  ['numBeamGroups', { ...beams, diversityPenalty: 5 }, 2, differ],
  ['diversityPenalty', { ...beams, numBeamGroups: 4 }, 5, differ],
  ['penaltyWindow', { ...base, presencePenalty: 20 }, 1, differ],
  ['noRepeatNgram', base, 1, (a, b) => repeats(a) === 0 && repeats(b) > 0],
  ['dry', { ...base, logitBias: { 100: 100 } }, { multiplier: 100, base: 4, sequenceBreakers: [] }, differ],
  ['xtc', sampled, { probability: 1, threshold: 0.0001 }, differ],
  ['mirostat', { ...base, temperature: 1, seed: 5 }, { tau: 0.5, eta: 0.9 }, differ],
  ['logitBias', base, { 77: 100 }, (a) => a.every((id) => id === 77)],
  ['steer', base, [{ layer: 1, vector: Array.from({ length: 64 }, (_, i) => Math.cos(i)), scale: 3 }], differ],
  ['maskHeads', base, [{ layer: 0, heads: [0, 1] }], differ],
  ['trace', base, { attentions: true, prompt: true }, equal],
  [
    'logitsProcessor',
    base,
    (x: Float32Array) => x.fill(0, 60, 61).fill(-9, 0, 60).fill(-9, 61),
    (a) => a.every((id) => id === 60),
  ],
];

describe('effects on the ids', () => {
  it.each(effects)('%s', async (name, without, value, holds) => {
    const [with_, plain] = [await ids({ ...without, [name]: value }), await ids(without)];
    expect(holds(with_, plain), `${with_} against ${plain}`).toBe(true);
    expect(equal(await ids(without), plain)).toBe(true);
  });

  it('badWords: ids and texts', async () => {
    const plain = await make(base);
    const banned = await ids({ ...base, badWords: [[plain.ids[0]!]] });
    expect(banned).not.toContain(plain.ids[0]);
    const pushed = { ...base, logitBias: { 100: 50 } };
    expect(await ids(pushed)).toContain(100);
    const pair = await ids({ ...pushed, badWords: [[100, 100]] });
    expect(pair.join().includes('100,100')).toBe(false);
    expect(pair).toContain(100);
    const word = await tokenizer.encode('the mole', { addSpecial: false });
    const logitsProcessor = (x: Float32Array, { position }: { position: number }): void => {
      x[word[(position - prompt.length) % word.length]!] = 99;
    };
    const forced = { ...base, logitsProcessor };
    expect(`${await ids(forced)}`.includes(`${word}`)).toBe(true);
    expect(`${await ids({ ...forced, badWords: ['the mole'] })}`.includes(`${word}`)).toBe(false);
  });

  it('dry: not across its breakers, by default newline, colon, quote and star', async () => {
    const [letter, colon] = [100, tokenizer.tokenToId('<0x3A>')!].map((id) => ({ ...base, logitBias: { [id]: 100 } }));
    const dry = { multiplier: 100, base: 4 };
    expect(differ(await ids({ ...letter, dry }), await ids(letter!))).toBe(true);
    expect(equal(await ids({ ...colon, dry }), await ids(colon!))).toBe(true);
    expect(differ(await ids({ ...colon, dry: { ...dry, sequenceBreakers: ['\n'] } }), await ids(colon!))).toBe(true);
    const own = { ...dry, sequenceBreakers: [tokenizer.decode([100])] };
    expect(equal(await ids({ ...letter, dry: own }), await ids(letter!))).toBe(true);
  });

  it('stopTokens, ignoreEos and minTokens', async () => {
    const plain = await ids(base);
    const at = plain.indexOf(plain[6]!);
    const stopped = await make({ ...base, stopTokens: [plain[6]!] });
    expect(stopped).toMatchObject({ ids: plain.slice(0, at + 1), finishReason: 'stop' });
    const least = await make({ ...base, stopTokens: [plain[6]!], minTokens: 10 });
    expect(least.ids.slice(0, 10)).not.toContain(plain[6]);
    expect(least.ids.length).toBeGreaterThanOrEqual(10);
    const eos = model.eosIds[0]!;
    const push = { maxTokens: 5, logitBias: { [eos]: 100 } };
    expect(await make(push)).toMatchObject({ ids: [eos], finishReason: 'stop', text: '' });
    expect(await make({ ...push, ignoreEos: true })).toMatchObject({ ids: Array(5).fill(eos), finishReason: 'length' });
  });

  it('stop: ends at the first stop string, which is not part of the text', async () => {
    const plain = await make(sampled);
    const middle = plain.text.slice(8, 11);
    const stopped = await make({ ...sampled, stop: [middle] });
    expect(stopped).toMatchObject({
      finishReason: 'stop',
      stopString: middle,
      text: plain.text.slice(0, plain.text.indexOf(middle)),
    });
    expect(stopped.ids.length).toBeLessThan(plain.ids.length);
  });

  it('echo: the prompt is part of the text; maxTokens 0 gives nothing else', async () => {
    const plain = await make(base);
    const lead = tokenizer.decode(prompt, { skipSpecial: true });
    expect((await make({ ...base, echo: true })).text).toBe(lead + plain.text);
    expect(await make({ maxTokens: 0, echo: true })).toMatchObject({ text: lead, ids: [], finishReason: 'length' });
  });

  it('n: completions do not depend on how many there are; the first is that of one alone', async () => {
    const one = await make({ ...sampled, logprobs: 2 });
    const two = await make({ ...sampled, logprobs: 2, n: 2 });
    const five = await make({ ...sampled, logprobs: 2, n: 5 });
    expect(two.completions.map((c) => c.logprobs)).toEqual(five.completions.slice(0, 2).map((c) => c.logprobs));
    expect(two.logprobs).toEqual(one.logprobs);
    expect(new Set(five.completions.map((c) => c.ids.join())).size).toBe(5);
    expect(five.usage).toEqual({ promptTokens: 6, completionTokens: 120 });
    const greedy = await make({ ...base, n: 3 });
    expect(new Set(greedy.completions.map((c) => c.ids.join())).size).toBe(1);
  });

  it('pieces joined are the text; their ids are the ids; each names its completion', async () => {
    const generation = model.generate(prompt, { ...sampled, n: 2, logprobs: true });
    const [texts, seen] = [['', ''], [[], []] as number[][]];
    for await (const piece of generation) {
      texts[piece.index] += piece.text;
      seen[piece.index]!.push(...piece.ids);
      expect(piece.logprobs!.map((l) => l.id)).toEqual(piece.ids);
    }
    const { completions } = await generation.result();
    expect(completions.map((c) => c.text)).toEqual(texts);
    expect(completions.map((c) => [...c.ids])).toEqual(seen);
  });

  it('the reported seed gives the same again, and is drawn anew otherwise', async () => {
    const a = await make({ ...base, temperature: 1 });
    const b = await make({ ...base, temperature: 1 });
    expect(a.seed).not.toBe(b.seed);
    expect(await ids({ ...base, temperature: 1, seed: a.seed })).toEqual([...a.ids]);
  });

  it('a processor that adds a bias is that bias', async () => {
    const bias = { 44: 0.7, 90: -3, 200: 0.9 };
    const logitsProcessor = (x: Float32Array): Float32Array => {
      const changed = Float32Array.from(x);
      for (const [id, value] of Object.entries(bias)) changed[Number(id)]! += value;
      return changed;
    };
    for (const how of [base, { ...sampled, repetitionPenalty: 1.3, topP: 0.9 }]) {
      expect(await ids({ ...how, logitsProcessor })).toEqual(await ids({ ...how, logitBias: bias }));
    }
  });

  it('a processor sees ids and position', async () => {
    const seen: [number, number][] = [];
    const made = await make({
      ...base,
      maxTokens: 3,
      logitsProcessor: (_, { ids: all, position }) => void seen.push([all.length, position]),
    });
    expect(seen).toEqual([6, 7, 8].map((n) => [n, n]));
    expect(equal([...made.ids], await ids({ ...base, maxTokens: 3 }))).toBe(true);
  });

  it('every option is covered here or by the tests of cancelling', () => {
    const here = [
      ...effects.map(([name]) => name),
      'badWords',
      'stopTokens',
      'ignoreEos',
      'minTokens',
      'stop',
      'echo',
      'n',
      'logprobs',
      'signal',
      // tests/tasks/look_inside_*.test.ts
      'trace',
      'steer',
      'maskHeads',
    ];
    expect([...new Set(here)].sort()).toEqual(Object.keys(generateRules).sort());
  });
});

describe('log-probabilities', () => {
  /** log softmax of each row, in doubles. */
  function logSoftmax(row: Float32Array): Float64Array {
    const top = row.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
    const total = row.reduce((sum, x) => sum + Math.exp(x - top), 0);
    return Float64Array.from(row, (x) => x - top - Math.log(total));
  }

  it('are those of the raw logits, best first; score is their sum', async () => {
    const made = await make({ ...sampled, logprobs: 5, repetitionPenalty: 1.5, logitBias: { 3: 4 } });
    const { logits, shape } = await model.forward({ inputIds: [...prompt, ...made.ids.slice(0, -1)] });
    expect(shape).toEqual([29, tokenizer.vocabSize]);
    let sum = 0;
    for (const [i, { id, logprob, top }] of made.logprobs!.entries()) {
      const row = logSoftmax(logits.subarray((5 + i) * shape[1], (6 + i) * shape[1]));
      expect(logprob).toBeCloseTo(row[id]!, 5);
      const best = Array.from(row.keys())
        .sort((a, b) => row[b]! - row[a]!)
        .slice(0, 5);
      expect(top.map((t) => t.id)).toEqual(best);
      for (const t of top) expect(t.logprob).toBeCloseTo(row[t.id]!, 5);
      sum += row[id]!;
    }
    expect(await model.score(prompt, made.ids)).toBeCloseTo(-sum, 4);
    expect((await make({ ...sampled, logprobs: true })).logprobs![0]!.top).toEqual([]);
    expect((await make(sampled)).logprobs).toBeUndefined();
  });

  it('forward: the last row alone has the bits of the last of all', async () => {
    const all = await model.forward({ inputIds: prompt });
    const last = await model.forward({ inputIds: Int32Array.from(prompt) }, { logits: 'last' });
    expect(last.shape).toEqual([1, tokenizer.vocabSize]);
    expect(last.logits).toEqual(all.logits.slice(-tokenizer.vocabSize));
  });
});

it.each([
  { temperature: -1 },
  { temperature: '1' },
  { topK: 1.5 },
  { nonsense: 1 },
  { max_tokens: 3 },
  { stop: [''] },
  { stopTokens: [100000] },
  { logitBias: { 100000: 1 } },
  { badWords: [[100000]] },
  { n: 0 },
  { n: 100 },
  { mirostat: {}, topK: 4 },
  { greedy: true, temperature: 1 },
  { minTokens: 50 },
  { maxTokens: 0 },
  { logprobs: 21 },
  { seed: -1 },
  { signal: {} },
  { logitsProcessor: 'x' },
  { signal: 'now' },
  { dry: { multiplier: 1, what: 2 } },
])('%j is refused', async (bad) => {
  await expect(make({ maxTokens: 10, ...bad } as GenerateOptions)).rejects.toBeInstanceOf(OptionError);
});
