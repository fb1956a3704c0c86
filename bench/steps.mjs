// Prefill and decode speed of a model of a real shape with random weights:
//   node bench/steps.mjs [--shape llama-3.2-1b] [--dtype bf16] [--prompt 512] [--generate 64] [--repeat 3] [--threads N] [--device cpu]
// Prints tokens per second, median (min–max). Build first: npm run build
import { parseArgs } from 'node:util';
import { buildDecoder } from '../dist/engine/build.js';
import { DecoderHost } from '../dist/engine/host.js';
import { findArchitecture } from '../dist/models/index.js';
import { readConfig } from '../dist/weights/config.js';
import { randomSource } from '../dist/weights/random_source.js';
import { shapes } from './shapes.mjs';

const { values } = parseArgs({
  options: {
    shape: { type: 'string', default: 'llama-3.2-1b' },
    dtype: { type: 'string', default: 'bf16' },
    prompt: { type: 'string', default: '512' },
    generate: { type: 'string', default: '64' },
    repeat: { type: 'string', default: '3' },
    threads: { type: 'string' },
    device: { type: 'string', default: 'cpu' },
    compute: { type: 'string', default: 'auto' },
  },
});

const config = readConfig({ config: shapes[values.shape], configFile: values.shape });
const built = buildDecoder(
  findArchitecture(config.architectures[0], config.modelType, values.shape),
  config,
  randomSource(values.dtype),
);
const started = performance.now();
const host = await DecoderHost.open(built, {
  device: values.device,
  compute: values.compute,
  maxContext: Number(values.prompt) + Number(values.generate) + 64,
  ...(values.threads === undefined ? {} : { threads: Number(values.threads) }),
});
const loadMs = performance.now() - started;

/** One request, greedy and without stop ids: milliseconds until its first token and until its last. */
function request(prompt, tokens) {
  const options = {
    maxTokens: tokens,
    minTokens: 0,
    temperature: 0,
    topK: 0,
    topP: 1,
    minP: 0,
    typicalP: 1,
    repetitionPenalty: 1,
    presencePenalty: 0,
    frequencyPenalty: 0,
    penaltyWindow: 0,
    noRepeatNgram: 0,
    dry: { multiplier: 0, base: 1, allowedLength: 2, range: 0, breakerIds: [] },
    xtc: { probability: 0, threshold: 0.1 },
    mirostat: undefined,
    biasIds: [],
    biasValues: [],
    badWords: [],
    stopIds: [],
    stop: [],
    n: 1,
    seed: 1n,
    seedLow: 1,
    seedHigh: 0,
    logprobs: false,
    topLogprobs: 0,
    ignoreEos: true,
    echo: false,
    signal: undefined,
    logitsProcessor: undefined,
  };
  return new Promise((resolve, reject) => {
    const begin = performance.now();
    let first;
    host.engine.submit({
      prompt,
      options,
      sink: {
        token: () => {
          first ??= performance.now() - begin;
          return false;
        },
        finish: () => resolve({ first, total: performance.now() - begin }),
        fail: reject,
      },
    });
  });
}

const text = (list) => {
  const sorted = [...list].sort((a, b) => a - b);
  return `${sorted[sorted.length >> 1].toFixed(2)} (${sorted[0].toFixed(2)}–${sorted.at(-1).toFixed(2)})`;
};
const [prefill, decode] = [[], []];
const prompt = Int32Array.from({ length: Number(values.prompt) }, (_, i) => 1 + ((i * 7919) % 1000));
await request(prompt.subarray(0, 8), 4);
for (let r = 0; r < Number(values.repeat); r++) {
  const { first } = await request(prompt, 1);
  prefill.push((1000 * prompt.length) / first);
  const run = await request(prompt.subarray(0, 16), Number(values.generate));
  decode.push((1000 * (Number(values.generate) - 1)) / (run.total - run.first));
}
const { weightBytes } = host.model.memory();
console.log(
  `${values.shape} ${values.dtype} on ${values.device}: packed ${(weightBytes / 1e9).toFixed(3)} GB in ${(loadMs / 1000).toFixed(1)} s (random weights made, not read)`,
);
console.log(`prefill ${values.prompt}: ${text(prefill)} tok/s`);
console.log(`decode ${values.generate}: ${text(decode)} tok/s`);
await host.dispose();
