/** Promise 2 of the design: the bits of a request do not depend on what else runs, nor on how its prompt is divided. */
import { describe, expect, it, vi } from 'vitest';
import { DecoderHost } from '../../lib/engine/host.js';
import { blocksFor, KvBlocks } from '../../lib/engine/kv_blocks.js';
import { packStep, type StepRows } from '../../lib/engine/step_inputs.js';
import type { GenerateOptions } from '../../lib/generation/options.js';
import type { WeightDType } from '../../lib/graph/dtype.js';
import { pageTokens } from '../../lib/layers/decoder.js';
import type { GenerationResult } from '../../lib/tasks/generation.js';
import type { RawConfig } from '../../lib/weights/types.js';
import { expectSameBits } from '../support/compare.js';
import { Random } from '../support/random.js';
import { testDevices } from '../support/run_op.js';
import { randomDecoder, randomModel } from './models.js';

/** 1, around a page, several pages, and past one chunk of 256 keys. */
export const lengths: readonly number[] = [1, pageTokens - 1, pageTokens, pageTokens + 1, 3 * pageTokens + 5, 300];

export function prompts(vocab: number, sizes: readonly number[] = lengths): Int32Array[] {
  const random = new Random(77);
  return sizes.map((n) => random.integers(n, 0, vocab));
}

/** Takes the prompts through the model in one batch, `chunk` rows of each per step; logits of all rows, by prompt. */
export async function allLogits(host: DecoderHost, all: readonly Int32Array[], chunk: number): Promise<Float32Array[]> {
  const executable = await host.program(['logits']);
  const pool = new KvBlocks(host.plan.blocks);
  const tables = all.map((ids) => pool.open(ids.length)!);
  const vocab = host.built.vocabSize;
  const out = all.map((ids) => new Float32Array(ids.length * vocab));
  for (let from = 0; all.some((ids) => from < ids.length); from += chunk) {
    const members = all
      .map((ids, i) => ({ i, rows: ids.subarray(from, from + chunk) }))
      .filter((m) => m.rows.length > 0);
    const rows = members.map(({ i, rows: ids }): StepRows => {
      tables[i]!.write(from, from + ids.length);
      const logits = Array.from(ids, (_, r) => r);
      return { ids, from, ropeLength: all[i]!.length, blocks: tables[i]!.blocks, logits };
    });
    const step = packStep(
      rows,
      [],
      host.built.groups.map((g) => g.name),
      blocksFor(1),
    );
    const { outputs } = await executable.run(step.dims, step.inputs);
    let at = 0;
    for (const { i, rows: ids } of members) {
      out[i]!.set((outputs.logits as Float32Array).subarray(at * vocab, (at + ids.length) * vocab), from * vocab);
      at += ids.length;
    }
  }
  return out;
}

/** All that a generation gives, bits of logprobs included. */
export const facts = (r: GenerationResult): unknown =>
  r.completions.map((c) => ({ ids: c.ids, logprobs: c.logprobs, reason: c.finishReason }));

/** How each request is generated: greedy and sampled, every kind of penalty. */
export const styles: readonly GenerateOptions[] = [
  { greedy: true },
  { temperature: 0.9, seed: 11, topK: 40, topP: 0.95 },
  { temperature: 0.7, seed: 12, repetitionPenalty: 1.2, frequencyPenalty: 0.3, presencePenalty: 0.2, noRepeatNgram: 3 },
  {
    temperature: 1.2,
    seed: 13,
    typicalP: 0.9,
    xtc: { probability: 0.5 },
    dry: { multiplier: 0.8, sequenceBreakers: [] },
  },
];

export interface AnswerCase {
  readonly name: string;
  readonly config: RawConfig;
  readonly dtype: WeightDType;
}

