import { monitorEventLoopDelay } from 'node:perf_hooks';
import { expect, it } from 'vitest';
import { randomModel, tinyConfig } from '../engine/models.js';

it('sampling from a vocabulary of 150k never blocks the event loop', async () => {
  const config = { ...tinyConfig, hidden_size: 64, vocab_size: 151_936 };
  const model = await randomModel({ config, dtype: 'bf16' });
  const options = {
    temperature: 1,
    topK: 200,
    topP: 0.95,
    repetitionPenalty: 1.1,
    seed: 1,
    logprobs: 20,
    maxTokens: 30,
  };
  const attempts: { p99: number; max: number }[] = [];
  // The best of five: another process may take the core away in one.
  for (let attempt = 0; attempt < 5; attempt++) {
    const delay = monitorEventLoopDelay({ resolution: 1 });
    delay.enable();
    const made = await Promise.all([1, 2, 3, 4].map((i) => model.generate(Array(100).fill(i), options).result()));
    expect(made.every((r) => r.ids.length === 30)).toBe(true);
    delay.disable();
    expect(delay.count).toBeGreaterThan(10);
    attempts.push({ p99: delay.percentile(99) / 1e6, max: delay.max / 1e6 });
    if (attempts.at(-1)!.p99 <= 10 && attempts.at(-1)!.max <= 50) break;
  }
  await model.dispose();
  const best = attempts.at(-1)!;
  expect(best.p99, JSON.stringify(attempts)).toBeLessThanOrEqual(10);
  expect(best.max, JSON.stringify(attempts)).toBeLessThanOrEqual(50);
});
