/** Options of a generation: what callers may give. `option_table.ts` checks them, `resolve.ts` turns them into final numbers. */
/** "Don't repeat yourself" (p-e-w, 2024): lowers an id that would prolong a repeat by multiplier * base^(length - allowedLength). */
export interface DryOptions {
  /** 0 to 100; 0 turns it off. */
  readonly multiplier: number;
  /** 1 to 16, default 1.75. */
  readonly base?: number | undefined;
  /** Repeats of fewer ids cost nothing; at least 1, default 2. */
  readonly allowedLength?: number | undefined;
  /** How many of the last ids it looks at; 0, the default: all. */
  readonly range?: number | undefined;
  /** A repeat does not reach across an id whose text contains one of these; default: newline, `:`, `"`, `*`. */
  readonly sequenceBreakers?: readonly string[] | undefined;
}

/** "Exclude top choices" (p-e-w, 2024): with this probability all likely ids but the least likely of them are dropped. */
export interface XtcOptions {
  /** 0 to 1. */
  readonly probability: number;
  /** Ids at or above it are likely; above 0, up to 0.5 (two ids cannot both pass more), default 0.1. */
  readonly threshold?: number | undefined;
}

/** Mirostat 2 (Basu et al., 2021): keeps the surprise of the drawn ids near `tau` bits. */
export interface MirostatOptions {
  /** Bits, above 0 up to 100; default 5. */
  readonly tau?: number | undefined;
  /** Learning rate, above 0 up to 1; default 0.1. */
  readonly eta?: number | undefined;
}

export interface ProcessorContext {
  /** Prompt and generated ids so far. */
  readonly ids: Int32Array;
  /** Position of the id that will be drawn. */
  readonly position: number;
}

/**
 * Changes the logits of one draw before all other options act: in place, or by returning an array of the same length.
 * Synchronous; -Infinity bans an id, NaN and Infinity fail the request.
 */
// biome-ignore lint/suspicious/noConfusingVoidType: a processor that works in place returns nothing
export type LogitsProcessor = (logits: Float32Array, context: ProcessorContext) => void | Float32Array;

/**
 * How ids are drawn. Formulas and order: native/ops/sample.h (Hugging Face's where it has the option, llama.cpp's for
 * presence, frequency, DRY, XTC and mirostat). Absent options come from the checkpoint's generation_config.json.
 */
export interface SamplingOptions {
  /** 0 to 100; 0 takes the most likely id. Giving it turns sampling on for a checkpoint whose default is greedy. */
  readonly temperature?: number | undefined;
  /** Same as temperature 0. */
  readonly greedy?: boolean | undefined;
  /** Keeps the k most likely; 0: off. */
  readonly topK?: number | undefined;
  /** Keeps the smallest set whose probability reaches it; above 0, 1: off. */
  readonly topP?: number | undefined;
  /** Keeps ids at least this likely relative to the most likely; 0: off. */
  readonly minP?: number | undefined;
  /** Keeps the ids whose surprise is nearest to the entropy, up to this probability; above 0, 1: off. */
  readonly typicalP?: number | undefined;
  /** 0.01 to 100, 1: off; prompt and generated ids. */
  readonly repetitionPenalty?: number | undefined;
  /** -100 to 100, 0: off; once per id that was generated. */
  readonly presencePenalty?: number | undefined;
  /** -100 to 100, 0: off; for each time that an id was generated. */
  readonly frequencyPenalty?: number | undefined;
  /** How many of the last ids the three penalties look at; 0: all. */
  readonly penaltyWindow?: number | undefined;
  /** No sequence of this many ids occurs twice; 0: off. */
  readonly noRepeatNgram?: number | undefined;
  readonly dry?: DryOptions | undefined;
  readonly xtc?: XtcOptions | undefined;
  /** Replaces topK, topP, minP, typicalP and xtc: giving both is an error. */
  readonly mirostat?: MirostatOptions | undefined;
  /** Added to logits, by token id; -100 to 100. */
  readonly logitBias?: Readonly<Record<number, number>> | ReadonlyMap<number, number> | undefined;
  /** Never generated: texts (with and without a space before them), or sequences of ids. */
  readonly badWords?: readonly string[] | readonly (readonly number[])[] | undefined;
  /** 0 to 2^64 - 1; default: drawn anew and reported with the result. Same seed, same input: same ids. */
  readonly seed?: number | bigint | undefined;
  readonly logitsProcessor?: LogitsProcessor | undefined;
}

