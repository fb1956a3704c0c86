import { NumericError, OptionError } from '../errors.js';
import {
  type Beam,
  type BeamCandidates,
  type BeamOptions,
  BeamSearch,
  candidatesWanted,
} from '../generation/beam_search.js';
import { pageTokens } from '../layers/decoder.js';
import type { StepResult } from '../runtime/native.js';
import { type BlockCopy, type BlockTable, blocksFor, type KvBlocks } from './kv_blocks.js';
import { type GenerationRequest, Sequence } from './sequence.js';

/** KV blocks that the beams of a request hold at most: what the prompt fills is shared, the rest is each beam's own. */
export function beamBlocks(prompt: number, maxTokens: number, beams: number): number {
  const shared = Math.floor(prompt / pageTokens);
  return shared + beams * (blocksFor(prompt + maxTokens) - shared);
}

/** The search of a request: prompt and limits as Hugging Face counts them, where forced first ids are generated ones. */
function searchOptions(request: GenerationRequest): BeamOptions {
  const { beams, stopIds: eosIds, maxTokens } = request.options;
  const length = request.prompt.length;
  const promptLength = length + (request.lead ?? 0) - (request.forcedIds ?? 0);
  return { ...beams!, eosIds, promptLength, maxLength: length + maxTokens };
}

/** The candidates of draw `at` of a step of `samples` draws. */
function candidatesOf(result: StepResult, at: number, samples: number, wanted: number, shift: number): BeamCandidates {
  const { top_ids: topIds, top_logprobs: topLogprobs } = result.outputs;
  const top = topIds!.length / samples;
  let count = 0;
  while (count < Math.min(wanted, top) && topIds![at * top + count]! >= 0) count++;
  const of = <T extends { subarray(a: number, b: number): T }>(all: T): T => all.subarray(at * top, at * top + count);
  return { ids: of(topIds as Int32Array), logProbs: of(topLogprobs as Float32Array), shift };
}

/**
 * The beams of one request: a sequence each, which share KV blocks until they write. Their blocks are promised to the
 * request as a whole, as which beam lives on is not known before.
 */
export class BeamJob {
  readonly request: GenerationRequest;
  readonly #blocks: KvBlocks;
  readonly #options: BeamOptions;
  /** Undefined while ids are drawn that come before all beams. */
  #search: BeamSearch | undefined;
  readonly #lead: number[] = [];
  /** How many of the most likely ids each beam's row wants. */
  readonly wanted: number;
  readonly #most: number;
  #running: Sequence[];
  #promised: number;
  #closed = false;

  /** `first` has taken nothing in yet; `promised`: blocks that the pool keeps for this request beside its table's. */
  constructor(request: GenerationRequest, first: Sequence, blocks: KvBlocks, promised: number) {
    const options = searchOptions(request);
    this.request = request;
    this.#blocks = blocks;
    this.#options = options;
    if ((request.lead ?? 0) === 0) this.#search = new BeamSearch(Array.from(request.prompt), options);
    this.wanted = candidatesWanted(options);
    this.#most = beamBlocks(request.prompt.length, request.options.maxTokens, options.beams);
    this.#running = [first];
    this.#promised = promised;
  }

  /** Makes positions up to `to` of a beam writable. */
  write(s: Sequence, to: number): BlockCopy[] {
    if (!s.decoding) return s.table.write(s.cached, to);
    return this.#within(() => s.table.write(s.cached, to));
  }

