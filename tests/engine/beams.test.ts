/** Beams in the engine: as transformers has them, in one batch with other requests, in shared KV blocks. */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { tellBeams } from '../../lib/engine/beams.js';
import { blocksFor } from '../../lib/engine/kv_blocks.js';
import type { GenerationRequest } from '../../lib/engine/sequence.js';
import { ContextOverflowError, OptionError } from '../../lib/errors.js';
import type { GenerateOptions } from '../../lib/generation/options.js';
import { pageTokens } from '../../lib/layers/decoder.js';
import type { GenerationResult } from '../../lib/tasks/generation.js';
import { load } from '../../lib/tasks/load.js';
import { TextModel } from '../../lib/tasks/text_model.js';
import type { RawConfig } from '../../lib/weights/types.js';
import { fixture } from '../support/fixtures.js';
import { Random } from '../support/random.js';
import { gemma2Config, gpt2Config, llamaConfig, randomModel } from './models.js';

interface BeamCase {
  readonly fixture: string;
  readonly prompt: readonly number[];
  readonly max_new_tokens: number;
  readonly options: Readonly<Record<string, unknown>>;
  readonly sequences: readonly (readonly number[])[];
  readonly scores: readonly number[];
}

const cases = JSON.parse(
  readFileSync(new URL('../fixtures/beams.json', import.meta.url), 'utf8'),
) as readonly BeamCase[];

/** Options of a case by our names. */
function optionsOf(c: BeamCase): GenerateOptions {
  const o = c.options as Record<string, never>;
  return {
    ...{ greedy: true, maxTokens: c.max_new_tokens, ignoreEos: true, n: c.sequences.length },
    ...{ numBeams: o.num_beams, lengthPenalty: o.length_penalty, earlyStopping: o.early_stopping },
    // Nothing of the fixture's own generation_config.json.
    ...{
      stopTokens: o.eos_token_id ?? [],
      repetitionPenalty: o.repetition_penalty ?? 1,
      badWords: o.bad_words_ids ?? [],
    },
    ...{ noRepeatNgram: o.no_repeat_ngram_size ?? 0, minTokens: o.min_new_tokens ?? 0 },
  };
}

describe('sequences and scores of transformers', () => {
  for (const name of new Set(cases.map((c) => c.fixture))) {
    it(name, async () => {
      const model = (await load(fixture('models', name).folder, { device: 'cpu', compute: 'f32' })) as TextModel;
      try {
        for (const renormalize of [false, true]) {
          const own = cases.filter(
            (c) => c.fixture === name && (c.options.renormalize_logits === true) === renormalize,
          );
          const defaults = { ...model.defaults, other: renormalize ? { renormalize_logits: true } : {} };
          const asked = new TextModel(model.host, model.checkpoint, undefined, defaults);
          const results = await Promise.all(own.map((c) => asked.generate(c.prompt, optionsOf(c)).result()));
          for (const [i, c] of own.entries()) {
            const { completions } = results[i]!;
            expect(completions.map((b) => b.ids)).toEqual(c.sequences);
            for (const [b, { score }] of completions.entries())
              expect(Math.abs(score! - c.scores[b]!)).toBeLessThan(1e-4 * Math.max(1, Math.abs(c.scores[b]!)));
          }
        }
      } finally {
        await model.dispose();
      }
    });
  }
});

const facts = (r: GenerationResult): unknown =>
  r.completions.map((c) => ({ ids: c.ids, score: c.score, logprobs: c.logprobs, reason: c.finishReason }));

