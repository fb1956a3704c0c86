import type { BuiltSeq2Seq } from '../engine/build.js';
import type { DecoderHost } from '../engine/host.js';
import type { ResolvedProbe, StepTrace } from '../engine/probe_step.js';
import { attentionNode } from '../engine/probes.js';
import type { GenerationRequest, SampledToken } from '../engine/sequence.js';
import { AbortError, ConfigError, ContextOverflowError } from '../errors.js';
import { logSum } from '../generation/log_sum.js';
import {
  type GenerateOptions,
  type LogitsProcessor,
  type ResolvedOptions,
  resolveOptions,
} from '../generation/options.js';
import { compressionRatio, keepBest, keepTop } from '../generation/whisper_quality.js';
import { timeStep, whisperProcessor } from '../generation/whisper_rules.js';
import { EndedSink } from './ended_sink.js';
import { countOf, resolveProbe } from './probe_options.js';
import { addRows, alignRows, shownHeads } from './whisper_align.js';
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
  /** Seconds after the window's beginning at which each id is said; where times of words are wanted. */
  readonly idTimes?: readonly number[];
}

/** Rows of attention maps: (heads, rows, places). */
type Maps = Float32Array[][];

interface Shown extends Attempt {
  /** With an end of its own. */
  readonly ended: boolean;
  /** Of the ids but the last, the end included. */
  readonly maps: Maps | undefined;
}

/** Ids that the model writes, the end included. */
class Written extends EndedSink {
  readonly ids: number[] = [];
  readonly logprobs: number[] = [];
  /** What was shown, by id. */
  readonly traces: (readonly StepTrace[])[] = [];
  ended = false;

  token(_index: number, { id, logprob, stop, traces = [] }: SampledToken): boolean {
    this.traces.push(traces);
    this.ids.push(id);
    this.logprobs.push(logprob);
    this.ended = stop;
    return false;
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
   * (generate_with_fallback of WhisperGenerationMixin). `window`: its number, for the seed; `frames`: of it that are audio.
   */
  async write(
    features: Float32Array,
    begin: Beginning,
    plan: WhisperPlan,
    { window, frames }: { readonly window: number; readonly frames: number },
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
      if (skip || !(unsure || round) || i === plan.temperatures.length - 1) {
        if (skip || !plan.words) return { ...attempt, skip };
        return { ...attempt, skip, idTimes: await this.#align(features, begin.before, attempt, plan, frames) };
      }
    }
  }

  /** When each id of an attempt is said, of a window whose first `frames` are audio. */
  async #align(
    features: Float32Array,
    before: readonly number[],
    { forced, ids, maps, ended }: Shown,
    plan: WhisperPlan,
    frames: number,
  ): Promise<readonly number[]> {
    const { start, medianWidth } = this.#config;
    const prompt = [...before, start, ...forced];
    // Beams show nothing while they are searched: what they wrote is read once more. The last id is not.
    const read = ended ? ids : ids.slice(0, -1);
    const rows = maps ?? (await this.#read(features, [...prompt, ...read], prompt.length, plan));
    const { stride } = this.#built.builder.encoder.spectrogram!;
    const places = await alignRows(rows, Math.max(1, Math.floor(frames / stride)), medianWidth);
    const times = places.map((place) => place * timeStep);
    // As in transformers: the last id has the time of the one before; the end is not counted here.
    if (!ended) times.push(times.at(-1) ?? 0);
    return times;
  }

  /** Maps of the alignment heads for ids from place `from` on. */
  async #read(features: Float32Array, ids: readonly number[], from: number, plan: WhisperPlan): Promise<Maps> {
    const pairs = this.#config.alignmentHeads!;
    const maps: Maps = pairs.map(() => []);
    if (ids.length === from) return maps;
    const options = this.#resolve({ greedy: true, maxTokens: 1 }, ids.length);
    const probe = this.#probe(true);
    const sink = await this.#submit({ prompt: Int32Array.from(ids), options, probe }, features, plan);
    addRows(maps, pairs, sink.traces.flat(), from);
    return maps;
  }

  /** Shows the alignment heads. Throws ConfigError where the decoder has no such head. */
  #probe(prompt: boolean): ResolvedProbe {
    const { decoder, config } = this.#built;
    const { graph } = decoder.builder;
    const pairs = this.#config.alignmentHeads!;
    const layers = countOf(graph, 'cross_attentions');
    const bad = pairs.find(
      ([l, h]) => l >= layers || h >= Number(attentionNode(graph, `cross_attentions.${l}`).attrs.heads),
    );
    if (bad !== undefined)
      throw new ConfigError('alignment_heads of generation_config.json name a head that the decoder lacks', {
        ...{ file: config.file, name: 'alignment_heads', expected: `layers below ${layers}`, found: bad },
      });
    return resolveProbe({ trace: { ...shownHeads(pairs), prompt } }, decoder)!;
  }

  #resolve(given: GenerateOptions, promptLength: number): ResolvedOptions {
    const { vocab, eos, defaults } = this.#config;
    const contextLeft = this.#host.plan.maxContext - promptLength;
    return resolveOptions(given, defaults, { ...{ vocab, eosIds: [eos], promptLength, contextLeft } });
  }

  async #submit(
    request: Pick<GenerationRequest, 'prompt' | 'options' | 'probe' | 'lead'>,
    features: Float32Array,
    plan: WhisperPlan,
  ): Promise<Written> {
    const sink = new Written();
    const source = { ids: new Int32Array(this.#built.maxSource), features };
    // A signal of its own: the engine listens to it, and there may be many windows.
    const signal = plan.signal === undefined ? undefined : AbortSignal.any([plan.signal]);
    this.#host.engine.submit({ ...request, options: { ...request.options, n: 1, signal }, sink, source });
    await sink.done;
    return sink;
  }

  async #attempt(
    features: Float32Array,
    { before, forced, times }: Beginning,
    plan: WhisperPlan,
    temperature: number,
    seed: bigint,
    only?: number,
  ): Promise<Shown> {
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
    const options = this.#resolve(
      { ...drawn, maxTokens: only ?? config.maxLength(begin) - prompt.length },
      prompt.length,
    );
    const shows = plan.words && options.beams === undefined && only === undefined;
    const probe = shows ? this.#probe(false) : undefined;
    const request = { prompt, options: { ...options, logitsProcessor }, probe, lead: forced.length };
    const sink = await this.#submit(request, features, plan);
    const all = sink.ids.slice(forced.length);
    const logprobs = sink.logprobs.slice(forced.length);
    const text = sink.ended ? all.length - 1 : all.length;
    return {
      forced: sink.ids.slice(0, forced.length),
      ...{ ids: all.slice(0, text), logprobs: logprobs.slice(0, text), temperature, noSpeechProb },
      avgLogprob: mean(logprobs),
      compressionRatio: compressionRatio(all, config.vocab),
      ended: sink.ended,
      maps: shows ? this.#mapsOf(sink, forced.length + 1) : undefined,
    };
  }

  /** Each id after the first shows the row of the one before it. */
  #mapsOf({ traces }: Written, from: number): Maps {
    const pairs = this.#config.alignmentHeads!;
    const maps: Maps = pairs.map(() => []);
    addRows(maps, pairs, traces.slice(from).flat(), 0);
    return maps;
  }
}