/** Beam search as Hugging Face defines it; a checkpoint's own values hold for what is left open. */
export interface BeamSearchOptions {
  /** Beams, 1 to 64; more than 1: the best sequences are searched, and pieces come when the search is over. */
  readonly numBeams?: number | undefined;
  /** Scores are sums of log-probabilities over (new ids) ^ lengthPenalty; -10 to 10, default 1. */
  readonly lengthPenalty?: number | undefined;
  /** true: ends with numBeams finished sequences; false, the default: when a better one is unlikely; 'never': when there can be none. */
  readonly earlyStopping?: boolean | 'never' | undefined;
  /** Groups of beams that avoid each other's ids (Vijayakumar et al. 2018); divides numBeams, default 1. */
  readonly numBeamGroups?: number | undefined;
  /** What an id loses for each beam of the groups before that chose it in the same step; 0 to 100. */
  readonly diversityPenalty?: number | undefined;
}

/** What a generation shows of each step; layers and heads by number, from 0. */
export interface GenerationTrace {
  /** Maps of the decoder's own attention after softmax: true for all layers, or their numbers. */
  readonly attentions?: boolean | readonly number[] | undefined;
  /** Maps over the text that an encoder-decoder reads. */
  readonly crossAttentions?: boolean | readonly number[] | undefined;
  /** Hidden states as Hugging Face counts them: 0 enters the first layer, the last has passed the final norm. */
  readonly hiddenStates?: boolean | readonly number[] | undefined;
  /** Only these heads of the maps; default: all. */
  readonly heads?: readonly number[] | undefined;
  /** Rows of the whole prompt; default: only of its last token, which the first id is drawn from. */
  readonly prompt?: boolean | undefined;
}

/** A vector that is added to hidden state `layer` of every token, prompt too (Turner et al. 2023). */
export interface Steering {
  /** Numbered like hidden states: N is what enters layer N, the greatest what enters the head. */
  readonly layer: number;
  /** (hidden) */
  readonly vector: Float32Array | readonly number[];
  /** Factor, default 1. */
  readonly scale?: number | undefined;
}

/** Heads of a layer whose results become zero, for every token. */
export interface HeadMask {
  readonly layer: number;
  readonly heads: readonly number[];
  /** 'cross': of an encoder-decoder's attention to the text; default 'self'. */
  readonly attention?: 'self' | 'cross' | undefined;
}

export interface GenerateOptions extends SamplingOptions, BeamSearchOptions {
  /** Most ids to generate; default: the checkpoint's, or what the context has left. 0 only with `echo`. */
  readonly maxTokens?: number | undefined;
  /** Ids that end a sequence are suppressed before this many were generated. */
  readonly minTokens?: number | undefined;
  /** Texts that end the output and are not part of it: up to 16, 1 to 512 bytes each. */
  readonly stop?: readonly string[] | undefined;
  /** Ids that end the output, besides the checkpoint's. */
  readonly stopTokens?: readonly number[] | undefined;
  /** Completions of the prompt, 1 to 128; with beams the best n of them. */
  readonly n?: number | undefined;
  /** true: log-probability of each generated id, from the raw logits; a number: also that many alternatives, up to 20. */
  readonly logprobs?: boolean | number | undefined;
  /** The checkpoint's ids do not end the output. */
  readonly ignoreEos?: boolean | undefined;
  /** The prompt is part of the output. */
  readonly echo?: boolean | undefined;
  /** Attention maps and hidden states of each step, in `traces` of pieces and completions. */
  readonly trace?: GenerationTrace | undefined;
  /** Up to 64; at one layer they add up. */
  readonly steer?: readonly Steering[] | undefined;
  readonly maskHeads?: readonly HeadMask[] | undefined;
  readonly signal?: AbortSignal | undefined;
}

export {
  type BeamSettings,
  type OptionContext,
  type OptionTexts,
  optionTexts,
  type ResolvedOptions,
  resolveOptions,
} from './resolve.js';
