import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AbortError, DisposedError, InputError, NumericError } from '../../lib/errors.js';
import type { TextModel } from '../../lib/tasks/text_model.js';
import { randomModel } from '../engine/models.js';

let model: TextModel;
const unhandled: unknown[] = [];
const note = (error: unknown): void => {
  unhandled.push(error);
};
beforeAll(async () => {
  process.on('unhandledRejection', note);
  model = await randomModel({ prefillChunk: 16 });
});
afterAll(async () => {
  await model.dispose();
  await new Promise((resolve) => setTimeout(resolve, 20));
  process.off('unhandledRejection', note);
  expect(unhandled).toEqual([]);
});

const prompt = [5, 6, 7, 8];
const long = Array.from({ length: 900 }, (_, i) => i % 280);
const seeded = { temperature: 1, seed: 4, maxTokens: 40, logprobs: true } as const;

/** Runs `disturb` beside a generation, whose bits must be those of a quiet run; all blocks are free afterwards. */
async function beside(disturb: () => Promise<void>, on: TextModel = model): Promise<void> {
  const quiet = await on.generate(prompt, seeded).result();
  const noisy = on.generate(prompt, seeded).result();
  await disturb();
  expect((await noisy).logprobs).toEqual(quiet.logprobs);
  await idle(on);
}

