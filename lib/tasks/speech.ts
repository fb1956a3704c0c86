import type { AudioInput } from '../audio/read.js';

/** A word, and when it was said. */
export interface TranscribedWord {
  readonly text: string;
  /** Seconds from the beginning of the audio. */
  readonly start: number;
  readonly end: number;
  /** 0 to 1; how it is found is said by the model that does it. */
  readonly confidence: number;
}

/** A stretch of speech, and when it was. */
export interface TranscribedSegment {
  /** Seconds from the beginning of the audio. */
  readonly start: number;
  readonly end: number;
  readonly text: string;
  /** At which the window was written that it is part of; so the next three. */
  readonly temperature: number;
  /** Mean log-probability (nats) of the window's ids among those allowed, the end included. */
  readonly avgLogprob: number;
  /** Bytes of the window's ids over what zlib makes of them: high where a text goes round in circles. */
  readonly compressionRatio: number;
  /** Probability of <|nospeech|> where the window begins; undefined of a checkpoint without times. */
  readonly noSpeechProb: number | undefined;
}

/** What was said. */
export interface Transcription {
  readonly text: string;
  /** Of Whisper only with `timestamps: 'word'`. */
  readonly words: readonly TranscribedWord[];
  /** Of Whisper. */
  readonly segments?: readonly TranscribedSegment[];
  /** Code of the language that was asked for or heard, of a Whisper that knows several. */
  readonly language?: string;
  /** 0 to 1, how it is found is said by the model; 1 where nothing was said. */
  readonly confidence: number;
  /** Seconds of audio. */
  readonly duration: number;
}

/** Options of models with connectionist temporal classification (Wav2Vec2ForCTC, HubertForCTC). */
export interface CtcOptions {
  /**
   * Texts that are kept while searching: the likeliest by the sum of its alignments is taken. Default 1: the likeliest
   * token of each frame; at most 256, so that one frame does not hold the event loop.
   */
  readonly beams?: number | undefined;
  /** Audio longer than this is heard in overlapping chunks; 0: never. Default 30. */
  readonly chunkSeconds?: number | undefined;
  /** What a chunk hears besides on each side, where another one answers for it. Default: a sixth of a chunk. */
  readonly strideSeconds?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Options of Whisper. */
export interface WhisperOptions {
  /** Code (de) or English name of the language that is spoken; default: the model says what it hears first. */
  readonly language?: string | undefined;
  /** 'translate': to English. Default 'transcribe'. */
  readonly task?: 'transcribe' | 'translate' | undefined;
  /**
   * true: segments with times; default false, but audio longer than 30 s always has them. 'word': times of words too, found by
   * dynamic time warping over the attention of the checkpoint's `alignment_heads`.
   */
  readonly timestamps?: boolean | 'word' | undefined;
  /**
   * Temperatures to write a window at, one after another, while its text is worse than `logprobThreshold` or
   * `compressionRatioThreshold`; 0 takes the most likely id. Default [0]; OpenAI's own: [0, 0.2, 0.4, 0.6, 0.8, 1]. Above 0, ids
   * are drawn from the checkpoint's `top_k` most likely, 50 where it has none, as transformers does.
   */
  readonly temperatures?: readonly number[] | undefined;
  /** A text whose mean log-probability (nats) is below is tried at the next temperature; -1 is OpenAI's. Default: the checkpoint's, or none. */
  readonly logprobThreshold?: number | undefined;
  /** A text more repetitive than this is tried at the next temperature; 2.4 (OpenAI), 1.35 (transformers, of ids). */
  readonly compressionRatioThreshold?: number | undefined;
  /** A window with a greater probability of no speech, and a text below `logprobThreshold`, is passed over; 0.6 is OpenAI's. */
  readonly noSpeechThreshold?: number | undefined;
  /** 0 to 2^64 - 1, for temperatures above 0: same seed, same text. */
  readonly seed?: number | bigint | undefined;
  /** Beams at temperature 0, 1 to 64: the likeliest text is searched (see BeamSearchOptions). Default: the checkpoint's, or 1. */
  readonly numBeams?: number | undefined;
  /**
   * What may have been said or written before: names and words to expect, a way of writing; ids as transformers' `prompt_ids`.
   * Windows begin after it; with `conditionOnPrevTokens` it counts as text before the first one.
   */
  readonly prompt?: string | readonly number[] | Int32Array | undefined;
  /** 'all-segments': the prompt stays before earlier text. Default 'first-segment'. */
  readonly promptCondition?: 'first-segment' | 'all-segments' | undefined;
  /** Windows begin after the text of those before, but after one that was written at a temperature of 0.5 or more. Default: the checkpoint's, or false. */
  readonly conditionOnPrevTokens?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Options of any model of speech. */
export interface TranscribeOptions extends CtcOptions, WhisperOptions {}

/** A model that writes down speech. Its class says which options it takes; another one is refused. */
export interface SpeechModel extends AsyncDisposable {
  /** Hz of the samples that it hears; other audio is resampled. */
  readonly sampleRate: number;
  transcribe(input: AudioInput, options?: TranscribeOptions): Promise<Transcription>;
  transcribe(inputs: readonly AudioInput[], options?: TranscribeOptions): Promise<Transcription[]>;
  dispose(): Promise<void>;
}
