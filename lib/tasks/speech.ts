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

/** What was said. */
export interface Transcription {
  readonly text: string;
  readonly words: readonly TranscribedWord[];
  /** Mean of the words', 1 where there are none. */
  readonly confidence: number;
  /** Seconds of audio. */
  readonly duration: number;
}

/** Options of models with connectionist temporal classification (Wav2Vec2ForCTC, HubertForCTC). */
export interface CtcOptions {
  /**
   * Texts that are kept while searching: the likeliest by the sum of its alignments is taken. Default 1: the likeliest
   * token of each frame.
   */
  readonly beams?: number | undefined;
  /** Audio longer than this is heard in overlapping chunks; 0: never. Default 30. */
  readonly chunkSeconds?: number | undefined;
  /** What a chunk hears besides on each side, where another one answers for it. Default: a sixth of a chunk. */
  readonly strideSeconds?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Options of any model of speech. */
export type TranscribeOptions = CtcOptions;

/** A model that writes down speech. Its class says which options it takes; another one is refused. */
export interface SpeechModel extends AsyncDisposable {
  /** Hz of the samples that it hears; other audio is resampled. */
  readonly sampleRate: number;
  transcribe(input: AudioInput, options?: TranscribeOptions): Promise<Transcription>;
  transcribe(inputs: readonly AudioInput[], options?: TranscribeOptions): Promise<Transcription[]>;
  dispose(): Promise<void>;
}
