import { afterEach, expect, it, vi } from 'vitest';
import type { TextModel } from '../../lib/tasks/text_model.js';
import { randomModel } from './models.js';

afterEach(() => void vi.restoreAllMocks());

/** Steps seem to take no time: calls of `decodeSteps` steps are made however busy the machine is. Counts rows per call. */
function watch(model: TextModel): { k: number; rows: number }[] {
  vi.spyOn(performance, 'now').mockReturnValue(1);
  const calls: { k: number; rows: number }[] = [];
  const run = model.host.step.run.bind(model.host.step);
  model.host.step.run = (dims, inputs, k = 1) => {
    calls.push({ k, rows: dims.rows! });
    return run(dims, inputs, k);
  };
  return calls;
}

const options = { temperature: 1, seed: 3, logprobs: 2 } as const;

it('calls of several steps: sequences that end sooner, and nearer to the end of their blocks', async () => {
  const model = await randomModel({ decodeSteps: 8 });
  const prompts: [number[], number][] = [
    [Array(20).fill(3), 12], // ends with its only block full
    [[4, 5, 6], 29],
    [Array(63).fill(9), 2],
    [Array(5).fill(7), 60],
  ];
  const ask = ([prompt, maxTokens]: [number[], number]) => model.generate(prompt, { ...options, maxTokens }).result();
  const alone: unknown[] = [];
  for (const p of prompts) alone.push((await ask(p)).logprobs);
  const calls = watch(model);
  for (let i = 0; i < 3; i++) expect((await Promise.all(prompts.map(ask))).map((r) => r.logprobs)).toEqual(alone);
  expect(calls.some((c) => c.k > 4 && c.rows > 1)).toBe(true);
  await model.dispose();
});

it('16 generations at once give the bits of 16 in a row, in few calls', async () => {
  const model = await randomModel({ decodeSteps: 8 });
  const ask = (i: number) =>
    model
      .generate(
        Array.from({ length: 1 + 5 * i }, (_, j) => (i * 17 + j * j) % 288),
        {
          ...options,
          maxTokens: 30,
          seed: i,
          stopTokens: [i, 2 * i, 100],
          presencePenalty: 0.5,
          ...(i % 3 === 0 && { temperature: 0.5, dry: { multiplier: 1, sequenceBreakers: [] } }),
          ...(i % 5 === 0 && { mirostat: { tau: 4 } }),
        },
      )
      .result();
  const sequential: unknown[] = [];
  for (let i = 0; i < 16; i++) sequential.push((await ask(i)).logprobs);
  const calls = watch(model);
  expect((await Promise.all(Array.from({ length: 16 }, (_, i) => ask(i)))).map((r) => r.logprobs)).toEqual(sequential);
  expect(calls.length).toBeLessThan(60);
  expect(model.host.engine.load.blocksUsed).toBe(0);
  await model.dispose();
});

it('calls of the same tick share their first step; later ones join the next', async () => {
  const model = await randomModel({ decodeSteps: 1 });
  const calls = watch(model);
  const early = [1, 2, 3].map((i) => model.generate([i], { maxTokens: 40 }).result());
  await Promise.all(early);
  expect(calls[0]!.rows).toBe(3);
  calls.length = 0;
  const running = model.generate([1], { maxTokens: 200 });
  for await (const _ of running) {
    if (calls.length === 5) void model.generate([2, 3], { maxTokens: 4 }).result();
    if (calls.length > 12) break;
  }
  expect(calls.map((c) => c.rows)).toContain(3); // one row of the first, two of the newcomer's prompt
  expect(calls.map((c) => c.rows)).toContain(2);
  await model.dispose();
});

it('several completions copy the block that they share before they write it', async () => {
  const model = await randomModel({ decodeSteps: 8 });
  watch(model);
  await model.generate([1], { maxTokens: 20 }).result(); // from now on calls take 8 steps
  const used: number[] = [];
  const step = model.host.step;
  const run = step.run.bind(step);
  step.run = (dims, inputs, k) => {
    used.push(model.host.engine.load.blocksUsed);
    return run(dims, inputs, k);
  };
  const prompt = Array.from({ length: 70 }, (_, i) => i);
  const made = await model.generate(prompt, { ...options, n: 4, maxTokens: 20 }).result();
  const alone = await model.generate(prompt, { ...options, n: 1, maxTokens: 20 }).result();
  expect(made.logprobs).toEqual(alone.logprobs);
  // Two full blocks are shared for good; each completion has a third of its own.
  expect(Math.max(...used)).toBe(2 + 4);
  expect(model.host.engine.load.blocksUsed).toBe(0);
  await model.dispose();
});
