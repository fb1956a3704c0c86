/** Promise 2 of the design for every weight type: a cell is a type in one way of dividing the work, bits compared. */
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { GenerateOptions } from '../../lib/generation/options.js';
import { type WeightDType, weightDTypes } from '../../lib/graph/dtype.js';
import type { GenerationResult } from '../../lib/tasks/generation.js';
import type { TextModel } from '../../lib/tasks/text_model.js';
import { type QuantizeType, quantizeTypes } from '../../lib/weights/quantize_rules.js';
import type { RawConfig } from '../../lib/weights/types.js';
import { expectSameBits } from '../support/compare.js';
import { testDevices } from '../support/run_op.js';
import { llamaConfig, randomModel } from './models.js';
import { allLogits, facts, lengths, prompts, styles } from './same_answer.js';

/** Rows of 256 and 512 hold every block; 8 rows of k and of v, and 515 of the head, end within a panel. */
const vocab = 515;
const config: RawConfig = {
  ...llamaConfig,
  vocab_size: vocab,
  hidden_size: 256,
  intermediate_size: 512,
  num_attention_heads: 32,
  num_key_value_heads: 1,
};

/** The same weights, computed in different ways. */
interface Models {
  readonly one: TextModel;
  readonly two: TextModel;
  readonly chunked: TextModel;
}

/** Prompts with what each gives alone: whole, on one thread. */
interface Expected {
  readonly all: readonly Int32Array[];
  readonly logits: readonly Float32Array[];
}

async function expectedOf({ one }: Models, all: readonly Int32Array[]): Promise<Expected> {
  const logits: Float32Array[] = [];
  for (const ids of all) logits.push((await allLogits(one.host, [ids], ids.length))[0]!);
  expect(logits.every((x) => x.every(Number.isFinite))).toBe(true);
  return { all, logits };
}

/** Takes the prompts at these places in together, `chunk` rows of each at a time. */
async function check(model: TextModel, { all, logits }: Expected, places: readonly number[], chunk: number) {
  const found = await allLogits(
    model.host,
    places.map((i) => all[i]!),
    chunk,
  );
  for (const [n, i] of places.entries()) expectSameBits(found[n]!, logits[i]!, `prompt of ${all[i]!.length}, logits`);
}

async function checkAlone(model: TextModel, expected: Expected, chunk: number, longest = Number.POSITIVE_INFINITY) {
  for (const [i, ids] of expected.all.entries()) if (ids.length <= longest) await check(model, expected, [i], chunk);
}

type Request = readonly [Int32Array, GenerateOptions];
const ask = (model: TextModel, [ids, options]: Request): Promise<GenerationResult> =>
  model.generate(ids, options).result();

/** Greedy and sampled with penalties; every third gives three completions. */
function requestsFor(sizes: readonly number[]): Request[] {
  const options = (i: number) => ({ ...styles[i % 4], maxTokens: 6 + i, logprobs: 3, ...(i % 3 === 2 && { n: 3 }) });
  return prompts(vocab, sizes).map((ids, i) => [ids, options(i)]);
}

/** Generations of one after the other on one thread, a step at a time. */
async function generatedBy(model: TextModel, requests: readonly Request[]): Promise<unknown[]> {
  const made: unknown[] = [];
  for (const request of requests) made.push(facts(await ask(model, request)));
  return made;
}

const together = async (model: TextModel, requests: readonly Request[]): Promise<unknown[]> =>
  (await Promise.all(requests.map((r) => ask(model, r)))).map(facts);

/** Runs `work` while steps seem to take no time, so that calls of several are made; returns the calls that had more. */
async function severalSteps(model: TextModel, work: () => Promise<void>): Promise<number> {
  const clock = vi.spyOn(performance, 'now').mockReturnValue(1);
  const run = model.host.step.run.bind(model.host.step);
  let several = 0;
  const spy = vi.spyOn(model.host.step, 'run').mockImplementation((dims, inputs, k) => {
    several += k !== undefined && k > 1 ? 1 : 0;
    return run(dims, inputs, k);
  });
  try {
    await work();
  } finally {
    spy.mockRestore();
    clock.mockRestore();
  }
  return several;
}

