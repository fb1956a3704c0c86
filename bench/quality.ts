/** Table of what each weight type costs in quality, next to llama.cpp's on the very same files. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { columns } from '../lib/bench/text.js';
import { builtInModel, load } from '../lib/tasks/load.js';
import { quantize } from '../lib/tasks/quantize.js';
import { isQuantizeType, quantizeTypes } from '../lib/weights/quantize_rules.js';
import {
  compareWith,
  heldOut,
  logSoftmax,
  type Quality,
  qualityOf,
  type Reference,
  referenceOf,
  stories,
  writeWidened,
} from '../tests/support/quality.js';
import { sharedModels } from '../tests/support/shared.js';

interface LlamaSequence {
  clearHistory(): Promise<void>;
  controlledEvaluate(
    input: readonly [number, object][],
  ): Promise<({ next: { probabilities: Map<number, number> } } | undefined)[]>;
}
interface LlamaModel {
  createContext(options: object): Promise<{ getSequence(): LlamaSequence }>;
  dispose(): Promise<void>;
}
interface Llama {
  loadModel(options: object): Promise<LlamaModel>;
}

const { values, positionals } = parseArgs({
  options: { every: { type: 'string', default: '5' }, 'rival-path': { type: 'string' } },
  allowPositionals: true,
});
const every = Number(values.every);
if (!Number.isInteger(every) || every < 1) throw new Error('--every: expected a whole number from 1 on');
const wrong = positionals.filter((t) => !isQuantizeType(t));
if (wrong.length > 0) throw new Error(`no weight type ${wrong.join(', ')}; expected ${quantizeTypes.join(', ')}`);
const types = positionals.length > 0 ? quantizeTypes.filter((t) => positionals.includes(t)) : quantizeTypes;
const rivalPath = values['rival-path'];

async function openRival(folder: string): Promise<Llama> {
  const entry = resolve(folder, 'node_modules/node-llama-cpp/dist/index.js');
  if (!existsSync(entry)) throw new Error(`--rival-path: no node-llama-cpp in ${folder}`);
  const { getLlama } = (await import(pathToFileURL(entry).href)) as { getLlama(o: object): Promise<Llama> };
  return getLlama({ gpu: false, logLevel: 'error', build: 'never', skipDownload: true });
}

/** Probabilities of all ids as the package gives them at temperature 1, to logarithms. */
async function rivalQuality(llama: Llama, file: string, reference: Reference): Promise<Quality> {
  const model = await llama.loadModel({ modelPath: file });
  const context = await model.createContext({ threads: 1, contextSize: 512, batchSize: 512, sequences: 1 });
  const sequence = context.getSequence();
  const options = { generateNext: { probabilities: true, options: { temperature: 1, topK: 0, topP: 1, minP: 0 } } };
  const made = await compareWith(reference, async (ids) => {
    await sequence.clearHistory();
    const found = await sequence.controlledEvaluate(Array.from(ids, (id) => [id, options] as [number, object]));
    const out = new Float32Array(ids.length * reference.vocab);
    for (const [r, given] of found.entries())
      for (const [id, p] of given!.next.probabilities) out[r * reference.vocab + id] = Math.log(Math.max(p, 1e-38));
    // They sum to 1 within 1e-5.
    return logSoftmax(out, reference.vocab);
  });
  await model.dispose();
  return made;
}

const short = (kl: number): string => (Math.abs(kl) < 1e-7 ? '0' : kl.toExponential(2));
const percent = (share: number): string => `${(100 * share).toFixed(2)} %`;

async function table(name: string, path: string, reference: Reference, folder: string, llama?: Llama): Promise<void> {
  const titles = ['type', 'KL, auto', 'KL, f32 arithmetic', 'top-1, auto'];
  const rows = [[...titles, ...(llama === undefined ? [] : ['KL, llama.cpp', 'top-1, llama.cpp', 'ratio of KL'])]];
  for (const type of types) {
    const file = join(folder, `${name.replaceAll(/\W+/g, '_')}_${type}.gguf`);
    const { tensors } = await quantize(path, file, { type });
    const used = [...new Set(tensors.filter((t) => t.shape.length > 1).map((t) => t.type))].join(' + ');
    const measured: Quality[] = [];
    for (const compute of ['auto', 'f32']) {
      const model = await load(file, { threads: 1, compute });
      measured.push(await qualityOf(model, reference));
      await model.dispose();
    }
    const [own, exact] = measured as [Quality, Quality];
    const row = [used === type ? type : `${type} (${used})`, short(own.kl), short(exact.kl), percent(own.top1)];
    if (llama !== undefined) {
      const theirs = await rivalQuality(llama, file, reference);
      row.push(short(theirs.kl), percent(theirs.top1), (own.kl / theirs.kl).toFixed(2));
    }
    rows.push(row);
    rmSync(file);
  }
  const positions = reference.texts.reduce((n, t) => n + t.length, 0);
  process.stdout.write(`${name}: ${reference.texts.length} texts, ${positions} positions\n${columns(rows)}\n`);
}

const folder = mkdtempSync(join(tmpdir(), 'verdant-quality-'));
try {
  const llama = rivalPath === undefined ? undefined : await openRival(rivalPath);
  const exact = { quantize: 'f32', compute: 'f32', threads: 1 } as const;
  const builtIn = await load(undefined, exact);
  const held = await referenceOf(builtIn, await heldOut(builtIn, builtInModel(), every));
  await builtIn.dispose();
  await table('built-in', builtInModel(), held, folder, llama);
  const widened = await writeWidened(builtInModel(), join(folder, 'widened'));
  await table('built-in, widened to rows of 256', widened, held, folder, llama);
  const shared = sharedModels();
  if (shared !== undefined) {
    const path = join(shared, 'tinystories-656K');
    const model = await load(path, exact);
    const reference = await referenceOf(model, await stories(model, shared, 12));
    await model.dispose();
    await table('tinystories-656K', path, reference, folder, llama);
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
process.exit();
