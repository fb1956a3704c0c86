/** Beam search as Hugging Face defines it (GenerationMixin._beam_search, transformers 5.18): bookkeeping of one prompt, pure. */

export interface BeamOptions {
  readonly beams: number;
  /** Diverse beam search (Vijayakumar et al. 2018): so many groups of equal size, one after another; default 1. */
  readonly groups?: number | undefined;
  /** What an id loses for each time that a group before chose it in the same step. */
  readonly diversityPenalty?: number | undefined;
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
  /** Log-probabilities of the ids after the prompt, as the candidates had them. */
  readonly logProbs: readonly number[];
}

/** The most likely ids after one beam, best first, the lower id first among equals; log-probabilities as processors leave them. */
export interface BeamCandidates {
  readonly ids: ArrayLike<number>;
  readonly logProbs: ArrayLike<number>;
  /** What they have in common and only scores are to count; default 0. */
  readonly shift?: number | undefined;
}

/** How many candidates of each beam a step needs. */
export function candidatesWanted(options: BeamOptions): number {
  const { beams, groups = 1, eosIds } = options;
  // Of those that a penalty lowers there are at most as many as beams in the groups before.
  return (Math.max(2, 1 + eosIds.length) * beams) / groups + beams - beams / groups;
}

/** An id after a running beam; ids are put together only for those that stay. */
interface Candidate {
  readonly parent: number;
  readonly id: number;
  readonly score: number;
  readonly logProb: number;
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

/** The beams of one group. */
class Group {
  readonly #options: BeamOptions;
  readonly #beams: number;
  #running: readonly Beam[];
  #finished: readonly Finished[] = [];
  #improvable = true;
  #over = false;

  constructor(prompt: readonly number[], options: BeamOptions) {
    this.#options = options;
    this.#beams = options.beams / (options.groups ?? 1);
    this.#running = [{ ids: [...prompt], score: 0, logProbs: [] }];
  }

  get running(): readonly Beam[] {
    return this.#over ? [] : this.#running;
  }

  get finished(): readonly Beam[] {
    return this.#finished;
  }

  /** Gives for each beam that runs next the index of the one that it goes on from. */
  step(given: readonly BeamCandidates[]): readonly number[] {
    const { eosIds, maxLength } = this.#options;
    const length = this.#running[0]!.ids.length + 1;
    const keep = Math.max(2, 1 + eosIds.length) * this.#beams;
    const candidates = this.#candidates(given, keep, length >= maxLength);
    const next = best(
      candidates.map((c) => (c.ends ? { ...c, score: c.score + none } : c)),
      this.#beams,
    );
    this.#finish(candidates, length);
    this.#running = this.#inherit(next);
    this.#improvable = this.#improvable && this.#canImprove(length);
    const full = this.#options.earlyStopping === true && this.#full;
    this.#over = !this.#improvable || full || candidates.every((c) => c.ends);
    return next.map((c) => c.parent);
  }

  get #full(): boolean {
    return this.#finished.length === this.#beams && this.#finished.every((f) => f.done);
  }