/** One description per type; its models live as long. */
function describeType(device: string, type: QuantizeType, sizes: readonly number[], every: boolean, layers = 2): void {
  describe(`${type} on ${device}`, () => {
    let models: Models;
    let mixed: Expected;
    let crowd: Expected;
    const requests = requestsFor(sizes);
    let generated: unknown[];
    const places = sizes.map((_, i) => i);
    const back = [...places].reverse();

    beforeAll(async () => {
      const base = { config: { ...config, num_hidden_layers: layers }, quantize: type, device };
      models = {
        one: await randomModel({ ...base, threads: 1, decodeSteps: 1 }),
        two: await randomModel({ ...base, threads: 2, decodeSteps: 8 }),
        chunked: await randomModel({ ...base, threads: 2, decodeSteps: 3, prefillChunk: 7 }),
      };
      mixed = await expectedOf(models, prompts(vocab, sizes));
      const upTo = every ? 32 : 7;
      const rising = Array.from({ length: upTo }, (_, i) => i + 1);
      crowd = await expectedOf(models, prompts(vocab, rising));
      generated = await generatedBy(models.one, requests);
    });
    afterAll(async () => {
      for (const model of Object.values(models ?? {})) await model.dispose();
    });

    it('all at once, 2 threads', () => check(models.two, mixed, places, 512));
    it('neighbours in the other order, chunks of 7', () => check(models.one, mixed, back, 7));
    it('32 sequences (7 on slow tiers) and fewer with every step, a row of each, 2 threads', () =>
      check(models.two, crowd, [...crowd.all.keys()], 1));
    it('generations: together, neighbours in the other order, chunks of 7, 2 threads', async () => {
      expect((await together(models.chunked, [...requests].reverse())).reverse()).toEqual(generated);
    });
    it('generations: together, several steps a call, 2 threads', async () => {
      const several = await severalSteps(models.two, async () => {
        for (let i = 0; i < 2; i++) expect(await together(models.two, requests)).toEqual(generated);
      });
      expect(several).toBeGreaterThan(0);
    });
    if (!every) return;

    it('alone, 2 threads', () => checkAlone(models.two, mixed, 512));
    it('alone, chunks of 7', () => checkAlone(models.one, mixed, 7));
    it('alone, chunks of 1', () => checkAlone(models.one, mixed, 1, 101));
    it('neighbours in the other order', () => check(models.one, mixed, back, 512));
    it('all at once, chunks of 7, 2 threads', () => check(models.two, mixed, places, 7));
    it('all at once, chunks of 1, 2 threads', () => check(models.two, mixed, places, 1));
    it('every two neighbours', async () => {
      for (const i of places.slice(1)) {
        await check(models.one, mixed, [i - 1, i], 512);
        await check(models.two, mixed, [i, i - 1], 512);
      }
    });
    it('generations: alone, several steps a call, 2 threads', async () => {
      const several = await severalSteps(models.two, async () => {
        expect(await generatedBy(models.two, requests)).toEqual(generated);
      });
      expect(several).toBeGreaterThan(0);
    });
    it('forks of a prompt: the first of three is the only one of one', async () => {
      for (const [ids, options] of requests) {
        const [fork, single] = await Promise.all([
          ask(models.two, [ids, { ...options, n: 3 }]),
          ask(models.chunked, [ids, { ...options, n: 1 }]),
        ]);
        expect((facts(fork) as unknown[])[0]).toEqual((facts(single) as unknown[])[0]);
        expect(fork.completions).toHaveLength(3);
      }
    });
  });
}

const [best, ...others] = testDevices(); // the fastest comes first
const types = Object.keys(weightDTypes) as WeightDType[];

it('every type that load() takes is here', () => {
  expect(quantizeTypes.filter((t) => !types.includes(t as WeightDType))).toEqual(['q4_k_m', 'q5_k_m']);
});
for (const type of types) describeType(best!, type, lengths, true);
for (const device of others) {
  const [sizes, layers] = device === 'cpu:generic' ? [[13, 1, 4], 1] : [[33, 1, 12], 2];
  for (const type of types) describeType(device, type, sizes, false, layers);
}
