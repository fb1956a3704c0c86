// workers.mjs MODEL COUNT main|workers SEED: loads and generates in worker threads that are terminated at random times,
// with or without the addon in the main thread too.
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { report, sleep, verdant } from './parts.mjs';

const prompt = [1, 5, 9, 20];
const greedy = { greedy: true, maxTokens: 12, ignoreEos: true };

/** @param {string} path */
async function work(path) {
  const model = await verdant.load(path, { maxContext: 256, kvMemory: '8MiB' });
  parentPort?.postMessage('loaded');
  for (;;) {
    const { ids } = await model.generate(prompt, greedy).result();
    parentPort?.postMessage(ids.join());
    await model.score(prompt, [7, 8]);
  }
}

/** @param {string} path @param {number} ms when it ends @param {number} after counted from so many messages of it @param {string[]} seen */
async function oneWorker(path, ms, after, seen) {
  const worker = new Worker(new URL(import.meta.url), { workerData: { path } });
  /** @type {unknown} */
  let failed;
  worker.on('error', (error) => {
    failed = error;
  });
  let messages = 0;
  /** @type {() => void} */
  let ready = () => undefined;
  const reached = new Promise((/** @type {(value: void) => void} */ resolve) => {
    ready = resolve;
  });
  worker.on('exit', ready);
  worker.on('message', (message) => {
    seen.push(message);
    if (++messages === after) ready();
  });
  if (after > 0) await reached;
  await sleep(ms);
  await worker.terminate();
  if (failed !== undefined) throw failed;
}

async function main() {
  const [path, count, where, seed] = /** @type {[string, string, string, string]} */ (process.argv.slice(2));
  let state = Number(seed);
  const random = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  /** @type {string[]} */
  const seen = [];
  const model = where === 'main' ? await verdant.load(path, { maxContext: 256, kvMemory: '8MiB' }) : undefined;
  let left = Number(count);
  const lane = async () => {
    while (left-- > 0) await oneWorker(path, 150 * random() ** 2, Math.floor(3 * random()), seen);
  };
  const lanes = [lane(), lane()];
  if (model !== undefined) {
    let running = true;
    const own = (async () => {
      while (running) seen.push((await model.generate(prompt, greedy).result()).ids.join());
    })();
    await Promise.all(lanes);
    running = false;
    await own;
    await model.dispose();
  }
  await Promise.all(lanes);
  const answers = seen.filter((m) => m !== 'loaded');
  report({ loaded: seen.length - answers.length, answers: answers.length, different: [...new Set(answers)].length });
}

if (isMainThread) await main();
else await work(workerData.path);
