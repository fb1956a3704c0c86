/** node-llama-cpp as the subject of a measurement. It is no dependency: the entry file is given. */
import { pathToFileURL } from 'node:url';
import { type Arrival, longest, type Runner, runSection, type Sample, type Section } from './sections.js';
import { type ProcessRun, peakRss, warm } from './subject.js';

interface LlamaSequence {
  clearHistory(): Promise<void>;
  evaluate(ids: readonly number[], options: object): AsyncIterable<number>;
}
interface LlamaContext {
  getSequence(): LlamaSequence;
  dispose(): Promise<void>;
}
interface LlamaModel {
  createContext(options: object): Promise<LlamaContext>;
  dispose(): Promise<void>;
}
interface Llama {
  readonly llamaCppRelease?: { readonly release?: string };
  readonly systemInfo?: string;
  loadModel(options: object): Promise<LlamaModel>;
  dispose(): Promise<void>;
}
interface LlamaModule {
  getLlama(options: object): Promise<Llama>;
}

/** How the rival is set up for a run. */
export interface Variant {
  readonly threads: number;
  readonly flashAttention: boolean;
}

export function variantName({ threads, flashAttention }: Variant): string {
  return `${threads} thread${threads === 1 ? '' : 's'}, flash attention ${flashAttention ? 'on' : 'off'}`;
}

/** Rows of a prompt that it takes in at once: as ours. */
const batchSize = 512;

class RivalRunner implements Runner {
  readonly vocab: number;
  readonly #open: (sequences: number) => Promise<LlamaContext>;
  #context: LlamaContext | undefined;
  #sequences: LlamaSequence[] = [];
  #arrivals = 0;

  constructor(vocab: number, open: (sequences: number) => Promise<LlamaContext>) {
    this.vocab = vocab;
    this.#open = open;
  }

  /** A context with room for that many sequences and no more. */
  async prepare(count: number): Promise<void> {
    if (this.#sequences.length === count) return;
    await this.#context?.dispose();
    const context = await this.#open(count);
    this.#context = context;
    this.#sequences = Array.from({ length: count }, () => context.getSequence());
  }

  async run(prompts: readonly Int32Array[], tokens: number): Promise<readonly (readonly Arrival[])[]> {
    await this.prepare(prompts.length);
    for (const sequence of this.#sequences) await sequence.clearHistory();
    const began = performance.now();
    return Promise.all(prompts.map((prompt, i) => this.#evaluate(this.#sequences[i]!, [...prompt], tokens, began)));
  }

  async #evaluate(sequence: LlamaSequence, ids: number[], tokens: number, began: number): Promise<Arrival[]> {
    const arrivals: Arrival[] = [];
    for await (const _ of sequence.evaluate(ids, { temperature: 0, yieldEogToken: true })) {
      arrivals.push({ ms: performance.now() - began, delivery: this.#arrivals++ });
      if (arrivals.length === tokens) break;
    }
    if (arrivals.length < tokens) throw new Error(`the rival ended after ${arrivals.length} of ${tokens} ids`);
    return arrivals;
  }
}

/** Opens the file, runs each section once. Load time ends when a context for one sequence is there. */
export async function runRival(
  entry: string,
  file: string,
  vocab: number,
  variant: Variant,
  sections: readonly Section[],
  seed: number,
): Promise<ProcessRun> {
  const { getLlama } = (await import(pathToFileURL(entry).href)) as LlamaModule;
  const llama = await getLlama({ gpu: false, logLevel: 'error', build: 'never', skipDownload: true });
  const started = performance.now();
  const model = await llama.loadModel({ modelPath: file });
  // Room for one id more than it gives: it shifts its context only when that is full.
  const contextSize = longest(sections) + 8;
  const runner = new RivalRunner(vocab, (sequences) =>
    model.createContext({ ...variant, contextSize, batchSize, sequences }),
  );
  await runner.prepare(1);
  const loadMs = performance.now() - started;
  const samples: Sample[] = [];
  for (const section of sections) {
    await warm(runner, [section]);
    samples.push(await runSection(runner, section, seed));
  }
  const about = [llama.llamaCppRelease?.release, llama.systemInfo].filter((x) => x !== undefined).join('; ');
  return { loadMs, samples, about, peakRssBytes: peakRss() };
}