function logitsTest(device: string, { config, dtype }: AnswerCase): void {
  it('logits: chunks of 1, 7 and all, alone and with neighbours in both orders, 1 and 2 threads', async () => {
    const built = () => randomDecoder({ config, dtype });
    const [one, two] = [
      await DecoderHost.open(built(), { device, threads: 1, kvMemory: '64MiB' }),
      await DecoderHost.open(built(), { device, threads: 2, kvMemory: '64MiB' }),
    ];
    try {
      const all = prompts(one.built.vocabSize);
      const alone: Float32Array[] = [];
      for (const ids of all) alone.push((await allLogits(one, [ids], ids.length))[0]!);
      expect(alone.every((x) => x.every(Number.isFinite))).toBe(true);
      const same = (found: Float32Array[], name: string): void =>
        found.forEach((x, i) => {
          expectSameBits(x, alone[i]!, `${name}: prompt of ${all[i]!.length}, logits`);
        });
      const reversed = [...all].reverse();
      same(await allLogits(two, all, 512), 'all at once, 2 threads');
      same((await allLogits(one, reversed, 512)).reverse(), 'reversed');
      same(await allLogits(one, all, 7), 'chunks of 7');
      same((await allLogits(two, reversed, 7)).reverse(), 'chunks of 7, reversed, 2 threads');
      same(await allLogits(one, all.slice(0, 5), 1), 'chunks of 1');
      if (device !== 'cpu:generic') same(await allLogits(two, all, 1), 'chunks of 1, 2 threads');
    } finally {
      await one.dispose();
      await two.dispose();
    }
  });
}

function generationTest(device: string, { config, dtype }: AnswerCase): void {
  it('generations: alone or together, 1 or 8 steps per call, small chunks, 1 and 2 threads', async () => {
    const base = { config, dtype, device };
    const plain = await randomModel({ ...base, threads: 1, decodeSteps: 1 });
    const looped = await randomModel({ ...base, threads: 2, decodeSteps: 8 });
    const chunked = await randomModel({ ...base, threads: 2, decodeSteps: 3, prefillChunk: 7 });
    try {
      // 16 completions of 12 requests; the portable tier is slow.
      const sizes =
        device === 'cpu:generic' ? [1, pageTokens, pageTokens + 1, 40] : [1, pageTokens + 1, 3 * pageTokens + 5, 300];
      const requests = prompts(plain.host.built.vocabSize, sizes).flatMap((ids, i) => [
        [ids, { ...styles[i % 4], maxTokens: 10 + i, logprobs: 5 }] as const,
        [ids.subarray(0, 40), { ...styles[(i + 1) % 4], maxTokens: 9, logprobs: 5, n: 2 }] as const,
        [ids.subarray(0, 35), { ...styles[(i + 2) % 4], maxTokens: 5, logprobs: 5 }] as const,
      ]);
      const expected: unknown[] = [];
      for (const [ids, options] of requests) expected.push(facts(await plain.generate(ids, options).result()));
      for (const model of [looped, chunked]) {
        const together = await Promise.all(requests.map(([ids, options]) => model.generate(ids, options).result()));
        expect(together.map(facts)).toEqual(expected);
      }
      const reversed = await Promise.all([...requests].reverse().map(([ids, o]) => chunked.generate(ids, o).result()));
      expect(reversed.reverse().map(facts)).toEqual(expected);
      // Steps seem to take no time, so that calls of several are made on a busy machine too.
      const clock = vi.spyOn(performance, 'now').mockReturnValue(1);
      let several = 0;
      const run = looped.host.step.run.bind(looped.host.step);
      looped.host.step.run = (dims, inputs, k) => {
        several += k !== undefined && k > 1 ? 1 : 0;
        return run(dims, inputs, k);
      };
      for (const [i, [ids, options]] of requests.entries()) {
        expect(facts(await looped.generate(ids, options).result())).toEqual(expected[i]);
      }
      clock.mockRestore();
      expect(several).toBeGreaterThan(0);
    } finally {
      for (const model of [plain, looped, chunked]) await model.dispose();
    }
  });
}

export function checkSameAnswer(cases: readonly AnswerCase[]): void {
  describe.each(testDevices())('same answer on %s', (device) => {
    describe.each(cases.map((c) => [c.name, c] as const))('%s', (_, c) => {
      logitsTest(device, c);
      generationTest(device, c);
    });
  });
}
