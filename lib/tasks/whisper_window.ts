import type { BuiltSeq2Seq } from '../engine/build.js';
import type { DecoderHost } from '../engine/host.js';
import type { SampledToken, Sink } from '../engine/sequence.js';
import { AbortError } from '../errors.js';
import { logSum } from '../generation/log_sum.js';
import { type LogitsProcessor, resolveOptions } from '../generation/options.js';
import { compressionRatio, keepBest, keepTop } from '../generation/whisper_quality.js';
import { whisperProcessor } from '../generation/whisper_rules.js';
import type { WhisperConfig } from './whisper_config.js';
import type { WhisperPlan } from './whisper_options.js';

/** How the decoder begins: ids after the start, undefined where the model itself says which language it hears. */
export interface Beginning {
  readonly forced: readonly (number | undefined)[];
  readonly times: boolean;
}

/** What the model wrote for a window at one temperature. */
export interface Attempt {
  /** Ids after the start that the text begins after. */
  readonly forced: readonly number[];
  /** Without the end, and their log-probabilities among those allowed. */
  readonly ids: readonly number[];
  readonly logprobs: readonly number[];
  readonly temperature: number;
  readonly avgLogprob: number;
  readonly compressionRatio: number;
  readonly noSpeechProb: number | undefined;
}

/** Ids that the model writes, the end included. */
class Written implements Sink {
  readonly ids: number[] = [];
  readonly logprobs: number[] = [];
  ended = false;
  readonly done: Promise<void>;
  #resolve!: () => void;
  #reject!: (error: unknown) => void;

  constructor() {
    this.done = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  token(_index: number, { id, logprob, stop }: SampledToken): boolean {
    this.ids.push(id);
    this.logprobs.push(logprob);
    this.ended = stop;
    return false;
  }

  finish(): void {
    this.#resolve();
  }

  fail(error: unknown): void {
    this.#reject(error);
  }
}

const mean = (list: readonly number[]): number => list.reduce((sum, x) => sum + x, 0) / list.length;

/** Writes down one window after another. */
export class WindowWriter {
  readonly #host: DecoderHost;
  readonly #built: BuiltSeq2Seq;
  readonly #config: WhisperConfig;

  constructor(host: DecoderHost, built: BuiltSeq2Seq, config: WhisperConfig) {
    this.#host = host;
    this.#built = built;
    this.#config = config;
  }

  /**
   * A window (frames, bands) at the first temperature whose text is good enough, or the last; `skip`: nobody speaks
   * (generate_with_fallback of WhisperGenerationMixin). `window`: its number, for the seed.
   */
  async write(
    features: Float32Array,
    begin: Beginning,
    plan: WhisperPlan,
    window: number,
  ): Promise<Attempt & { readonly skip: boolean }> {
    let forced = begin.forced;
    for (let i = 0; ; i++) {
      if (plan.signal?.aborted === true) throw new AbortError(undefined, { cause: plan.signal.reason });
      const seed = BigInt.asUintN(64, plan.seed + BigInt(window * 64 + i) * 0x9e3779b97f4a7c15n);
      const attempt = await this.#attempt(features, { ...begin, forced }, plan, plan.temperatures[i]!, seed);
      forced = attempt.forced;
      const { logprobThreshold = Number.NEGATIVE_INFINITY, compressionRatioThreshold, noSpeechThreshold } = plan;
      const unsure = attempt.avgLogprob < logprobThreshold;
      const round = attempt.compressionRatio > (compressionRatioThreshold ?? Number.POSITIVE_INFINITY);
      const skip = unsure && (attempt.noSpeechProb ?? 0) > (noSpeechThreshold ?? Number.POSITIVE_INFINITY);
      if (skip || !(unsure || round) || i === plan.temperatures.length - 1) return { ...attempt, skip };
    }
  }

  async #attempt(
    features: Float32Array,
    { forced, times }: Beginning,
    plan: WhisperPlan,
    temperature: number,
    seed: bigint,
  ): Promise<Attempt> {
    const config = this.#config;
    const begin = 1 + forced.length;
    const rules = whisperProcessor({
      ...{ begin, eos: config.eos, suppress: config.suppress, beginSuppress: config.beginSuppress },
      times: times ? { none: config.noTimes!, maxInitial: config.maxInitialTime } : undefined,
    });
    let noSpeechProb: number | undefined;
    const logitsProcessor: LogitsProcessor = (logits, context) => {
      const place = context.ids.length - 1;
      if (place === 0 && config.noSpeech !== undefined)
        noSpeechProb = Math.exp(logits[config.noSpeech]! - logSum(logits));
      if (place < forced.length) {
        const only = forced[place];
        keepBest(logits, only === undefined ? config.languages.values() : [only]);
        return;
      }
      rules(logits, context);
      if (temperature > 0) keepTop(logits, config.topK);
    };
    const beams = temperature === 0 && plan.beams > 1 ? { numBeams: plan.beams } : {};
    const drawn = temperature === 0 ? { greedy: true, ...beams } : { temperature, topK: 0, seed };
    const options = resolveOptions({ ...drawn, maxTokens: config.maxLength(begin) - 1 }, config.defaults, {
      ...{ vocab: config.vocab, eosIds: [config.eos], promptLength: 1 },
      contextLeft: this.#host.plan.maxContext - 1,
    });
    const sink = new Written();
    const source = { ids: new Int32Array(this.#built.maxSource), features };
    // A signal of its own: the engine listens to it, and there may be many windows.
    const signal = plan.signal === undefined ? undefined : AbortSignal.any([plan.signal]);
    const prompt = Int32Array.of(config.start);
    this.#host.engine.submit({
      ...{ prompt, options: { ...options, n: 1, signal, logitsProcessor }, sink, source },
      lead: forced.length,
    });
    await sink.done;
    const all = sink.ids.slice(forced.length);
    const logprobs = sink.logprobs.slice(forced.length);
    const text = sink.ended ? all.length - 1 : all.length;
    return {
      forced: sink.ids.slice(0, forced.length),
      ...{ ids: all.slice(0, text), logprobs: logprobs.slice(0, text), temperature, noSpeechProb },
      avgLogprob: mean(logprobs),
      compressionRatio: compressionRatio(all, config.vocab),
    };
  }
}
