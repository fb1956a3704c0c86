import { setMaxListeners } from 'node:events';
import { type BuiltDecoder, buildCheckpoint } from '../engine/build.js';
import { DecoderHost } from '../engine/host.js';
import { blocksFor } from '../engine/kv_blocks.js';
import { newRetained, type Retained } from '../engine/sequence.js';
import { AbortError, OptionError } from '../errors.js';
import { type ResolvedOptions, resolveOptions } from '../generation/options.js';
import { resolveModel } from '../hub/index.js';
import { type LoadOptions, load } from '../tasks/load.js';
import { openCheckpoint } from '../weights/checkpoint.js';
import type { GenerationDefaults } from '../weights/generation_config.js';
import type { BenchRequest } from './options.js';
import { buildRandom, quantOf } from './random_model.js';
import { type Arrival, longest, type Runner, type Section } from './sections.js';
import { shapeConfig } from './shapes.js';

/** A checkpoint that says nothing about generation. */
const noDefaults = { eosTokenIds: [], other: {} } as unknown as GenerationDefaults;

/** A model that is ready to run, and how long that took. */
export interface Opened {
  readonly host: DecoderHost;
  readonly loadMs: number;
  dispose(): Promise<void>;
}

/** Cache for all sequences of the widest section, and for the long one that is kept between runs. Throws OptionError. */
function cacheOptions(built: BuiltDecoder, sections: readonly Section[]): { maxContext: number; kvMemory: number } {
  if (longest(sections) > built.maxPositions) {
    throw new OptionError('the measurements are longer than the model was made for', {
      name: 'prompt',
      expected: `at most ${built.maxPositions} ids in a sequence`,
      found: longest(sections),
      hint: 'Give a smaller --prompt, --generate or --context',
    });
  }
  const perBlock = built.groups.reduce((n, g) => n + g.bytesPerBlock, 0);
  const blocks = sections.map((s) => s.batch * blocksFor(s.prompt + s.tokens));
  const kept = sections.filter((s) => s.kind === 'decode' && s.batch === 1).length;
  return {
    maxContext: longest(sections),
    kvMemory: perBlock * (Math.max(...blocks) + kept * blocksFor(longest(sections))),
  };
}

/** Opens a model or makes one of random weights. Throws what `load` throws; OptionError for sections that do not fit. */
export async function openVerdant(
  request: BenchRequest,
  sections: readonly Section[],
  hooks: Pick<LoadOptions, 'signal' | 'onProgress' | 'hub'> = {},
): Promise<Opened> {
  const { device, threads, compute, shape, kvType } = request;
  const maxSequences = Math.max(64, ...sections.map((s) => s.batch));
  const common = { device, threads, compute, maxSequences, signal: hooks.signal, onProgress: hooks.onProgress };
  if (shape !== undefined) {
    const built = buildRandom(shapeConfig(shape), shape, quantOf(request.quant ?? 'q8_0'), kvType);
    const started = performance.now();
    const host = await DecoderHost.open(built, { ...common, ...cacheOptions(built, sections) });
    return { host, loadMs: performance.now() - started, dispose: () => host.dispose() };
  }
  const signal = hooks.signal === undefined ? {} : { signal: hooks.signal };
  const path = await resolveModel(request.model!, { ...hooks.hub, ...signal });
  const quantize = request.quant === undefined ? undefined : quantOf(request.quant);
  const cache = cacheOptions(buildCheckpoint(await openCheckpoint(path), undefined, quantize, kvType), sections);
  const started = performance.now();
  const model = await load(path, { ...common, ...cache, quantize, kvType, hub: hooks.hub });
  return { host: model.host, loadMs: performance.now() - started, dispose: () => model.dispose() };
}

/** Requests to our own engine: greedy, without any end but the number of ids. */
export class VerdantRunner implements Runner {
  readonly vocab: number;
  readonly #host: DecoderHost;
  readonly #signal: AbortSignal | undefined;
  /** Caches of single sequences, by the length of their prompt: a long context is taken in once. */
  readonly #kept = new Map<number, Retained>();
  #deliveries = 0;
  #delivered: number | undefined;

  constructor(host: DecoderHost, signal?: AbortSignal) {
    this.#host = host;
    this.#signal = signal;
    this.vocab = host.built.vocabSize;
  }

  async run(
    prompts: readonly Int32Array[],
    tokens: number,
    begun?: () => void,
  ): Promise<readonly (readonly Arrival[])[]> {
    this.#signal?.throwIfAborted();
    let without = prompts.length;
    const first = (): void => {
      if (--without === 0) begun?.();
    };
    // One for each run: the engine's listeners go with it.
    const run = new AbortController();
    setMaxListeners(0, run.signal);
    const abort = (): void => run.abort();
    this.#signal?.addEventListener('abort', abort, { once: true });
    const alone = prompts.length === 1 && tokens > 1;
    const began = performance.now();
    try {
      return await Promise.all(
        prompts.map((prompt) => this.#submit(prompt, this.#options(prompt, tokens, run.signal), alone, began, first)),
      );
    } finally {
      this.#signal?.removeEventListener('abort', abort);
    }
  }

  #options(prompt: Int32Array, maxTokens: number, signal: AbortSignal): ResolvedOptions {
    const options = { greedy: true, ignoreEos: true, maxTokens };
    const contextLeft = this.#host.plan.maxContext - prompt.length;
    const context = { vocab: this.vocab, eosIds: [], contextLeft, promptLength: prompt.length };
    return { ...resolveOptions(options, noDefaults, context), signal };
  }

  /** All ids that come in the same turn of the event loop are one delivery, at one time. */
  #arrival(began: number): Arrival {
    if (this.#delivered === undefined) {
      this.#deliveries++;
      this.#delivered = performance.now();
      queueMicrotask(() => {
        this.#delivered = undefined;
      });
    }
    return { ms: this.#delivered - began, delivery: this.#deliveries };
  }

  /** `keep`: its keys and values stay for the next run with the same prompt; `first` is called with the first id. */
  #submit(
    prompt: Int32Array,
    options: ResolvedOptions,
    keep: boolean,
    began: number,
    first: () => void,
  ): Promise<readonly Arrival[]> {
    const arrivals: Arrival[] = [];
    if (keep && !this.#kept.has(prompt.length)) this.#kept.set(prompt.length, newRetained());
    return new Promise((resolve, reject) => {
      this.#host.engine.submit({
        prompt,
        options,
        retained: keep ? this.#kept.get(prompt.length) : undefined,
        sink: {
          token: () => {
            arrivals.push(this.#arrival(began));
            if (arrivals.length === 1) first();
            return false;
          },
          finish: (_, reason) => (reason === 'aborted' ? reject(new AbortError()) : resolve(arrivals)),
          fail: reject,
        },
      });
    });
  }
}
