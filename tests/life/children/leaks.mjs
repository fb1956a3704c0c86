// leaks.mjs MODEL dispose|drop COUNT: loads the model again and again; memory, descriptors and threads meanwhile.
import { readdirSync } from 'node:fs';
import { report, sleep, verdant } from './parts.mjs';

const [path, how, count] = /** @type {[string, string, string]} */ (process.argv.slice(2));
const collect = /** @type {() => void} */ (globalThis.gc);
/** @param {string} kind */
const open = (kind) => (process.platform === 'linux' ? readdirSync(`/proc/self/${kind}`).length : 0);

async function once() {
  const model = await verdant.load(path, { maxContext: 64, kvMemory: '8MiB' });
  await model.generate([1, 2, 3], { maxTokens: 4, greedy: true, ignoreEos: true }).result();
  if (how === 'dispose') await model.dispose();
}

/** @type {number[]} */
const rss = [];
let counts = { files: 0, threads: 0 };
for (let i = 0; i < Number(count); i++) {
  await once();
  if (how === 'drop') await sleep(5);
  collect();
  rss.push(process.memoryUsage().rss / 1024);
  if (i === 9) counts = { files: open('fd'), threads: open('task') };
}
await sleep(50);
// Garbage collectors leave a sawtooth: what is really held is its lower edge, the least of each ten loads.
const edge = Array.from({ length: Math.floor(rss.length / 10) }, (_, i) => Math.min(...rss.slice(10 * i, 10 * i + 10)));
const half = edge.slice(edge.length >> 1);
const middle = (half.length - 1) / 2;
const mean = half.reduce((a, b) => a + b, 0) / half.length;
const rise = half.reduce((sum, v, i) => sum + (i - middle) * (v - mean), 0);
const slope = rise / half.reduce((sum, _, i) => sum + (i - middle) ** 2, 0) / 10;
report({
  slopeKiB: slope,
  firstKiB: rss[0],
  lastKiB: rss.at(-1),
  peakKiB: Math.max(...rss),
  before: counts,
  after: { files: open('fd'), threads: open('task') },
});
