// event_loop.mjs MODEL: delay of the event loop while the model loads and while it generates.
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { report, sleep, verdant } from './parts.mjs';

const [path, prompt = 'The mole dug', tokens = '24'] = process.argv.slice(2);
const histogram = monitorEventLoopDelay({ resolution: 1 });
/** @type {Record<string, { p50: number, p99: number, max: number, ms: number, count: number }>} */
const phases = {};

/**
 * @template T
 * @param {string} name @param {() => Promise<T>} work
 */
async function phase(name, work) {
  histogram.reset();
  const start = performance.now();
  const result = await work();
  const ms = performance.now() - start;
  await sleep(5);
  const of = (/** @type {number} */ ns) => Number((ns / 1e6).toFixed(2));
  phases[name] = {
    p50: of(histogram.percentile(50)),
    p99: of(histogram.percentile(99)),
    max: of(histogram.max),
    ms: Math.round(ms),
    count: histogram.count,
  };
  return result;
}

await sleep(100);
histogram.enable();
await phase('idle', () => sleep(500));
const model = await phase('load', () => verdant.load(path, { maxContext: 2048 }));
const sampling = { temperature: 0.8, topP: 0.95, topK: 50, seed: 1, ignoreEos: true, maxTokens: Number(tokens) };
await phase('generate', () => model.generate(/** @type {string} */ (prompt), sampling).result());
await phase('four at once, logprobs', () =>
  Promise.all([0, 1, 2, 3].map((i) => model.generate(`${prompt} ${i}`, { ...sampling, logprobs: 5 }).result())),
);
await phase('penalties, DRY, bad words', () =>
  model
    .generate(/** @type {string} */ (prompt), {
      ...sampling,
      repetitionPenalty: 1.1,
      dry: { multiplier: 0.8 },
      badWords: ['mole'],
      stop: ['\n\n\n'],
    })
    .result(),
);
await phase('forward, all logits', () => model.forward({ inputIds: Array.from({ length: 64 }, (_, i) => i + 100) }));
await phase('a text of 200 kB', async () => {
  await model.tokenizer?.encode('The mole dug a tunnel, and 这只 🦔 watched. '.repeat(4000));
});
await phase('dispose', () => model.dispose());
report({ phases, rss: Math.round(process.memoryUsage().rss / 2 ** 20) });
