import { afterAll, beforeAll, expect, it } from 'vitest';
import { DisposedError, InputError } from '../../lib/errors.js';
import type { GenerationResult } from '../../lib/tasks/generation.js';
import type { TextModel } from '../../lib/tasks/text_model.js';
import { llamaConfig, randomModel, tinyConfig } from '../engine/models.js';

const options = { temperature: 1, seed: 9, maxTokens: 12, logprobs: 3 } as const;
const bits = (r: GenerationResult): unknown => r.completions.map((c) => c.logprobs);
const first = Array.from({ length: 45 }, (_, i) => (i * 7) % 280);

let model: TextModel;
beforeAll(async () => {
  model = await randomModel();
});
afterAll(() => model.dispose());

/** Rows that steps of the model take in while `body` runs. */
async function rowsOf(on: TextModel, body: () => Promise<unknown>): Promise<number> {
  const step = on.host.step;
  const run = step.run.bind(step);
  let rows = 0;
  step.run = (dims, inputs, k) => {
    rows += dims.rows!;
    return run(dims, inputs, k);
  };
  await body();
  delete (step as { run?: unknown }).run;
  return rows;
}

it('turns give the bits of the same calls without a session, and take in only what is new', async () => {
  const session = model.session();
  expect(session.cachedTokens).toBe(0);
  let prompt = first;
  for (let turn = 0; turn < 4; turn++) {
    const alone = await model.generate(prompt, options).result();
    const cached = session.cachedTokens;
    let result: GenerationResult | undefined;
    const rows = await rowsOf(model, async () => {
      result = await session.generate(prompt, options).result();
    });
    expect(bits(result!)).toEqual(bits(alone));
    expect(session.cachedTokens).toBe(prompt.length + 11);
    expect(cached).toBe(turn === 0 ? 0 : prompt.length - 4);
    expect(rows).toBeLessThanOrEqual(prompt.length - cached + 11);
    prompt = [...prompt, ...result!.ids, 1, 2, 3];
  }
  session.dispose();
  expect(model.host.engine.load.blocksUsed).toBe(0);
});

it('a prompt that departs from the kept one, is a part of it, or repeats it', async () => {
  const session = model.session();
  await session.generate(first, options).result();
  for (const prompt of [[...first.slice(0, 20), 3, 4, 5], first.slice(0, 33), first, [9, 9], first]) {
    expect(bits(await session.generate(prompt, options).result())).toEqual(
      bits(await model.generate(prompt, options).result()),
    );
  }
  session.dispose();
});

it('several completions share the kept blocks, and the next turn continues the first', async () => {
  const session = model.session();
  const two = { ...options, n: 3 };
  const alone = await model.generate(first, two).result();
  const made = await session.generate(first, two).result();
  expect(bits(made)).toEqual(bits(alone));
  const next = [...first, ...made.ids, 5];
  expect(bits(await session.generate(next, two).result())).toEqual(bits(await model.generate(next, two).result()));
  session.dispose();
  expect(model.host.engine.load.blocksUsed).toBe(0);
});

it('a cancelled or failed turn leaves a cache that is still right', async () => {
  const session = model.session();
  for await (const _ of session.generate(first, { ...options, maxTokens: 500 })) break;
  await new Promise((resolve) => setTimeout(resolve, 30));
  expect(session.cachedTokens).toBeGreaterThanOrEqual(first.length);
  const next = [...first, 7, 7];
  expect(bits(await session.generate(next, options).result())).toEqual(
    bits(await model.generate(next, options).result()),
  );
  const fail = session.generate(next, { ...options, logitsProcessor: (x) => x.fill(Number.NaN) });
  await expect(fail.result()).rejects.toMatchObject({ code: 'ERR_NUMERIC' });
  expect(bits(await session.generate(next, options).result())).toEqual(
    bits(await model.generate(next, options).result()),
  );
  session.dispose();
  expect(model.host.engine.load.blocksUsed).toBe(0);
});

it('sessions whose blocks were taken back answer all the same', async () => {
  const own = await randomModel({
    config: llamaConfig,
    kvMemory: 12 * (2 * 2 * 2 * 66 * 32 * 4 + 128),
    maxContext: 200,
  });
  expect(own.host.plan.blocks).toBe(12);
  const sessions = [0, 1, 2, 3, 4].map(() => own.session());
  const kept = [0, 0];
  for (let round = 0; round < 3; round++) {
    for (const [i, session] of sessions.entries()) {
      const prompt = [i, ...first, ...Array.from({ length: 20 * round }, (_, j) => i + j)];
      kept[session.cachedTokens > 0 ? 1 : 0]!++;
      const made = await session.generate(prompt, options).result();
      expect(bits(made)).toEqual(bits(await own.generate(prompt, options).result()));
    }
  }
  expect(kept[0]).toBeGreaterThan(5);
  for (const session of sessions) session.dispose();
  expect(own.host.engine.load.blocksUsed).toBe(0);
  await own.dispose();
});

it.each([
  ['dynamic', { rope_scaling: { rope_type: 'dynamic', factor: 4 }, max_position_embeddings: 64 }],
  [
    'longrope',
    {
      model_type: 'phi3',
      architectures: ['Phi3ForCausalLM'],
      max_position_embeddings: 256,
      original_max_position_embeddings: 64,
      rope_scaling: { type: 'longrope', short_factor: Array(8).fill(1), long_factor: Array(8).fill(3) },
    },
  ],
] as const)('%s: a session across the length where rope angles change', async (_, change) => {
  const own = await randomModel({ config: { ...tinyConfig, ...change } as never });
  const session = own.session();
  let prompt = first;
  for (let turn = 0; turn < 4; turn++) {
    const alone = await own.generate(prompt, { ...options, n: 2 }).result();
    const made = await session.generate(prompt, { ...options, n: 2 }).result();
    expect(bits(made)).toEqual(bits(alone));
    prompt = [...prompt, ...made.ids];
  }
  const back = first.slice(0, 40);
  expect(bits(await session.generate(back, options).result())).toEqual(
    bits(await own.generate(back, options).result()),
  );
  await own.dispose();
});

it('one turn at a time, none after dispose', async () => {
  const session = model.session();
  const turn = session.generate(first, options);
  expect(() => session.generate(first, options)).toThrow(InputError);
  await turn.result();
  const last = session.generate(first, { ...options, maxTokens: 300 });
  session.dispose();
  expect((await last.result()).ids).toHaveLength(300);
  expect(() => session.generate(first, options)).toThrow(DisposedError);
  session.dispose();
  expect(model.host.engine.load.blocksUsed).toBe(0);
});
