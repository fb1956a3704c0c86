import { type AudioInput, readAudio } from '../audio/read.js';
import type { AudioHost } from '../engine/audio_host.js';
import { AbortError, DisposedError, InputError, NumericError, OptionError } from '../errors.js';
import { CtcBeamSearch, CtcGreedy } from '../generation/ctc.js';
import { receptiveField } from '../layers/audio.js';
import { type CtcVocab, renderCtc } from '../text/ctc_vocab.js';
import { Pacer } from '../weights/files.js';
import type { Checkpoint } from '../weights/types.js';
import { checkObject } from './arguments.js';
import { fewAtOnce } from './few_at_once.js';
import { type AudioTrace, type AudioTraceRequest, checkAudioTrace, traceClip } from './inspect_audio.js';
import type { CtcOptions, SpeechModel, Transcription } from './speech.js';

/** How the waveform is prepared: preprocessor_config.json. */
export interface AudioPreparation {
  readonly sampleRate: number;
  /** To a mean of 0 and a variance of 1. */
  readonly normalize: boolean;
}

/** Tokens of a frame that the beams try. */
const candidates = 32;
/** Inputs of a list that are read and heard at the same time. */
const atOnce = 16;

/** (x − mean) / √(variance + 1e-7), as Wav2Vec2FeatureExtractor does it. */
async function normalized(x: Float32Array): Promise<Float32Array> {
  const pacer = new Pacer();
  const sum = async (of: (v: number) => number): Promise<number> => {
    let total = 0;
    for (let i = 0; i < x.length; ) {
      for (const end = Math.min(x.length, i + 65_536); i < end; i++) total += of(x[i]!);
      await pacer.turn();
    }
    return total;
  };
  const mean = (await sum((v) => v)) / x.length;
  const variance = (await sum((v) => (v - mean) ** 2)) / x.length;
  const scale = 1 / Math.sqrt(variance + 1e-7);
  const y = new Float32Array(x.length);
  for (let i = 0; i < x.length; ) {
    for (const end = Math.min(x.length, i + 65_536); i < end; i++) y[i] = (x[i]! - mean) * scale;
    await pacer.turn();
  }
  return y;
}

/** Samples begin … end − 1, whose frames are kept up to the last `dropRight` and without the first `dropLeft`. */
interface Chunk {
  readonly begin: number;
  readonly end: number;
  /** Frames of the chunk that others answer for. */
  readonly dropLeft: number;
  /** Frames from its beginning that it answers for at most. */
  readonly keepTo: number;
}

/** A model of speech with connectionist temporal classification: Wav2Vec2ForCTC, HubertForCTC. */
export class CtcModel implements SpeechModel {
  readonly checkpoint: Checkpoint;
  readonly host: AudioHost;
  readonly vocab: CtcVocab;
  readonly sampleRate: number;
  readonly #normalize: boolean;
  readonly #field: { readonly samples: number; readonly stride: number };
  #disposed = false;

  /** @internal Use `load()`. */
  constructor(host: AudioHost, checkpoint: Checkpoint, vocab: CtcVocab, preparation: AudioPreparation) {
    this.host = host;
    this.checkpoint = checkpoint;
    this.vocab = vocab;
    this.sampleRate = preparation.sampleRate;
    this.#normalize = preparation.normalize;
    this.#field = receptiveField(host.built.builder.convolutions);
  }

  /**
   * Text, words and their times of audio: a path, samples at `sampleRate`, or samples with their own rate; several inputs
   * run together, which changes no bit of their results. A word lasts from the first frame of its first token to the last
   * frame of its last one; its confidence is the mean over its tokens of the mean of their probabilities in their frames.
   * Throws InputError (unreadable, empty, not finite, shorter than one frame hears), OptionError, AbortError.
   */
  transcribe(input: AudioInput, options?: CtcOptions): Promise<Transcription>;
  transcribe(inputs: readonly AudioInput[], options?: CtcOptions): Promise<Transcription[]>;
  async transcribe(
    input: AudioInput | readonly AudioInput[],
    options: CtcOptions = {},
  ): Promise<Transcription | Transcription[]> {
    const plan = this.#check(options);
    if (!Array.isArray(input)) return this.#one(input as AudioInput, options, plan);
    return fewAtOnce(input as readonly AudioInput[], atOnce, options.signal, (one, signal) =>
      this.#one(one, { ...options, signal }, plan),
    );
  }

