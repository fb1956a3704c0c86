import { ContextOverflowError, InputError, OptionError, UnsupportedError } from '../errors.js';
import { logSum } from '../generation/log_sum.js';
import { pageTokens } from '../layers/decoder.js';
import { beamBlocks } from './beams.js';
import { blocksFor } from './kv_blocks.js';
import type { GenerationRequest, Retained, Sequence } from './sequence.js';

export interface RequestLimits {
  readonly maxContext: number;
  /** Sequences that run at once. */
  readonly sequences: number;
  /** KV blocks of the model. */
  readonly blocks: number;
  /** Length above which all keys of a sequence are made anew (longrope). */
  readonly ropeSwitch: number | undefined;
  /** KV blocks for what an encoder-decoder reads. */
  readonly textBlocks: number;
}

/** Positions from here on may be written by each completion of a request: what lies before is shared for good. */
export function forkFrom(request: GenerationRequest, ropeSwitch: number | undefined): number {
  const crosses = ropeSwitch !== undefined && request.prompt.length + request.options.maxTokens > ropeSwitch;
  return crosses ? 0 : request.prompt.length;
}

/** Sequences that a request comes to: its completions or its beams. */
export const sequencesOf = (request: GenerationRequest): number => request.options.beams?.beams ?? request.options.n;

/** Blocks that the completions or beams after the first need, copies of shared ones included. */
export function forkBlocks(request: GenerationRequest, ropeSwitch: number | undefined): number {
  const { n, maxTokens, beams } = request.options;
  const prompt = request.prompt.length;
  if (beams !== undefined) return beamBlocks(prompt, maxTokens, beams.beams) - blocksFor(prompt + maxTokens);
  if (n === 1) return 0;
  const shared = Math.floor(forkFrom(request, ropeSwitch) / pageTokens);
  return (n - 1) * (blocksFor(prompt + maxTokens) - shared) + blocksFor(prompt) - shared;
}

/** Refuses a request that could never run, however long it waits. */
export function checkRequest(request: GenerationRequest, limits: RequestLimits): void {
  const { prompt, options } = request;
  if (prompt.length + options.maxTokens > limits.maxContext) {
    throw new ContextOverflowError('prompt and maxTokens do not fit the context', {
      expected: `at most ${limits.maxContext} tokens`,
      found: `${prompt.length} + ${options.maxTokens}`,
    });
  }
  if (sequencesOf(request) > limits.sequences) {
    const name = options.beams === undefined ? 'n' : 'numBeams';
    throw new OptionError(`${name} is more than the sequences that run at once`, {
      name,
      expected: `at most ${limits.sequences} (maxSequences)`,
      found: sequencesOf(request),
    });
  }
  const { ropeSwitch } = limits;
  if (options.beams !== undefined && ropeSwitch !== undefined && prompt.length + options.maxTokens > ropeSwitch)
    throw new UnsupportedError('beams cannot pass the length at which rope angles change', {
      name: 'numBeams',
      expected: `at most ${ropeSwitch} tokens in all`,
      found: prompt.length + options.maxTokens,
    });
  const read = blocksFor(request.source?.ids.length ?? 0);
  if (read > limits.textBlocks) {
    throw new ContextOverflowError('the text needs more KV blocks than there are', {
      expected: `at most ${limits.textBlocks}`,
      found: read,
      hint: 'Raise kvMemory, or give a shorter text',
    });
  }
  const worst = blocksFor(prompt.length + options.maxTokens) + forkBlocks(request, limits.ropeSwitch);
  if (worst > limits.blocks) {
    throw new ContextOverflowError('the request needs more KV blocks than there are', {
      expected: `at most ${limits.blocks}`,
      found: worst,
      hint: 'Raise kvMemory, or ask for fewer completions or beams',
    });
  }
}

/**
 * How much of the cache a session can use again: at least one id must be taken in, so that there are logits. `limit`:
 * length above which rope angles depend on the length; `signature`: of the changes that the request makes.
 */
export function commonPrefix(
  kept: Retained,
  ids: readonly number[],
  limit: number | undefined,
  signature: string,
): number {
  if ((kept.signature ?? '') !== signature) return 0;
  if (limit !== undefined && Math.max(ids.length, kept.ropeLength) > limit) return 0;
  let n = 0;
  while (n < kept.ids.length && n < ids.length - 1 && kept.ids[n] === ids[n]) n++;
  return n;
}

/** Lets the request's own processor change the logits (vocab) of one draw; throws what it throws. */
export function processLogits(s: Sequence, logits: Float32Array): void {
  const process = s.request.options.logitsProcessor;
  if (process === undefined) return;
  // A copy: a processor may write or detach all of its memory without reaching its neighbours' logits.
  const own = logits.slice();
  const made: unknown = process(own, { ids: Int32Array.from(s.ids), position: s.ids.length });
  if (made instanceof Promise) made.catch(() => undefined); // refused below
  const changed = made === undefined ? own : made;
  if (!(changed instanceof Float32Array) || changed.length !== logits.length) {
    throw new InputError('logitsProcessor returned something else', {
      name: 'logitsProcessor',
      expected: `nothing, or a Float32Array of ${logits.length}`,
      found: changed instanceof Float32Array ? `one of ${changed.length}` : typeof changed,
    });
  }
  // Beams are scored by log-probabilities from before the processor, whose bans do not make the others likelier.
  if (s.beams !== undefined) s.shift = logSum(changed) - logSum(logits);
  logits.set(changed);
}
