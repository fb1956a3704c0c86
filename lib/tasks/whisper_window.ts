import type { BuiltSeq2Seq } from '../engine/build.js';
import type { DecoderHost } from '../engine/host.js';
import type { SampledToken, Sink } from '../engine/sequence.js';
import { AbortError, ContextOverflowError } from '../errors.js';
import { logSum } from '../generation/log_sum.js';
import { type LogitsProcessor, resolveOptions } from '../generation/options.js';
import { compressionRatio, keepBest, keepTop } from '../generation/whisper_quality.js';
import { whisperProcessor } from '../generation/whisper_rules.js';
import type { WhisperConfig } from './whisper_config.js';
import type { WhisperPlan } from './whisper_options.js';

/** How the decoder begins: ids after the start, undefined where the model itself says which language it hears. */
export interface Beginning {
  /** Before the start: a prompt, earlier text. */
  readonly before: readonly number[];
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
    let { forced } = begin;
    // What was said before says nothing of the language.
    if (begin.before.length > 0 && forced.includes(undefined)) {
      const plain = await this.#attempt(
        features,
        { before: [], forced: forced.slice(0, 1), times: false },
        plan,
        0,
        0n,
        1,
      );
      forced = forced.map((id, i) => id ?? plain.forced[i]);
    }
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
    { before, forced, times }: Beginning,
    plan: WhisperPlan,
    temperature: number,
    seed: bigint,
    only?: number,
  ): Promise<Attempt> {
    const config = this.#config;
    const prompt = Int32Array.from([...before, config.start]);
    const begin = prompt.length + forced.length;
    const room = config.longest - begin;
    if (room < 1)
      throw new ContextOverflowError('the prompt leaves no room for text', {
        ...{
          name: 'prompt',
          expected: `at most ${before.length + room - 1} ids before a window`,
          found: before.length,
        },
      });
    const rules = whisperProcessor({
      ...{ begin, eos: config.eos, suppress: config.suppress, beginSuppress: config.beginSuppress },
      times: times ? { none: config.noTimes!, maxInitial: config.maxInitialTime } : undefined,
    });
    let noSpeechProb: number | undefined;
    const logitsProcessor: LogitsProcessor = (logits, context) => {
      const place = context.ids.length - prompt.length;
      if (place === 0 && config.noSpeech !== undefined)
        noSpeechProb = Math.exp(logits[config.noSpeech]! - logSum(logits));
      if (place < forced.length) {
        const wanted = forced[place];
        keepBest(logits, wanted === undefined ? config.languages.values() : [wanted]);
        return;
      }
      rules(logits, context);
      if (temperature > 0) keepTop(logits, config.topK);
    };
    const beams = temperature === 0 && plan.beams > 1 && only === undefined ? { numBeams: plan.beams } : {};
    const drawn = temperature === 0 ? { greedy: true, ...beams } : { temperature, topK: 0, seed };
    const options = resolveOptions(
      { ...drawn, maxTokens: only ?? config.maxLength(begin) - prompt.length },
      config.defaults,
      {
        ...{ vocab: config.vocab, eosIds: [config.eos], promptLength: prompt.length },
        contextLeft: this.#host.plan.maxContext - prompt.length,
      },
    );
    const sink = new Written();
    const source = { ids: new Int32Array(this.#built.maxSource), features };
    // A signal of its own: the engine listens to it, and there may be many windows.
    const signal = plan.signal === undefined ? undefined : AbortSignal.any([plan.signal]);
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