describe.each<readonly [string, RawConfig]>([
  ['llama', llamaConfig],
  ['gpt2', gpt2Config],
  ['gemma2', gemma2Config],
])('%s', (_, config) => {
  const random = new Random(9);
  const prompts = [1, 31, 32, 33, 101].map((n) => random.integers(n, 0, 515));
  const models: TextModel[] = [];
  beforeAll(async () => {
    models.push(await randomModel({ config, threads: 1, kvMemory: '16MiB', maxContext: 256 }));
    models.push(await randomModel({ config, threads: 2, kvMemory: '16MiB', maxContext: 256, prefillChunk: 7 }));
  });
  afterAll(() => Promise.all(models.map((m) => m.dispose())));

  const kinds: readonly GenerateOptions[] = [
    { numBeams: 4, n: 4, maxTokens: 20, stopTokens: [3, 40, 77] },
    { numBeams: 3, n: 2, maxTokens: 40, lengthPenalty: 0.4, earlyStopping: true, noRepeatNgram: 2, stopTokens: [5] },
    { greedy: true, maxTokens: 12, logprobs: true },
    { numBeams: 6, n: 6, numBeamGroups: 3, diversityPenalty: 0.7, maxTokens: 9, repetitionPenalty: 1.2 },
    { temperature: 0.8, seed: 4, n: 2, maxTokens: 10, logprobs: true },
  ];
  const run = (model: TextModel, i: number) => model.generate(prompts[i]!, kinds[i]!).result();

  it('the same bits alone, together, in both orders, on one and two threads, prompts in chunks; all blocks come back', async () => {
    const alone: unknown[] = [];
    for (const i of prompts.keys()) alone.push(facts(await run(models[0]!, i)));
    for (const model of models) {
      expect((await Promise.all(prompts.map((_p, i) => run(model, i)))).map(facts)).toEqual(alone);
      const back = await Promise.all([...prompts.keys()].reverse().map((i) => run(model, i)));
      expect(back.reverse().map(facts)).toEqual(alone);
      expect(model.host.engine.load).toMatchObject({ running: 0, blocksUsed: 0 });
      expect(model.host.engine.blocks.available).toBe(model.host.engine.blocks.capacity);
    }
  });

  it('beams share blocks: never more than those of the prompt and their own', async () => {
    const { blocks } = models[0]!.host.engine;
    const [prompt, maxTokens, beams] = [prompts[4]!, 70, 4];
    let most = 0;
    const take = blocks.take.bind(blocks);
    vi.spyOn(blocks, 'take').mockImplementation(() => {
      const block = take();
      most = Math.max(most, blocks.used);
      return block;
    });
    const found = await models[0]!.generate(prompt, { numBeams: beams, maxTokens, stopTokens: [] }).result();
    vi.restoreAllMocks();
    expect(found.ids).toHaveLength(maxTokens);
    expect(most).toBeGreaterThan(blocksFor(prompt.length + maxTokens));
    expect(most).toBeLessThanOrEqual(blocksFor(prompt.length) + beams * (Math.ceil(maxTokens / pageTokens) + 1));
  });

  it('more requests than there is room for wait their turn and lose nothing', async () => {
    const model = await randomModel({ config, threads: 1, kvMemory: '1500KiB', maxContext: 64, maxSequences: 5 });
    try {
      const asked = { numBeams: 4, n: 4, maxTokens: 20 };
      const few = prompts.slice(0, 4);
      const alone = [];
      for (const p of few) alone.push(facts(await models[0]!.generate(p, asked).result()));
      const made = await Promise.all(few.map((p) => model.generate(p, asked).result()));
      expect(made.map(facts)).toEqual(alone);
    } finally {
      await model.dispose();
    }
  });

  it('aborting frees everything and leaves neighbours alone', async () => {
    const model = models[0]!;
    const own = new AbortController();
    const running = model.generate(prompts[4]!, { numBeams: 4, maxTokens: 120, signal: own.signal }).result();
    const failed = expect(running).rejects.toThrow(/abort/i);
    const neighbour = run(model, 2);
    setTimeout(() => own.abort(), 5);
    await failed;
    expect(facts(await neighbour)).toEqual(facts(await run(model, 2)));
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(model.host.engine.blocks.available).toBe(model.host.engine.blocks.capacity);
  });
});

