import { type AudioInput, readAudio } from '../audio/read.js';
import type { Spectrograms } from '../audio/spectrogram.js';
import type { BuiltSeq2Seq } from '../engine/build.js';
import type { DecoderHost } from '../engine/host.js';
import { DisposedError, InputError } from '../errors.js';
import { earlierText, type WhisperSegment, windowSegments } from '../generation/whisper_rules.js';
import type { Tokenizer } from '../text/tokenizer.js';
import type { Checkpoint } from '../weights/types.js';
import { fewAtOnce } from './few_at_once.js';
import {
  checkWhisperTrace,
  ownSpectrogram,
  type SpectrogramInput,
  traceWindow,
  type WhisperTrace,
  type WhisperTraceRequest,
} from './inspect_whisper.js';
import type { SpeechModel, TranscribedWord, Transcription, WhisperOptions } from './speech.js';
import type { WhisperConfig } from './whisper_config.js';
import { promptedPlan, type WhisperPlan } from './whisper_options.js';
import { type Attempt, type Beginning, WindowWriter } from './whisper_window.js';
import { type TimedToken, wordsOf } from './whisper_words.js';

/** Inputs of a list whose samples and features are in memory at the same time. */
const atOnce = 8;

/** A stretch of text, and the attempt that it is part of. */
interface Heard extends WhisperSegment {
  readonly attempt: Attempt;
  /** Of its ids. */
  readonly tokens: readonly TimedToken[];
}

/** Ids with their times; empty without. `begin`: where the first one begins. */
function timedTokens({ ids, logprobs, idTimes }: Attempt, offset: number, begin: number): TimedToken[] {
  const ends = idTimes?.map((time) => time + offset);
  if (ends === undefined) return [];
  return ids.map((id, i) => ({ id, start: ends[i - 1] ?? begin, end: ends[i]!, logprob: logprobs[i]! }));
}

