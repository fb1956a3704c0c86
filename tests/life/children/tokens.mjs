// tokens.mjs MODEL START WINDOWS MS [BUSY]: decodes without pause on two threads. From the time START (ms since the epoch)
// on it counts tokens in WINDOWS windows of MS milliseconds. BUSY: ms in every 10 in which the event loop is busy.
import { report, sleep, verdant } from './parts.mjs';

const [path = '', start, windows, ms, busy = '0'] = process.argv.slice(2);
const model = await verdant.load(path, { threads: 2, maxContext: 512, kvMemory: '64MiB' });
let running = true;
/** Times at which tokens came, and how many at once. @type {{ at: number, tokens: number }[]} */
const deliveries = [];

async function decode() {
  while (running) {
    let last = 0;
    for await (const _ of model.generate([1, 2, 3], { greedy: true, ignoreEos: true, maxTokens: 500 })) {
      const now = performance.now();
      const same = now - last < 0.05 ? deliveries.at(-1) : undefined;
      if (same === undefined) deliveries.push({ at: now, tokens: 1 });
      else same.tokens++;
      last = now;
      if (!running) break;
    }
  }
}

if (busy !== '0') {
  setInterval(() => {
    for (const end = performance.now() + Number(busy); performance.now() < end; );
  }, 10).unref();
}
const decoding = decode();
await sleep(300); // pages, caches and the engine's idea of a step's time settle
const late = Date.now() - Number(start);
await sleep(Math.max(0, -late));
const from = performance.now();
await sleep(Number(windows) * Number(ms));
running = false;
await decoding;
await model.dispose();

const counts = Array.from({ length: Number(windows) }, () => 0);
/** Ms per token of each delivery, as often as it brought tokens. @type {number[]} */
const gaps = [];
for (const [i, { at, tokens }] of deliveries.entries()) {
  const window = Math.floor((at - from) / Number(ms));
  if (window < 0 || window >= counts.length) continue;
  counts[window] = (counts[window] ?? 0) + tokens;
  const before = deliveries[i - 1];
  if (before !== undefined) for (let t = 0; t < tokens; t++) gaps.push((at - before.at) / tokens);
}
gaps.sort((a, b) => a - b);
const quantile = (/** @type {number} */ q) => gaps[Math.ceil(q * gaps.length) - 1] ?? 0;
report({
  late: Math.max(0, late),
  perSecond: counts.map((n) => (1000 * n) / Number(ms)),
  p50: quantile(0.5),
  p99: quantile(0.99),
});