async function idle(on: TextModel): Promise<void> {
  for (let i = 0; i < 500 && (on.host.engine.load.running > 0 || on.host.engine.load.waiting > 0); i++) {
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  expect(on.host.engine.load).toMatchObject({ running: 0, waiting: 0, blocksUsed: 0 });
  expect(on.host.engine.blocks.available).toBe(on.host.engine.blocks.capacity);
}

it('leaving the loop cancels', () =>
  beside(async () => {
    const generation = model.generate(prompt, { maxTokens: 900 });
    for await (const _ of generation) break;
    await expect(generation.result()).rejects.toBeInstanceOf(AbortError);
    await idle(model).catch(() => undefined);
  }));

it('a signal that is aborted already ends a generation before it begins', () =>
  beside(async () => {
    const reason = new Error('enough');
    const result = model.generate(prompt, { maxTokens: 20, signal: AbortSignal.abort(reason) }).result();
    await expect(result).rejects.toMatchObject({ name: 'AbortError', code: 'ERR_ABORTED', cause: reason });
  }));

it('a signal ends a long prompt within a chunk', () =>
  beside(async () => {
    const controller = new AbortController();
    let rows = 0;
    const step = model.host.step;
    const run = step.run.bind(step);
    step.run = (dims, inputs, k) => {
      rows += dims.rows!;
      if (rows > 40) controller.abort();
      return run(dims, inputs, k);
    };
    const result = model.generate(long, { maxTokens: 20, signal: controller.signal }).result();
    await expect(result).rejects.toBeInstanceOf(AbortError);
    delete (step as { run?: unknown }).run;
    expect(rows).toBeLessThan(150);
  }));

it('a signal ends decoding, and leaves no listener', () =>
  beside(async () => {
    const controller = new AbortController();
    const generation = model.generate(prompt, { maxTokens: 900, signal: controller.signal });
    let pieces = 0;
    const read = (async () => {
      for await (const _ of generation) if (++pieces === 3) controller.abort();
    })();
    await expect(read).rejects.toBeInstanceOf(AbortError);
    await expect(generation.result()).rejects.toBeInstanceOf(AbortError);
    await expect(generation.text()).rejects.toBeInstanceOf(AbortError);
    expect(pieces).toBeLessThan(100);
  }));

it('cancel() ends all completions', () =>
  beside(async () => {
    const generation = model.generate(prompt, { maxTokens: 900, n: 4 });
    const iterator = generation[Symbol.asyncIterator]();
    await iterator.next();
    generation.cancel('stop it');
    await expect(generation.result()).rejects.toMatchObject({ cause: 'stop it' });
  }));

it('a cancelled stream cancels, also while a piece is awaited', () =>
  beside(async () => {
    const generation = model.generate(prompt, { maxTokens: 900 });
    const reader = generation.toReadableStream().getReader();
    await reader.read();
    const pending = reader.read();
    await reader.cancel();
    await pending;
    await expect(generation.result()).rejects.toBeInstanceOf(AbortError);
  }));

it('a stream gives the text of the generation', async () => {
  const parts: string[] = [];
  for await (const text of model.generate(prompt, { maxTokens: 5 }).toReadableStream()) parts.push(text);
  expect(parts.join('')).toBe(await model.generate(prompt, { maxTokens: 5 }).text());
});

it('a generation that nobody reads runs to its end', () =>
  beside(async () => {
    model.generate(prompt, { maxTokens: 30 });
    model.generate(prompt, { maxTokens: 30, temperature: -1 });
    const kept = model.generate(prompt, { maxTokens: 30 });
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect((await kept.result()).ids).toHaveLength(30);
  }));

it('a processor that throws fails its request only, once', () =>
  beside(async () => {
    const error = new TypeError('mine');
    let calls = 0;
    const logitsProcessor = (): void => {
      if (++calls === 3) throw error;
    };
    const generation = model.generate(prompt, { maxTokens: 20, n: 2, logitsProcessor });
    await expect(generation.result()).rejects.toBe(error);
    await expect(generation.result()).rejects.toBe(error);
    expect(calls).toBe(3);
  }));

it.each([
  ['a promise', async () => undefined],
  ['a shorter array', () => new Float32Array(5)],
  ['a longer array', () => new Float32Array(500)],
  ['an array', (x: Float32Array) => Array.from(x)],
] as const)('a processor that returns %s is refused', (_, logitsProcessor) =>
  beside(async () => {
    const result = model.generate(prompt, { maxTokens: 20, logitsProcessor: logitsProcessor as never }).result();
    await expect(result).rejects.toBeInstanceOf(InputError);
  }),
);

it.each([Number.NaN, Number.POSITIVE_INFINITY])('a processor that writes %d fails its request only', (value) =>
  beside(async () => {
    const logitsProcessor = (x: Float32Array, { position }: { position: number }): void => {
      if (position === prompt.length + 4) x[17] = value;
    };
    const generation = model.generate(prompt, { maxTokens: 20, logitsProcessor });
    await expect(generation.result()).rejects.toBeInstanceOf(NumericError);
    const made: number[] = [];
    await expect(
      (async () => {
        for await (const piece of generation) made.push(...piece.ids);
      })(),
    ).rejects.toBeInstanceOf(NumericError);
    expect(made.length).toBeLessThanOrEqual(4);
  }),
);

it('a request that no id is allowed for fails alone', () =>
  beside(async () => {
    const logitsProcessor = (x: Float32Array) => x.fill(Number.NEGATIVE_INFINITY);
    await expect(model.generate(prompt, { maxTokens: 3, logitsProcessor }).result()).rejects.toBeInstanceOf(
      NumericError,
    );
  }));

it('dispose ends running and waiting generations, steps and leases', async () => {
  const own = await randomModel({ maxSequences: 2 });
  const running = [1, 2, 3, 4, 5].map((i) => own.generate([...prompt, i], { maxTokens: 900, n: i === 1 ? 2 : 1 }));
  const session = own.session();
  const turn = session.generate(prompt, { maxTokens: 900 });
  for await (const _ of running[0]!) break;
  const settled = Promise.allSettled([
    ...running.slice(1).map((g) => g.result()),
    turn.result(),
    own.forward({ inputIds: long }),
  ]);
  await own.dispose();
  await own.dispose();
  const outcomes = await settled;
  for (const outcome of outcomes.slice(0, 5)) {
    expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'ERR_DISPOSED' } });
  }
  expect(own.host.engine.load).toMatchObject({ running: 0, waiting: 0, blocksUsed: 0 });
  await expect(own.generate(prompt).result()).rejects.toBeInstanceOf(DisposedError);
  await expect(own.forward({ inputIds: prompt })).rejects.toBeInstanceOf(DisposedError);
  await expect(own.score(prompt, prompt)).rejects.toBeInstanceOf(DisposedError);
  await expect(own.trace(prompt)).rejects.toBeInstanceOf(DisposedError);
  expect(() => own.session()).toThrow(DisposedError);
  session.dispose();
});

describe('a hostile logits processor', () => {
  it('reaches no neighbour through the memory behind its logits, and may detach it', async () => {
    const options = { maxTokens: 6, temperature: 1, seed: 5 };
    const alone = (await model.generate(prompt, options).result()).ids;
    const wipe = (x: Float32Array): void => {
      new Uint8Array(x.buffer).fill(0);
    };
    const detach = (x: Float32Array): void => {
      structuredClone(x.buffer, { transfer: [x.buffer as ArrayBuffer] });
    };
    for (const logitsProcessor of [wipe, detach]) {
      const beside = model
        .generate(prompt, { ...options, seed: 9, logitsProcessor })
        .result()
        .catch((error: unknown) => expect(error).toBeInstanceOf(InputError));
      const neighbour = await model.generate(prompt, options).result();
      expect(neighbour.ids).toEqual(alone);
      await beside;
    }
  });

  it('that throws undefined fails its request', async () => {
    const logitsProcessor = (): void => {
      throw undefined;
    };
    const failed = await model
      .generate(prompt, { maxTokens: 3, logitsProcessor })
      .result()
      .then(
        () => 'resolved',
        () => 'rejected',
      );
    expect(failed).toBe('rejected');
  });
});