/** WhisperForConditionalGeneration: speech in many languages to text, or to English (Radford et al. 2022). */
export class WhisperModel implements SpeechModel {
  readonly checkpoint: Checkpoint;
  readonly host: DecoderHost;
  readonly tokenizer: Tokenizer;
  readonly config: WhisperConfig;
  readonly #built: BuiltSeq2Seq;
  readonly #spectrograms: Spectrograms;
  readonly #writer: WindowWriter;
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
    this.#writer = new WindowWriter(host, built, parts.config);
  }

  get sampleRate(): number {
    return this.#spectrograms.config.sampleRate;
  }

  /** Codes of the languages that it hears; empty: English only, or not said. */
  get languages(): readonly string[] {
    return [...this.config.languages.keys()];
  }

  /**
   * Text and segments of audio: a path, samples at `sampleRate`, or samples with their own rate; of several
   * inputs eight at a time run together, which changes no bit of their results. Audio longer than a window (30 s) is
   * heard window by window, each from the last time that was written, as transformers does it; it is always written with times. A window is written greedily, and
   * again at higher temperatures where `temperatures` says so and the text is poor. `confidence`: the geometric mean of the
   * tokens' probabilities among those allowed. Throws InputError, OptionError, AbortError, NumericError.
   */
  transcribe(input: AudioInput, options?: WhisperOptions): Promise<Transcription>;
  transcribe(inputs: readonly AudioInput[], options?: WhisperOptions): Promise<Transcription[]>;
  async transcribe(
    input: AudioInput | readonly AudioInput[],
    options: WhisperOptions = {},
  ): Promise<Transcription | Transcription[]> {
    if (this.#disposed) throw new DisposedError('the model was disposed');
    const plan = await promptedPlan(options, this.config, this.tokenizer);
    if (!Array.isArray(input)) return this.#one(input as AudioInput, plan);
    return fewAtOnce(input as readonly AudioInput[], atOnce, options.signal, (one, signal) =>
      this.#one(one, { ...plan, signal }),
    );
  }

  /**
   * Looks inside while one window is heard: audio of at most a window (30 s), or a spectrogram of one's own, and what the decoder
   * has written, `request.target`, after the ids that it begins with. Throws InputError, OptionError, ContextOverflowError.
   */
  async trace(input: AudioInput | SpectrogramInput, request: WhisperTraceRequest = {}): Promise<WhisperTrace> {
    if (this.#disposed) throw new DisposedError('the model was disposed');
    const plan = checkWhisperTrace(request, this.config);
    const source =
      typeof input === 'object' && input !== null && 'inputFeatures' in input
        ? ownSpectrogram(this.#built, input)
        : { ids: new Int32Array(this.#built.maxSource), features: await this.#window(input) };
    const { hop } = this.#spectrograms.config;
    const { host, config, tokenizer } = this;
    const parts = { host, config, tokenizer, built: this.#built, seconds: hop / this.sampleRate };
    return traceWindow(parts, source, this.#beginning(plan, plan.times).forced, request);
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

  async #one(input: AudioInput, plan: WhisperPlan): Promise<Transcription> {
    const { signal } = plan;
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
    let begin = this.#beginning(plan, plan.times || samples.length > chunk);
    const segments: Heard[] = [];
    const logprobs: number[] = [];
    let conditioned = plan.conditioned;
    for (let [seek, count] = [0, 0]; seek < heard; count++) {
      const frames = Math.min(window, total - seek);
      const part = new Float32Array(window * bands);
      part.set(features.subarray(seek * bands, (seek + frames) * bands));
      const before = this.#before(segments, conditioned, plan);
      const attempt = await this.#writer.write(part, { ...begin, before }, plan, {
        ...{ window: count, frames: Math.min(frames, heard - seek) },
      });
      conditioned = plan.conditioned && attempt.temperature < 0.5;
      // The language of the first window is that of all.
      begin = { ...begin, forced: attempt.forced };
      if (attempt.skip) {
        seek += frames;
        continue;
      }
      logprobs.push(...attempt.logprobs);
      const place = { offset: (seek * hop) / this.sampleRate, frames, stride };
      // Where no times are asked for, those that come all the same say nothing.
      const firstTime = begin.times ? this.config.firstTime : Number.POSITIVE_INFINITY;
      const found = windowSegments(attempt.ids, firstTime, place);
      const tokens = timedTokens(attempt, place.offset, segments.at(-1)?.tokens.at(-1)?.end ?? 0);
      for (const segment of found.segments)
        segments.push({ ...segment, attempt, tokens: tokens.splice(0, segment.ids.length) });
      seek += found.advance;
    }
    return this.#result(segments, logprobs, begin, samples.length / this.sampleRate);
  }

  /** The spectrogram (frames, bands) of audio of one window. */
  async #window(input: AudioInput): Promise<Float32Array> {
    const samples = await readAudio(input, { sampleRate: this.sampleRate });
    const { chunk } = this.#spectrograms.config;
    if (samples.length <= chunk) return this.#spectrograms.features(samples);
    throw new InputError('audio longer than a window is not traced', {
      ...{ name: 'input', expected: `at most ${chunk / this.sampleRate} s`, found: samples.length / this.sampleRate },
    });
  }

  /** Start ids after the first: language, task, no times; as transformers has them, with `transcribe` as the default task. */
  #beginning({ language, task }: WhisperPlan, times: boolean): Beginning {
    const { multilingual, tasks, noTimes } = this.config;
    const forced: (number | undefined)[] = [];
    if (multilingual) {
      forced.push(language);
      const id = tasks[task];
      if (id !== undefined) forced.push(id);
    }
    if (!times && noTimes !== undefined) forced.push(noTimes);
    return { before: [], forced, times };
  }

  /** What a window begins after: the prompt, or the end of the text before it, which a prompt counts to. */
  #before(segments: readonly Heard[], conditioned: boolean, plan: WhisperPlan): readonly number[] {
    const { longest, firstTime, prevStart } = this.config;
    const { prompt, promptStays } = plan;
    const start = prevStart === undefined ? [] : [prevStart];
    const opening = prompt === undefined || promptStays ? [] : [prompt[0] === prevStart ? prompt.slice(1) : prompt];
    const text = [...opening, ...segments.map((s) => s.ids)];
    if (!conditioned || text.length === 0) return prompt ?? [];
    return earlierText(text, promptStays ? prompt! : start, Math.floor(longest / 2) - 1, firstTime);
  }

  #result(
    segments: readonly Heard[],
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
        ...{ temperature: s.attempt.temperature, avgLogprob: s.attempt.avgLogprob },
        ...{ compressionRatio: s.attempt.compressionRatio, noSpeechProb: s.attempt.noSpeechProb },
      })),
      words: this.#words(segments, code, duration),
      confidence: logprobs.length === 0 ? 1 : Math.exp(logprobs.reduce((sum, l) => sum + l, 0) / logprobs.length),
      duration,
    };
  }

  /** Empty where no times of words were asked for. */
  #words(segments: readonly Heard[], language: string | undefined, duration: number): TranscribedWord[] {
    const decode = (ids: readonly number[]): string => this.tokenizer.decode(ids, { skipSpecial: false });
    const time = (seconds: number): number => Math.min(Math.round(seconds * 100) / 100, duration);
    // No word goes on over a time that was written.
    const runs: TimedToken[][] = [];
    for (const { tokens } of segments) {
      runs.push([]);
      for (const token of tokens)
        if (token.id < this.config.eos) runs.at(-1)!.push(token);
        else if (token.id >= this.config.firstTime) runs.push([]);
    }
    return runs.flatMap((run) => {
      const words = wordsOf(run, language, decode);
      return words.flatMap((word) => {
        const text = word.text.trim();
        return text === '' ? [] : [{ ...word, text, start: time(word.start), end: time(word.end) }];
      });
    });
  }
}