  #candidates(given: readonly BeamCandidates[], keep: number, last: boolean): Candidate[] {
    const places: { parent: number; id: number; score: number; logProb: number }[] = [];
    // At first there is one beam; the others are as if they were the same, far worse.
    const first = this.#running.length === 1;
    for (let i = 0; i < (first ? this.#beams : this.#running.length); i++) {
      const parent = first ? 0 : i;
      const { ids, logProbs, shift = 0 } = given[parent]!;
      const before = first && i > 0 ? none : this.#running[parent]!.score;
      for (let c = 0; c < ids.length; c++) {
        const score = before + logProbs[c]! + shift;
        if (places.length === keep && !(score > places[keep - 1]!.score)) continue;
        let at = places.length;
        while (at > 0 && score > places[at - 1]!.score) at--;
        places.splice(at, 0, { parent, id: ids[c]!, score, logProb: logProbs[c]! });
        if (places.length > keep) places.pop();
      }
    }
    return places.map((place) => ({ ...place, ends: last || this.#options.eosIds.includes(place.id) }));
  }

  #after({ parent, id, logProb }: Candidate): Pick<Beam, 'ids' | 'logProbs'> {
    const { ids, logProbs } = this.#running[parent]!;
    return { ids: (ids as number[]).concat(id), logProbs: (logProbs as number[]).concat(logProb) };
  }

  /** The last heir of a beam takes its lists and makes them longer, those before it have copied them. */
  #inherit(next: readonly Candidate[]): Beam[] {
    const last = new Map(next.map(({ parent }, i) => [parent, i]));
    return next.map((c, i) => {
      if (last.get(c.parent) !== i) return { ...this.#after(c), score: c.score };
      const { ids, logProbs } = this.#running[c.parent]!;
      (ids as number[]).push(c.id);
      (logProbs as number[]).push(c.logProb);
      return { ids, logProbs, score: c.score };
    });
  }

  /** Candidates among the best `beams` that ended join the finished, of which the best stay. */
  #finish(candidates: readonly Candidate[], length: number): void {
    const { lengthPenalty, earlyStopping, promptLength } = this.#options;
    const beams = this.#beams;
    if (!this.#improvable || (earlyStopping === true && this.#full)) return;
    const ended = candidates
      .slice(0, beams)
      .filter((c) => c.ends)
      .map(
        (c): Finished => ({
          ...this.#after(c),
          score: c.score / (length - promptLength) ** lengthPenalty,
          done: true,
        }),
      );
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

/** Ids lose `penalty` for each of `chosen` that they equal (transformers 4's HammingDiversityLogitsProcessor); best first again. */
function diversified(given: BeamCandidates, chosen: readonly number[], penalty: number): BeamCandidates {
  if (chosen.length === 0 || penalty === 0) return given;
  const times = new Map<number, number>();
  for (const id of chosen) times.set(id, (times.get(id) ?? 0) + 1);
  const list = Array.from(given.ids, (id, i) => ({ id, score: given.logProbs[i]! - penalty * (times.get(id) ?? 0) }));
  list.sort((a, b) => b.score - a.score || a.id - b.id);
  return { ids: list.map((c) => c.id), logProbs: list.map((c) => c.score), shift: given.shift };
}

/** Beams of one prompt, in one group or several. */
export class BeamSearch {
  readonly #options: BeamOptions;
  readonly #groups: readonly Group[];
  #begun = false;

  constructor(prompt: readonly number[], options: BeamOptions) {
    this.#options = options;
    this.#groups = Array.from({ length: options.groups ?? 1 }, () => new Group(prompt, options));
  }

  /** Beams that want candidates next: the prompt at first, then as many as asked for; none when the search is over. `step` makes their lists longer. */
  get running(): readonly Beam[] {
    return this.#begun ? this.#groups.flatMap((g) => g.running) : this.#groups[0]!.running;
  }

  /** Finished sequences, best first; their scores are sums of log-probabilities over the length penalty. */
  get finished(): readonly Beam[] {
    const all = this.#groups.flatMap((g) => g.finished);
    return best(all, all.length);
  }

  /**
   * Takes `candidatesWanted` candidates of each running beam (fewer where the vocabulary is smaller). Gives for each beam
   * that runs next the index of the one that it goes on from.
   */
  step(given: readonly BeamCandidates[]): readonly number[] {
    const parents: number[] = [];
    const chosen: number[] = [];
    let from = 0;
    for (const group of this.#groups) {
      const count = group.running.length;
      if (count === 0) continue;
      const first = from;
      const own = given.slice(first, first + count);
      const next = group.step(own.map((c) => diversified(c, chosen, this.#options.diversityPenalty ?? 0)));
      if (group.running.length > 0) parents.push(...next.map((p) => p + first));
      for (const beam of group.running) chosen.push(beam.ids.at(-1)!);
      if (this.#begun) from += count;
    }
    this.#begun = true;
    return parents;
  }
}
