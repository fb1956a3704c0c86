// event_loop.mjs MODEL [PROMPT [TOKENS]]: delay of the event loop while the model loads and while it generates, as
// monitorEventLoopDelay gives it, and the part of it in which this thread did not merely wait for a core (`own`).
import { openSync, readSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { report, sleep, verdant } from './parts.mjs';

const [path, prompt = 'The mole dug', tokens = '24'] = process.argv.slice(2);
const histogram = monitorEventLoopDelay({ resolution: 1 });
/** @type {Record<string, { p99: number, max: number, ownP99: number, ownMax: number, ms: number, count: number }>} */
const phases = {};

const statistics = process.platform === 'linux' ? openSync(`/proc/self/task/${process.pid}/schedstat`, 'r') : undefined;
const buffer = Buffer.alloc(128);
/** Milliseconds that this thread was ready to run but had no core; 0 where the system does not say. */
function waited() {
  if (statistics === undefined) return 0;
  const length = readSync(statistics, buffer, 0, 128, 0);
  return Number(buffer.latin1Slice(0, length).split(' ')[1]) / 1e6;
}

/** @type {number[]} */
let own = [];
let [last, lastWaited] = [0, 0];
function tick() {
  const now = performance.now();
  const total = waited();
  own.push(Math.max(0, now - last - (total - lastWaited)));
  [last, lastWaited] = [now, total];
  setTimeout(tick, 1).unref();
}

/**
 * @template T
 * @param {string} name @param {() => Promise<T>} work
 */
async function phase(name, work) {
  histogram.reset();
  own = [];
  const start = performance.now();
  const result = await work();
  const ms = performance.now() - start;
  await sleep(5);
  const of = (/** @type {number} */ ns) => Number((ns / 1e6).toFixed(2));
  own.sort((a, b) => a - b);
  phases[name] = {
    p99: of(histogram.percentile(99)),
    max: of(histogram.max),
    ownP99: of((own[Math.ceil(0.99 * own.length) - 1] ?? 0) * 1e6),
    ownMax: of((own.at(-1) ?? 0) * 1e6),
    ms: Math.round(ms),
    count: histogram.count,
  };
  return result;
}

await sleep(100);
histogram.enable();
[last, lastWaited] = [performance.now(), waited()];
tick();
await phase('idle', () => sleep(500));
const model = await phase('load', () => verdant.load(path, { maxContext: 2048 }));
const sampling = { temperature: 0.8, topP: 0.95, topK: 50, seed: 1, ignoreEos: true, maxTokens: Number(tokens) };
await phase('generate', () => model.generate(/** @type {string} */ (prompt), sampling).result());
await phase('four at once, logprobs', () =>
  Promise.all(
    [0, 1, 2, 3].map((i) => model.generate(`${prompt} ${i}`, { ...sampling, maxTokens: 8, logprobs: 5 }).result()),
  ),
);
await phase('penalties, DRY, bad words', () =>
  model
    .generate(/** @type {string} */ (prompt), {
      ...sampling,
      maxTokens: 8,
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
