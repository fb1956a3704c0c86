import { type AudioInput, readAudio } from '../audio/read.js';
import type { Spectrograms } from '../audio/spectrogram.js';
import type { BuiltSeq2Seq } from '../engine/build.js';
import type { DecoderHost } from '../engine/host.js';
import type { SampledToken, Sink } from '../engine/sequence.js';
import { AbortError, DisposedError, InputError, OptionError } from '../errors.js';
import { resolveOptions } from '../generation/options.js';
import { type WhisperSegment, whisperProcessor, windowSegments } from '../generation/whisper_rules.js';
import type { Tokenizer } from '../text/tokenizer.js';
import type { Checkpoint } from '../weights/types.js';
import { checkObject } from './arguments.js';
import { fewAtOnce } from './few_at_once.js';
import type { SpeechModel, Transcription, WhisperOptions } from './speech.js';
import { languageIn, type WhisperConfig } from './whisper_config.js';

/** Inputs of a list whose samples and features are in memory at the same time. */
const atOnce = 8;

/** Ids that the model wrote for a window. */
class Written implements Sink {
  readonly ids: number[] = [];
  readonly logprobs: number[] = [];
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
    if (stop) return false;
    this.ids.push(id);
    this.logprobs.push(logprob);
    return false;
  }

  finish(): void {
    this.#resolve();
  }

  fail(error: unknown): void {
    this.#reject(error);
  }
}

/** How the decoder begins: ids after the start, undefined where the model itself says which language it hears. */
interface Beginning {
  readonly forced: readonly (number | undefined)[];
  readonly times: boolean;
}

/** WhisperForConditionalGeneration: speech in many languages to text, or to English (Radford et al. 2022). */
export class WhisperModel implements SpeechModel {
  readonly checkpoint: Checkpoint;
  readonly host: DecoderHost;
  readonly tokenizer: Tokenizer;
  readonly config: WhisperConfig;
  readonly #built: BuiltSeq2Seq;
  readonly #spectrograms: Spectrograms;
  #disposed = false;

  /** @internal Use `load()`. */
  constructor(
    host: DecoderHost,
    built: BuiltSeq2Seq,
    spectrograms: Spectrograms,
    parts: { readonly checkpoint: Checkpoint; readonly tokenizer: Tokenizer; readonly config: WhisperConfig },
  ) {
    this.host = host;
    this.checkpoint = parts.checkpoint;
    this.tokenizer = parts.tokenizer;
    this.config = parts.config;
    this.#built = built;
    this.#spectrograms = spectrograms;
  }

  get sampleRate(): number {
    return this.#spectrograms.config.sampleRate;
  }

  /** Codes of the languages that it hears; empty: English only, or not said. */
  get languages(): readonly string[] {
    return [...this.config.languages.keys()];
  }