describe('options', () => {
  let model: TextModel;
  beforeAll(async () => {
    model = await randomModel({ config: llamaConfig, threads: 1, kvMemory: '4MiB', maxContext: 128, maxSequences: 8 });
  });
  afterAll(() => model.dispose());
  const ask = (options: object) => model.generate([1, 2, 3], { maxTokens: 5, ...options }).result();

  it('bad ones are refused by name', async () => {
    for (const [options, name] of [
      [{ numBeams: 0 }, 'numBeams'],
      [{ numBeams: 2.5 }, 'numBeams'],
      [{ numBeams: 100 }, 'numBeams'],
      [{ numBeams: 9 }, 'numBeams'],
      [{ numBeams: 4, n: 5 }, 'n'],
      [{ numBeams: 4, numBeamGroups: 3 }, 'numBeamGroups'],
      [{ numBeams: 4, earlyStopping: 'soon' }, 'earlyStopping'],
      [{ lengthPenalty: 1 }, 'lengthPenalty'],
      [{ numBeams: 4, temperature: 0.5 }, 'temperature'],
      [{ numBeams: 4, topK: 5 }, 'temperature'],
      [{ numBeams: 4, stop: ['x'] }, 'stop'],
      [{ numBeams: 4, logprobs: true }, 'logprobs'],
      [{ numBeams: 4, logitsProcessor: () => undefined }, 'logitsProcessor'],
      [{ numBeams: 4, diversityPenalty: Number.NaN }, 'diversityPenalty'],
    ] as const) {
      const error = await ask(options).catch((e: unknown) => e);
      expect(error, JSON.stringify(options)).toBeInstanceOf(OptionError);
      expect((error as OptionError).name + JSON.stringify(error) + String(error)).toContain(name);
    }
    await expect(model.generate([1], { numBeams: 4, maxTokens: 200 }).result()).rejects.toThrow(ContextOverflowError);
  });

  it('one beam is greedy; a checkpoint may ask for beams, a caller for none', async () => {
    const greedy = await ask({ greedy: true });
    expect((await ask({ numBeams: 1 })).ids).toEqual(greedy.ids);
    const beams = new TextModel(model.host, model.checkpoint, undefined, { ...model.defaults, numBeams: 4 });
    const made = async (o: object) => beams.generate([1, 2, 3], { maxTokens: 5, ...o }).result();
    expect(facts(await made({}))).toEqual(facts(await ask({ numBeams: 4 })));
    expect((await made({ greedy: true })).ids).toEqual(greedy.ids);
    expect((await made({ temperature: 0.7, seed: 1 })).score).toBeUndefined();
  });

  it('a checkpoint that samples wants greedy: true with beams', async () => {
    const drawn = new TextModel(model.host, model.checkpoint, undefined, { ...model.defaults, doSample: true });
    const made = async (o: object) => drawn.generate([1, 2, 3], { maxTokens: 5, numBeams: 4, ...o }).result();
    await expect(made({})).rejects.toThrow(/beams are not sampled.*greedy: true/);
    expect(facts(await made({ greedy: true }))).toEqual(facts(await ask({ numBeams: 4 })));
  });

  it('fewer sequences than n are an error, and the blocks come back', async () => {
    const banned = Array.from({ length: 515 }, (_, id) => [id]).filter(([id]) => id !== 7);
    const asked = { numBeams: 2, n: 2, badWords: banned, stopTokens: [7], maxTokens: 1 };
    const { completions } = await ask(asked);
    // As in transformers: with one id allowed the second beam is the first again, far worse.
    expect(completions.map((c) => [c.ids[0], c.score! < -1e8])).toEqual([
      [7, false],
      [7, true],
    ]);
    const request = { prompt: new Int32Array(1), options: { n: 2, stopIds: [] }, sink: undefined };
    expect(() =>
      tellBeams(request as unknown as GenerationRequest, [{ ids: [1, 2], score: -1, logProbs: [-1] }]),
    ).toThrow(OptionError);
    expect(model.host.engine.blocks.available).toBe(model.host.engine.blocks.capacity);
  });

  it('pieces come when the search is over, one per sequence and id', async () => {
    const pieces = [];
    for await (const piece of model.generate([1, 2, 3], { numBeams: 3, n: 2, maxTokens: 4 })) pieces.push(piece);
    expect(pieces.map((p) => p.index)).toEqual([0, 0, 0, 0, 1, 1, 1, 1]);
  });
});
