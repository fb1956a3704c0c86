import type { ResolvedOptions } from '../generation/options.js';
import type { StepResult } from '../runtime/native.js';
import type { BeamJob } from './beams.js';
import type { SourceIds, SourceText } from './encode_texts.js';
import type { BlockTable } from './kv_blocks.js';
import type { ResolvedProbe, StepTrace } from './probe_step.js';

/** One sampled token as the engine reports it. */
export interface SampledToken {
  readonly id: number;
  /** Natural logarithm of its probability under the logits that a processor left. */
  readonly logprob: number;
  /** The most likely tokens at this place, best first. */
  readonly top: readonly { readonly id: number; readonly logprob: number }[];
  /** It is a stop id: it ends the sequence and is not part of the text. */
  readonly stop: boolean;
  /** What the steps since the token before showed, where the request asks for it. */
  readonly traces?: readonly StepTrace[];
}

/** What draw `at` of a native call made of `samples` draws a step gave. */
export function sampledToken(result: StepResult, at: number, samples: number, options: ResolvedOptions): SampledToken {
  const { ids, logprobs, top_ids: topIds, top_logprobs: topLogprobs } = result.outputs;
  const top = (topIds?.length ?? 0) / Math.max(1, samples * result.steps);
  const id = ids![at]!;
  return {
    id,
    logprob: logprobs![at]!,
    top: Array.from({ length: options.topLogprobs }, (_, i) => ({
      id: topIds![at * top + i]!,
      logprob: topLogprobs![at * top + i]!,
    })),
    stop: options.stopIds.includes(id),
  };
}

export type FinishReason = 'stop' | 'length' | 'aborted';

/** Where the tokens of a request go. Called on the JavaScript thread, in order. */
export interface Sink {
  /** Returns true to end this sequence here (a stop string was found, or nobody reads any more). */
  token(index: number, token: SampledToken): boolean;
  /** `score`: of a beam. */
  finish(index: number, reason: FinishReason, score?: number): void;
  fail(error: unknown): void;
}

/** KV that outlives a request: the turns of a session. The engine may take the blocks back while it is idle. */
export interface Retained {
  /** Ids whose keys and values lie in the table, from position 0. */
  ids: number[];
  table: BlockTable | undefined;
  /** Length that the rope angles of its prompt were computed for. */
  ropeLength: number;
  /** Under which changes of the inside they were made. */
  signature?: string;
  busy: boolean;
}

/** KV to be kept, still empty. */
export const newRetained = (): Retained => ({ ids: [], table: undefined, ropeLength: 0, busy: false });

export interface GenerationRequest {
  readonly prompt: Int32Array;
  readonly options: ResolvedOptions;
  readonly sink: Sink;
  /** KV of earlier turns to continue from, kept again afterwards. */
  readonly retained?: Retained | undefined;
  /** What an encoder-decoder reads: `prompt` is then how the decoder begins. */
  readonly source?: SourceIds | undefined;
  /** How many ids at the end of `prompt` count as generated in the scores of beams (forced_bos_token_id). */
  readonly forcedIds?: number | undefined;
  /** How many ids are drawn one after another before beams part: a processor leaves one only of each. */
  readonly lead?: number | undefined;
  /** The id that a beam of the greatest length ends with (forced_eos_token_id). */
  readonly forcedEos?: number | undefined;
  /** What it sees and changes of the inside. */
  readonly probe?: ResolvedProbe | undefined;
}

/** One sequence of the batch: its ids so far, how many of them are in the cache, and its blocks. */
export class Sequence {
  readonly request: GenerationRequest;
  /** Which of the request's n completions. */
  readonly index: number;
  readonly table: BlockTable;
  readonly ids: number[];
  readonly promptLength: number;
  /** Ids whose keys and values are in the cache. */
  cached: number;
  /** Length that rope angles of prefilled rows are computed for. */
  prefillLength: number;
  mu: number;
  /** Blocks promised for the request's other completions until they fork from this one. */
  spare = 0;
  /** What the encoder of an encoder-decoder reads for it, shared by all completions. */
  text: SourceText | undefined;
  /** The search that this is a beam of. */
  beams: BeamJob | undefined;
  /** What the processor took from the probability of all ids together, as a logarithm; of a beam. */
  shift = 0;
  /** What was shown since the last token. */
  traces: StepTrace[] = [];
  done = false;

  constructor(request: GenerationRequest, index: number, table: BlockTable, ids: number[], cached: number) {
    this.request = request;
    this.index = index;
    this.table = table;
    this.ids = ids;
    this.promptLength = request.prompt.length;
    this.cached = cached;
    this.prefillLength = ids.length;
    this.mu = 2 * (request.options.mirostat?.tau ?? 0);
  }

  /** Ids that the next steps must take in before the next one can be sampled. */
  get pending(): number {
    return this.ids.length - this.cached;
  }

  get generated(): number {
    return this.ids.length - this.promptLength;
  }

  get decoding(): boolean {
    return this.pending === 1 && this.generated > 0;
  }

  /** Draws of its next row of logits: n completions draw their first ids from the same one. */
  get samples(): number {
    return this.generated === 0 && this.index === 0 && this.beams === undefined ? this.request.options.n : 1;
  }

  /** Longrope: past the switch (`limit`) all keys have other angles, so the whole sequence is taken in again. */
  switchRope(limit: number | undefined): void {
    if (limit === undefined || !this.decoding || this.ids.length <= limit || this.prefillLength > limit) return;
    this.cached = 0;
    this.prefillLength = this.ids.length;
  }

  get remaining(): number {
    return this.request.options.maxTokens - this.generated;
  }
}