  /**
   * Looks inside while one clip runs as a whole: attention maps, hidden states, logits. Throws as `transcribe` does.
   */
  async trace(input: AudioInput, request: AudioTraceRequest): Promise<AudioTrace> {
    if (this.#disposed) throw new DisposedError('the model was disposed');
    checkAudioTrace(request);
    const samples = await this.#read(input, undefined);
    const clip = this.#normalize ? await normalized(samples) : samples;
    return traceClip(this.host, clip, request, this.#field.stride / this.sampleRate);
  }

  async dispose(): Promise<void> {
    if (this.#disposed) return;
    this.#disposed = true;
    await this.host.dispose();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  async #read(input: AudioInput, signal: AbortSignal | undefined): Promise<Float32Array> {
    const samples = await readAudio(input, { sampleRate: this.sampleRate, signal });
    if (samples.length >= this.#field.samples) return samples;
    throw new InputError('the audio is shorter than one frame hears', {
      name: 'input',
      expected: `at least ${this.#field.samples} samples at ${this.sampleRate} Hz`,
      found: samples.length,
    });
  }

  async #one(input: AudioInput, options: CtcOptions, plan: { chunk: number; stride: number }): Promise<Transcription> {
    const { signal, beams = 1 } = options;
    const samples = await this.#read(input, signal);
    const { vocabSize: vocab } = this.host.built;
    const { blank } = this.vocab;
    const decoder = beams === 1 ? new CtcGreedy(vocab, blank) : new CtcBeamSearch({ vocab, blank, beams, candidates });
    const pacer = new Pacer();
    for await (const { probabilities, from, to } of this.#heard(samples, plan, signal)) {
      for (let t = from; t < to; t++) {
        if (Number.isNaN(probabilities[t * vocab])) throw new NumericError('the logits of a frame are NaN');
        decoder.push(probabilities.subarray(t * vocab, (t + 1) * vocab));
        await pacer.turn();
        if (signal?.aborted === true) throw new AbortError(undefined, { cause: signal.reason });
        if (this.#disposed) throw new DisposedError('the model was disposed');
      }
    }
    const tokens = decoder instanceof CtcGreedy ? decoder.tokens() : decoder.texts()[0]!.tokens;
    const { text, words } = renderCtc(this.vocab, tokens);
    const seconds = (frame: number): number => (frame * this.#field.stride) / this.sampleRate;
    return {
      text,
      words: words.map((w) => ({
        text: w.text,
        start: seconds(w.begin),
        end: seconds(w.end),
        confidence: w.confidence,
      })),
      confidence: words.length === 0 ? 1 : words.reduce((sum, w) => sum + w.confidence, 0) / words.length,
      duration: samples.length / this.sampleRate,
    };
  }

  /** Probabilities of all frames in order, chunk by chunk; the next one runs while this one is used. */
  async *#heard(
    samples: Float32Array,
    plan: { chunk: number; stride: number },
    signal: AbortSignal | undefined,
  ): AsyncGenerator<{ probabilities: Float32Array; from: number; to: number }> {
    const chunks = this.#chunks(samples.length, plan);
    const run = async ({ begin, end }: Chunk): Promise<Float32Array> => {
      const part = samples.subarray(begin, end);
      const { probabilities } = await this.host.run(this.#normalize ? await normalized(part) : part, signal);
      return probabilities!;
    };
    let next = run(chunks[0]!);
    for (const [i, { dropLeft, keepTo }] of chunks.entries()) {
      const probabilities = await next;
      const following = chunks[i + 1];
      if (following !== undefined) {
        next = run(following);
        next.catch(() => undefined); // it may fail before anyone waits for it
      }
      const frames = probabilities.length / this.host.built.vocabSize;
      yield { probabilities, from: dropLeft, to: Math.min(frames, keepTo) };
    }
  }

  /** Chunks as the pipeline of transformers has them (chunk_length_s, stride_length_s); each frame is kept once. */
  #chunks(length: number, { chunk, stride }: { chunk: number; stride: number }): Chunk[] {
    if (chunk === 0 || length <= chunk)
      return [{ begin: 0, end: length, dropLeft: 0, keepTo: Number.POSITIVE_INFINITY }];
    const all: Chunk[] = [];
    const frame = this.#field.stride;
    for (let begin = 0; ; begin += chunk - 2 * stride) {
      const last = begin + chunk >= length;
      const end = Math.min(begin + chunk, length);
      const keepTo = last ? Number.POSITIVE_INFINITY : (chunk - stride) / frame;
      all.push({ begin, end, dropLeft: begin === 0 ? 0 : stride / frame, keepTo });
      if (last) return all;
    }
  }

  /** Samples of a chunk and of its overlap on each side, in whole frames. */
  #check(options: CtcOptions): { chunk: number; stride: number } {
    if (this.#disposed) throw new DisposedError('the model was disposed');
    checkObject('options', options, ['beams', 'chunkSeconds', 'strideSeconds', 'signal']);
    const { beams = 1, chunkSeconds = 30, strideSeconds = chunkSeconds / 6, signal } = options;
    const must = (name: string, found: unknown, good: boolean, expected: string): void => {
      if (!good) throw new OptionError(`bad ${name}`, { name, expected, found });
    };
    must('beams', beams, Number.isInteger(beams) && beams >= 1 && beams <= 256, 'an integer from 1 to 256');
    must('signal', signal, signal === undefined || signal instanceof AbortSignal, 'an AbortSignal');
    const { samples: field, stride: frame } = this.#field;
    const whole = (seconds: number): number => Math.round((seconds * this.sampleRate) / frame) * frame;
    const number = (x: unknown): x is number => typeof x === 'number' && x >= 0 && x <= 7200;
    must('chunkSeconds', chunkSeconds, number(chunkSeconds), 'seconds from 0 to 7200');
    must('strideSeconds', strideSeconds, number(strideSeconds), 'seconds from 0 to 7200');
    const [chunk, stride] = [whole(chunkSeconds), whole(strideSeconds)];
    if (chunkSeconds === 0) return { chunk: 0, stride: 0 };
    // The frames at the end of a chunk are not all there: the next chunk must answer for them.
    const least = Math.max(frame, Math.ceil((field - frame) / frame) * frame);
    must('strideSeconds', strideSeconds, stride >= least, `at least ${least / this.sampleRate} (${least} samples)`);
    must('chunkSeconds', chunkSeconds, chunk > 2 * stride, 'more than the strides of both sides, or 0');
    return { chunk, stride };
  }
}
