/** What quantising costs: next-token distributions of a model against those of its f32 weights in f32 arithmetic. */
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TextModel } from '../../lib/tasks/text_model.js';
import { writeSafetensors } from '../../lib/weights/write_safetensors.js';
import { readJson } from './fixtures.js';
import { readTensors } from './safetensors.js';

/** Texts as ids with f32's log-probabilities behind every id: (ids, vocab). */
export interface Reference {
  readonly texts: readonly Int32Array[];
  readonly vocab: number;
  readonly logProbs: readonly Float32Array[];
}

export interface Quality {
  /** Mean over positions of Σ p ln (p / q), in nats; p is of f32. */
  readonly kl: number;
  /** Share of positions with the same most probable id. */
  readonly top1: number;
  readonly positions: number;
}

/** In place: logits (rows, vocab) to their log-softmax. */
export function logSoftmax(logits: Float32Array, vocab: number): Float32Array {
  for (let r = 0; r < logits.length; r += vocab) {
    let most = Number.NEGATIVE_INFINITY;
    for (let i = 0; i < vocab; i++) most = Math.max(most, logits[r + i]!);
    let sum = 0;
    for (let i = 0; i < vocab; i++) sum += Math.exp(logits[r + i]! - most);
    const log = most + Math.log(sum);
    for (let i = 0; i < vocab; i++) logits[r + i] = logits[r + i]! - log;
  }
  return logits;
}

export async function logProbsOf(model: TextModel, ids: Int32Array): Promise<Float32Array> {
  const { logits, shape } = await model.forward({ inputIds: ids });
  return logSoftmax(logits, shape[1]!);
}

export async function referenceOf(model: TextModel, texts: readonly Int32Array[]): Promise<Reference> {
  const logProbs: Float32Array[] = [];
  for (const ids of texts) logProbs.push(await logProbsOf(model, ids));
  return { texts, vocab: logProbs[0]!.length / texts[0]!.length, logProbs };
}

function best(row: Float32Array): number {
  return row.reduce((b, v, i) => (v > row[b]! ? i : b), 0);
}

/** `logProbs`: of the model under test, (ids, vocab). NaN anywhere makes `kl` NaN. */
export async function compareWith(
  { texts, vocab, logProbs: expected }: Reference,
  logProbs: (ids: Int32Array) => Promise<Float32Array>,
): Promise<Quality> {
  let [kl, same, positions] = [0, 0, 0];
  for (const [t, ids] of texts.entries()) {
    const found = await logProbs(ids);
    if (found.length !== expected[t]!.length) throw new Error(`${found.length} numbers of ${expected[t]!.length}`);
    for (let r = 0; r < found.length; r += vocab) {
      const [p, q] = [expected[t]!.subarray(r, r + vocab), found.subarray(r, r + vocab)];
      for (let i = 0; i < vocab; i++) kl += Math.exp(p[i]!) * (p[i]! - q[i]!);
      same += best(p) === best(q) ? 1 : 0;
      positions++;
    }
  }
  return { kl: kl / positions, top1: same / positions, positions };
}

export const qualityOf = (model: TextModel, reference: Reference): Promise<Quality> =>
  compareWith(reference, (ids) => logProbsOf(model, ids));

/** Every n-th of the built-in model's held-out texts. */
export async function heldOut(model: TextModel, folder: string, every: number): Promise<Int32Array[]> {
  const lines = readFileSync(join(folder, 'heldout.jsonl'), 'utf8').trimEnd().split('\n');
  const texts = lines.filter((_, i) => i % every === 0).map((line) => (JSON.parse(line) as { text: string }).text);
  return Promise.all(texts.map((text) => model.tokenizer!.encode(text, { addSpecial: false, specialTokens: true })));
}

/** The goldens of tinystories-656K, and texts that the model of `shared` itself sampled from their beginnings. */
export async function stories(model: TextModel, shared: string, sampled: number): Promise<Int32Array[]> {
  const { runs } = readJson(join(shared, 'goldens/tinystories-656K.json')) as unknown as {
    runs: { prompt_ids: number[]; output_ids: number[] }[];
  };
  const texts = runs.map((r) => Int32Array.from(r.output_ids));
  for (let seed = 0; seed < sampled; seed++) {
    const prompt = runs[seed % runs.length]!.prompt_ids;
    const options = { temperature: 1, topK: 0, topP: 1, seed, maxTokens: 150, ignoreEos: true };
    const made = await model.generate(prompt, options).result();
    texts.push(Int32Array.from([...prompt, ...made.ids]));
  }
  return texts;
}

/** Row-major (rows, cols) with element (r, c) moved to (toRow(r), toCol(c)) of zeros. */
function spread(
  data: Float64Array,
  [rows, cols]: readonly [number, number],
  [newRows, newCols]: readonly [number, number],
  toRow: (r: number) => number = (r) => r,
  toCol: (c: number) => number = (c) => c,
): { shape: number[]; data: Float32Array } {
  const out = new Float32Array(newRows * newCols);
  for (let r = 0; r < rows; r++)
    for (let c = 0; c < cols; c++) out[toRow(r) * newCols + toCol(c)] = data[r * cols + c]!;
  return { shape: [newRows, newCols], data: out };
}

/**
 * Writes the built-in model with rows of 256 and 512 elements, so that trained weights lie in blocks of 256: hidden 192 and
 * ffn 384 get zeros behind, each group of 3 heads a fourth of zeros. The function is the same: a norm over 256 elements of
 * which 64 are zero is one over 192 with its weights times √(192 / 256) and its ε times 192 / 256.
 */
export async function writeWidened(source: string, to: string): Promise<string> {
  const config = readJson(join(source, 'config.json')) as Record<string, number>;
  const [h, f, width] = [192, 384, 32];
  const [newH, newF] = [256, 512];
  if (config.hidden_size !== h || config.intermediate_size !== f || config.num_attention_heads !== 6)
    throw new Error('the built-in model has other sizes');
  const head = (i: number): number => {
    const n = Math.floor(i / width);
    return (n + Math.floor(n / 3)) * width + (i % width);
  };
  const made = new Map<string, { shape: number[]; data: Float32Array }>();
  for (const [name, { shape, data }] of await readTensors(join(source, 'model.safetensors'))) {
    const [rows, cols] = [shape[0]!, shape[1] ?? 0];
    if (shape.length === 1) {
      const norm = new Float32Array(newH);
      norm.set(data.map((v) => v * Math.sqrt(h / newH)));
      made.set(name, { shape: [newH], data: norm });
    } else if (name.endsWith('q_proj.weight')) made.set(name, spread(data, [rows, cols], [newH, newH], head));
    else if (name.endsWith('o_proj.weight')) made.set(name, spread(data, [rows, cols], [newH, newH], undefined, head));
    else {
      const wider = (n: number): number => (n === h ? newH : n === f ? newF : n);
      // Rows of the table and of k and v stay; k and v have 2 heads of 32.
      made.set(name, spread(data, [rows, cols], [wider(rows), wider(cols)]));
    }
  }
  mkdirSync(to, { recursive: true });
  await writeSafetensors(join(to, 'model.safetensors'), made);
  const sizes = { hidden_size: newH, intermediate_size: newF, num_attention_heads: 8 };
  const eps = (config.rms_norm_eps! * h) / newH;
  writeFileSync(join(to, 'config.json'), JSON.stringify({ ...config, ...sizes, rms_norm_eps: eps }));
  for (const name of ['tokenizer.json', 'tokenizer_config.json', 'generation_config.json'])
    copyFileSync(join(source, name), join(to, name));
  return to;
}