  /** Goes on with what the step gave its beams, from draw `sample` on: the beams that run next, or the best when it is over. Throws NumericError. */
  advance(result: StepResult, sample: number, samples: number): { running: Sequence[]; finished?: readonly Beam[] } {
    if (this.#running.some((_, i) => (result.outputs.ids as Int32Array)[sample + i]! < 0)) {
      const found = `after ${this.#running[0]!.ids.length} tokens`;
      throw new NumericError('the logits of a beam hold a NaN, or no token is allowed', { found });
    }
    const given = this.#running.map((s, i) => candidatesOf(result, sample + i, samples, this.wanted, s.shift));
    if (this.#search === undefined) {
      this.#follow(given[0]!);
      return { running: [] };
    }
    const parents = this.#search.step(this.#forced(given));
    const before = this.#running;
    for (const s of before) s.done = true;
    if (parents.length === 0) return { running: [], finished: this.#finished(this.#search) };
    const beams = this.#search.running;
    this.#within(() => {
      const tables = this.#inherit(
        before.map((s) => s.table),
        parents,
      );
      this.#running = parents.map((parent, i) => {
        const next = new Sequence(this.request, i, tables[i]!, beams[i]!.ids as number[], before[parent]!.cached);
        return Object.assign(next, {
          text: before[parent]!.text,
          prefillLength: before[parent]!.prefillLength,
          beams: this,
        });
      });
      return [];
    });
    return { running: this.#running };
  }

  /** One more id before the beams part. */
  #follow({ ids, logProbs }: BeamCandidates): void {
    const [first] = this.#running;
    first!.ids.push(ids[0]!);
    this.#lead.push(logProbs[0]!);
    if (this.#lead.length === this.request.lead) this.#search = new BeamSearch([...first!.ids], this.#options);
  }

  #finished(search: BeamSearch): Beam[] {
    return search.finished.map((beam) => ({ ...beam, logProbs: [...this.#lead, ...beam.logProbs] }));
  }

  /** Gives all blocks back; false if that was done before. */
  close(): boolean {
    if (this.#closed) return false;
    this.#closed = true;
    this.#blocks.unpromise(this.#promised);
    for (const s of this.#running) {
      s.done = true;
      s.table.close();
    }
    return true;
  }

  /** The last place of a text of the greatest length may be forced. */
  #forced(given: readonly BeamCandidates[]): readonly BeamCandidates[] {
    const { forcedEos } = this.request;
    const length = this.#running[0]!.ids.length;
    if (forcedEos === undefined || length + 1 < this.request.prompt.length + this.request.options.maxTokens)
      return given;
    return given.map(() => ({ ids: [forcedEos], logProbs: [0] }));
  }

  /** The first heir of a beam takes its table, further ones share its blocks; a table without heirs is closed first. */
  #inherit(tables: readonly BlockTable[], parents: readonly number[]): BlockTable[] {
    for (const [i, table] of tables.entries()) if (!parents.includes(i)) table.close();
    return parents.map((parent, i) =>
      parents.indexOf(parent) === i ? tables[parent]! : tables[parent]!.fork(0, Number.POSITIVE_INFINITY)!,
    );
  }

  /** Runs what takes or drops blocks with the request's promise open, then promises again what it does not hold. */
  #within(act: () => BlockCopy[]): BlockCopy[] {
    this.#blocks.unpromise(this.#promised);
    this.#promised = 0;
    for (const s of this.#running) s.table.release();
    const copies = act();
    const held = new Set(this.#running.flatMap((s) => s.table.blocks)).size;
    this.#promised = this.#most - held;
    if (!this.#blocks.promise(this.#promised)) throw new Error('KV blocks: the room for beams was promised');
    return copies;
  }
}

/** Hands the best beams to a request's sink. */
export function tellBeams({ prompt, options, sink }: GenerationRequest, finished: readonly Beam[]): void {
  if (finished.length < options.n)
    throw new OptionError('beam search found fewer sequences than n', {
      name: 'n',
      expected: finished.length,
      found: options.n,
    });
  for (const [index, { ids, score, logProbs }] of finished.slice(0, options.n).entries()) {
    const stops = (id: number): boolean => options.stopIds.includes(id);
    for (const [i, id] of ids.slice(prompt.length).entries())
      sink.token(index, { id, logprob: logProbs[i]!, top: [], stop: stops(id) });
    sink.finish(index, stops(ids.at(-1)!) ? 'stop' : 'length', score);
  }
}
