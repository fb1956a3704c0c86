/** Beam search as Hugging Face defines it (GenerationMixin._beam_search, transformers 5.18): bookkeeping of one prompt, pure. */

export interface BeamOptions {
  readonly beams: number;
  /** Ids of the (decoder's) prompt. */
  readonly promptLength: number;
  /** Prompt and new ids together, at most. */
  readonly maxLength: number;
  readonly eosIds: readonly number[];
  /** Scores are divided by (new ids) ^ lengthPenalty. */
  readonly lengthPenalty: number;
  /** true: as soon as there are `beams` finished; false: when the running can hardly become better; 'never': when they cannot. */
  readonly earlyStopping: boolean | 'never';
}

export interface Beam {
  readonly ids: readonly number[];
  readonly score: number;
}

interface Candidate extends Beam {
  readonly parent: number;
  readonly ends: boolean;
}

interface Finished extends Beam {
  readonly done: boolean;
}

const none = -1e9;

/** The k best, the earlier first among equals. */
function best<T extends { readonly score: number }>(list: readonly T[], k: number): T[] {
  return list
    .map((item, i) => ({ item, i }))
    .sort((a, b) => b.item.score - a.item.score || a.i - b.i)
    .slice(0, k)
    .map(({ item }) => item);
}

export class BeamSearch {
  readonly #options: BeamOptions;
  #running: readonly Beam[];
  #finished: readonly Finished[] = [];
  #improvable = true;
  #over = false;

  constructor(prompt: readonly number[], options: BeamOptions) {
    this.#options = options;
    this.#running = [{ ids: prompt, score: 0 }];
  }

  /** Beams that want log-probabilities next: one at first, then as many as asked for; none when the search is over. */
  get running(): readonly Beam[] {
    return this.#over ? [] : this.#running;
  }

  /** Finished sequences, best first; their scores are sums of log-probabilities over the length penalty. */
  get finished(): readonly Beam[] {
    return this.#finished;
  }

  /**
   * Takes log-probabilities (vocab) of each running beam, as processors leave them. Gives for each beam that runs next the
   * index of the one that it goes on from.
   */
  step(logProbs: readonly Float64Array[]): readonly number[] {
    const { beams, eosIds, maxLength } = this.#options;
    const length = this.#running[0]!.ids.length + 1;
    const keep = Math.max(2, 1 + eosIds.length) * beams;
    const candidates = this.#candidates(logProbs, keep, length >= maxLength);
    const next = best(
      candidates.map((c) => (c.ends ? { ...c, score: c.score + none } : c)),
      beams,
    );
    this.#finish(candidates, length);
    this.#running = next;
    this.#improvable = this.#improvable && this.#canImprove(length);
    const full = this.#options.earlyStopping === true && this.#full;
    this.#over = !this.#improvable || full || candidates.every((c) => c.ends);
    return next.map((c) => c.parent);
  }

  get #full(): boolean {
    return this.#finished.length === this.#options.beams && this.#finished.every((f) => f.done);
  }

  #candidates(logProbs: readonly Float64Array[], keep: number, last: boolean): Candidate[] {
    const places: { parent: number; id: number; score: number }[] = [];
    // At first there is one beam; the others are as if they were the same, far worse.
    const first = this.#running.length === 1;
    const beams = Array.from({ length: first ? this.#options.beams : this.#running.length }, (_, i) => i);
    for (const i of beams) {
      const parent = first ? 0 : i;
      const values = logProbs[parent]!;
      const before = first && i > 0 ? none : this.#running[parent]!.score;
      for (let id = 0; id < values.length; id++) {
        const score = before + values[id]!;
        if (places.length === keep && !(score > places[keep - 1]!.score)) continue;
        let at = places.length;
        while (at > 0 && score > places[at - 1]!.score) at--;
        places.splice(at, 0, { parent, id, score });
        if (places.length > keep) places.pop();
      }
    }
    return places.map(({ parent, id, score }) => ({
      ...{ parent, score, ids: [...this.#running[parent]!.ids, id] },
      ends: last || this.#options.eosIds.includes(id),
    }));
  }

  /** Candidates among the best `beams` that ended join the finished, of which the best stay. */
  #finish(candidates: readonly Candidate[], length: number): void {
    const { beams, lengthPenalty, earlyStopping, promptLength } = this.#options;
    if (!this.#improvable || (earlyStopping === true && this.#full)) return;
    const ended = candidates
      .slice(0, beams)
      .filter((c) => c.ends)
      .map((c): Finished => ({ ids: c.ids, score: c.score / (length - promptLength) ** lengthPenalty, done: true }));
    this.#finished = best([...this.#finished, ...ended], beams);
  }

  /** Whether the best running beam may still beat the worst finished one. */
  #canImprove(length: number): boolean {
    if (!this.#full) return true;
    const { earlyStopping, lengthPenalty, maxLength, promptLength } = this.#options;
    const longest = earlyStopping === 'never' && lengthPenalty > 0 ? maxLength : length;
    const possible = this.#running[0]!.score / (longest - promptLength) ** lengthPenalty;
    return possible > this.#finished.at(-1)!.score;
  }
}