  /**
   * Text and segments of audio, greedily: a path, samples at `sampleRate`, or samples with their own rate; of several inputs
   * eight at a time run together, which changes no bit of their results. Audio longer than a window (30 s) is heard window by window, each from the
   * last time that was written, as transformers does it without conditions on earlier text and without fallback to
   * higher temperatures; it is always written with times. `confidence`: the geometric mean of the tokens' probabilities among those allowed.
   * Throws InputError, OptionError, AbortError, NumericError.
   */
  transcribe(input: AudioInput, options?: WhisperOptions): Promise<Transcription>;
  transcribe(inputs: readonly AudioInput[], options?: WhisperOptions): Promise<Transcription[]>;
  async transcribe(
    input: AudioInput | readonly AudioInput[],
    options: WhisperOptions = {},
  ): Promise<Transcription | Transcription[]> {
    if (this.#disposed) throw new DisposedError('the model was disposed');
    this.#check(options);
    if (!Array.isArray(input)) return this.#one(input as AudioInput, options);
    return fewAtOnce(input as readonly AudioInput[], atOnce, options.signal, (one, signal) =>
      this.#one(one, { ...options, signal }),
    );
  }

  async dispose(): Promise<void> {
    if (this.#disposed) return;
    this.#disposed = true;
    await this.host.dispose();
    this.tokenizer.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  #check(options: WhisperOptions): void {
    checkObject('options', options, ['language', 'task', 'timestamps', 'signal']);
    const { language, task, timestamps, signal } = options;
    const refuse = (name: string, expected: string, found: unknown): never => {
      throw new OptionError(`bad ${name}`, { name, expected, found });
    };
    if (signal !== undefined && !(signal instanceof AbortSignal)) refuse('signal', 'an AbortSignal', signal);
    if (timestamps !== undefined && typeof timestamps !== 'boolean') refuse('timestamps', 'true or false', timestamps);
    if (timestamps === true && this.config.noTimes === undefined)
      refuse('timestamps', 'a checkpoint with no_timestamps_token_id', timestamps);
    if (language !== undefined) {
      if (!this.config.multilingual) refuse('language', 'nothing: the model hears English only', language);
      languageIn(this.config.languages, language);
    }
    if (task === undefined) return;
    if (task !== 'transcribe' && task !== 'translate') refuse('task', 'transcribe or translate', task);
    if (!this.config.multilingual || this.config.tasks[task] === undefined)
      refuse('task', 'nothing: the model writes what it hears', task);
  }

  async #one(input: AudioInput, options: WhisperOptions): Promise<Transcription> {
    const { signal } = options;
    const samples = await readAudio(input, { sampleRate: this.sampleRate, signal });
    const features = await this.#spectrograms.features(samples);
    const { bands, hop, chunk } = this.#spectrograms.config;
    const { stride } = this.#built.builder.encoder.spectrogram!;
    const window = this.#built.maxSource * stride;
    const total = features.length / bands;
    const heard = Math.min(total, Math.ceil(samples.length / hop));
    if (samples.length > chunk && this.config.noTimes === undefined)
      throw new InputError('audio longer than a window wants times, which this checkpoint cannot write', {
        ...{ name: 'input', expected: `at most ${chunk / this.sampleRate} s`, found: samples.length / this.sampleRate },
      });
    let begin = this.#beginning(options, options.timestamps === true || samples.length > chunk);
    const [segments, logprobs]: [WhisperSegment[], number[]] = [[], []];
    for (let seek = 0; seek < heard; ) {
      if (signal?.aborted === true) throw new AbortError(undefined, { cause: signal.reason });
      const frames = Math.min(window, total - seek);
      const part = new Float32Array(window * bands);
      part.set(features.subarray(seek * bands, (seek + frames) * bands));
      const written = await this.#write(part, begin, signal);
      logprobs.push(...written.logprobs.slice(begin.forced.length));
      // The language of the first window is that of all.
      begin = { ...begin, forced: begin.forced.map((id, i) => id ?? written.ids[i]) };
      const ids = written.ids.slice(begin.forced.length);
      const place = { offset: (seek * hop) / this.sampleRate, frames, stride };
      // Where no times are asked for, those that come all the same say nothing.
      const found = windowSegments(ids, begin.times ? this.config.firstTime : Number.POSITIVE_INFINITY, place);
      segments.push(...found.segments);
      seek += found.advance;
    }
    return this.#result(segments, logprobs, begin, samples.length / this.sampleRate);
  }

  /** Start ids after the first: language, task, no times; as transformers has them, with `transcribe` as the default task. */
  #beginning({ language, task }: WhisperOptions, times: boolean): Beginning {
    const { multilingual, languages, tasks, noTimes } = this.config;
    const forced: (number | undefined)[] = [];
    if (multilingual) {
      forced.push(language === undefined ? undefined : languages.get(languageIn(languages, language))!);
      const id = tasks[task ?? 'transcribe'];
      if (id !== undefined) forced.push(id);
    }
    if (!times && noTimes !== undefined) forced.push(noTimes);
    return { forced, times };
  }

  /** What the model writes for one window (frames, bands), its beginning after the start id included. */
  async #write(
    features: Float32Array,
    { forced, times }: Beginning,
    signal: AbortSignal | undefined,
  ): Promise<Written> {
    const { config } = this;
    const { decoder, maxSource } = this.#built;
    const begin = 1 + forced.length;
    const rules = whisperProcessor({
      ...{ begin, eos: config.eos, suppress: config.suppress, beginSuppress: config.beginSuppress },
      times: times ? { none: config.noTimes!, maxInitial: config.maxInitialTime } : undefined,
    });
    const detected = new Set(config.languages.values());
    const options = resolveOptions(
      {
        greedy: true,
        maxTokens: config.maxLength(begin) - 1,
        logitsProcessor: (logits, context) => {
          const place = context.ids.length - 1;
          if (place >= forced.length) return rules(logits, context);
          const only = forced[place];
          for (let i = 0; i < logits.length; i++)
            if (only === undefined ? !detected.has(i) : i !== only) logits[i] = Number.NEGATIVE_INFINITY;
        },
      },
      config.defaults,
      { vocab: decoder.vocabSize, eosIds: [config.eos], contextLeft: this.host.plan.maxContext - 1, promptLength: 1 },
    );
    const sink = new Written();
    const prompt = Int32Array.of(config.start);
    const source = { ids: new Int32Array(maxSource), features };
    // A signal of its own: the engine listens to it, and there may be many windows.
    const own = signal === undefined ? undefined : AbortSignal.any([signal]);
    this.host.engine.submit({ prompt, options: { ...options, n: 1, signal: own }, sink, source });
    await sink.done;
    return sink;
  }

  #result(
    segments: readonly WhisperSegment[],
    logprobs: readonly number[],
    { forced }: Beginning,
    duration: number,
  ): Transcription {
    const text = (ids: readonly number[]): string =>
      this.tokenizer.decode(
        ids.filter((id) => id < this.config.eos),
        { skipSpecial: true },
      );
    const code = this.config.multilingual
      ? [...this.config.languages].find(([, id]) => id === forced[0])?.[0]
      : undefined;
    return {
      text: text(segments.flatMap((s) => s.ids)).trim(),
      ...(code === undefined ? {} : { language: code }),
      // A window of a short audio goes on in silence.
      segments: segments.map((s) => ({
        start: Math.min(s.start, duration),
        end: Math.min(s.end, duration),
        text: text(s.ids).trim(),
      })),
      words: [],
      confidence: logprobs.length === 0 ? 1 : Math.exp(logprobs.reduce((sum, l) => sum + l, 0) / logprobs.length),
      duration,
    };
  }
}
