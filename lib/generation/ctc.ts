/**
 * Connectionist temporal classification (Graves et al. 2006): from the probabilities of each frame (frames, vocab) to the
 * tokens that were said. An alignment gives each frame a token or the blank; repeats become one, then blanks go.
 */

/** A token and the frames that it was heard in: begin … end − 1. */
export interface CtcToken {
  readonly id: number;
  readonly begin: number;
  readonly end: number;
  /** Mean over its frames of its probability. */
  readonly probability: number;
}

/** The tokens of the likeliest alignment, which takes the likeliest token of each frame (the lower id among equals). */
export class CtcGreedy {
  readonly #vocab: number;
  readonly #blank: number;
  readonly #tokens: CtcToken[] = [];
  #frames = 0;
  #last = -1;
  #begin = 0;
  #sum = 0;

  constructor(vocab: number, blank: number) {
    this.#vocab = vocab;
    this.#blank = blank;
  }

  /** Takes in (frames, vocab). */
  push(probabilities: Float32Array): void {
    const vocab = this.#vocab;
    for (let row = 0; row < probabilities.length; row += vocab, this.#frames++) {
      let best = 0;
      for (let v = 1; v < vocab; v++) if (probabilities[row + v]! > probabilities[row + best]!) best = v;
      if (best !== this.#last) {
        this.#close();
        this.#last = best;
        this.#begin = this.#frames;
        this.#sum = 0;
      }
      this.#sum += probabilities[row + best]!;
    }
  }

  /** The tokens; no frames may follow. */
  tokens(): readonly CtcToken[] {
    this.#close();
    this.#last = -1;
    return this.#tokens;
  }

  #close(): void {
    if (this.#last < 0 || this.#last === this.#blank) return;
    const [begin, end] = [this.#begin, this.#frames];
    this.#tokens.push({ id: this.#last, begin, end, probability: this.#sum / (end - begin) });
  }
}

/** log(eᵃ + eᵇ). */
function logAdd(a: number, b: number): number {
  if (a === Number.NEGATIVE_INFINITY) return b;
  if (b === Number.NEGATIVE_INFINITY) return a;
  return a > b ? a + Math.log1p(Math.exp(b - a)) : b + Math.log1p(Math.exp(a - b));
}

/** The frames of a token in the best alignment, and of those before it. */
interface Heard {
  readonly before: Heard | undefined;
  readonly id: number;
  readonly begin: number;
  readonly end: number;
  readonly sum: number;
}

/** A text so far as a node of the tree of all texts. */
class Prefix {
  readonly parent: Prefix | undefined;
  readonly id: number;
  /** Log-probability of all alignments that end in the blank, and in the last token. */
  blank: number = Number.NEGATIVE_INFINITY;
  token: number = Number.NEGATIVE_INFINITY;
  /** The best one of each kind, and its frames. */
  bestBlank: number = Number.NEGATIVE_INFINITY;
  bestToken: number = Number.NEGATIVE_INFINITY;
  heardBlank: Heard | undefined;
  heardToken: Heard | undefined;
  #children: Map<number, Prefix> | undefined;

  constructor(parent: Prefix | undefined, id: number) {
    this.parent = parent;
    this.id = id;
  }

  get total(): number {
    return logAdd(this.blank, this.token);
  }

  /** The text with one more token, where the tree has it. */
  known(id: number): Prefix | undefined {
    return this.#children?.get(id);
  }

  add(id: number): Prefix {
    const made = new Prefix(this, id);
    this.#children ??= new Map();
    this.#children.set(id, made);
    return made;
  }

  get leaf(): boolean {
    return this.#children === undefined || this.#children.size === 0;
  }

  forget(id: number): void {
    this.#children?.delete(id);
  }
}

/** What a prefix becomes in the frame at hand. */
interface Next {
  blank: number;
  token: number;
  bestBlank: number;
  bestToken: number;
  heardBlank: Heard | undefined;
  heardToken: Heard | undefined;
}

/** A text that is not in the tree: `parent` and one more token. */
interface Fresh {
  readonly parent: Prefix;
  readonly token: number;
  readonly bestToken: number;
  readonly heardToken: Heard;
}

export interface CtcBeamOptions {
  readonly vocab: number;
  readonly blank: number;
  /** Texts that are kept after each frame. */
  readonly beams: number;
  /** Tokens of a frame that are tried, the likeliest ones; default: all. */
  readonly candidates?: number;
}

/** A text with the probability of all its alignments that the beams have seen. */
export interface CtcText {
  readonly tokens: readonly CtcToken[];
  readonly logProbability: number;
}

/**
 * Prefix beam search (Graves & Jaitly 2014; Hannun et al. 2014): texts by the sum over their alignments, where greedy
 * decoding takes the best alignment alone. Frames come in pieces of any size. With as many beams as there are texts it is
 * exact. Times are those of the best alignment that the beams have seen.
 */
export class CtcBeamSearch {
  readonly #options: CtcBeamOptions;
  #beams: Prefix[];
  #frames = 0;

  constructor(options: CtcBeamOptions) {
    this.#options = options;
    const empty = new Prefix(undefined, -1);
    empty.blank = 0;
    empty.bestBlank = 0;
    this.#beams = [empty];
  }

  /** Takes in (frames, vocab). */
  push(probabilities: Float32Array): void {
    const { vocab } = this.#options;
    for (let t = 0; t < probabilities.length; t += vocab) this.#frame(probabilities.subarray(t, t + vocab));
  }

  /** The texts so far, likeliest first. */
  texts(): CtcText[] {
    return this.#beams.map((beam) => {
      const tokens: CtcToken[] = [];
      let heard = beam.bestBlank > beam.bestToken ? beam.heardBlank : beam.heardToken;
      for (; heard !== undefined; heard = heard.before) {
        const { id, begin, end, sum } = heard;
        tokens.push({ id, begin, end, probability: sum / (end - begin) });
      }
      return { tokens: tokens.reverse(), logProbability: beam.total };
    });
  }

  #frame(row: Float32Array): void {
    const next = new Map<Prefix, Next>();
    const fresh: Fresh[] = [];
    const ids = this.#candidates(row);
    const logs = ids.map((id) => Math.log(row[id]!));
    const stays = Math.log(row[this.#options.blank]!);
    for (const beam of this.#beams) {
      const [total, best] = [beam.total, Math.max(beam.bestBlank, beam.bestToken)];
      const heard = beam.bestBlank > beam.bestToken ? beam.heardBlank : beam.heardToken;
      this.#blank(stateOf(next, beam), total + stays, best + stays, heard);
      if (beam.heardToken !== undefined) this.#repeat(stateOf(next, beam), beam, row[beam.id]!);
      for (const [i, id] of ids.entries()) {
        // The same token again is another one only after a blank.
        const again = id === beam.id;
        const token = (again ? beam.blank : total) + logs[i]!;
        if (token === Number.NEGATIVE_INFINITY) continue;
        const bestToken = (again ? beam.bestBlank : best) + logs[i]!;
        const before = again ? beam.heardBlank : heard;
        const heardToken = { before, id, begin: this.#frames, end: this.#frames + 1, sum: row[id]! };
        const known = beam.known(id);
        if (known === undefined) fresh.push({ parent: beam, token, bestToken, heardToken });
        else this.#token(stateOf(next, known), token, bestToken, heardToken);
      }
    }
    this.#keep(next, fresh);
    this.#frames++;
  }

  #blank(to: Next, all: number, best: number, heard: Heard | undefined): void {
    to.blank = logAdd(to.blank, all);
    if (!(best > to.bestBlank)) return;
    to.bestBlank = best;
    to.heardBlank = heard;
  }

  #token(to: Next, all: number, best: number, heard: Heard): void {
    to.token = logAdd(to.token, all);
    if (!(best > to.bestToken)) return;
    to.bestToken = best;
    to.heardToken = heard;
  }

  /** The last token goes on for a frame. */
  #repeat(to: Next, beam: Prefix, p: number): void {
    const log = Math.log(p);
    const heard = { ...beam.heardToken!, end: this.#frames + 1, sum: beam.heardToken!.sum + p };
    this.#token(to, beam.token + log, beam.bestToken + log, heard);
  }

  /** Ids that are tried, but for the blank. */
  #candidates(row: Float32Array): number[] {
    const { blank, candidates = row.length } = this.#options;
    const best: number[] = [];
    for (let id = 0; id < row.length; id++) {
      if (id === blank || !(row[id]! > 0)) continue;
      if (best.length === candidates && !(row[id]! > row[best.at(-1)!]!)) continue;
      let at = best.length;
      if (candidates < row.length) while (at > 0 && row[id]! > row[best[at - 1]!]!) at--;
      best.splice(at, 0, id);
      if (best.length > candidates) best.pop();
    }
    return best;
  }

  #keep(next: ReadonlyMap<Prefix, Next>, fresh: readonly Fresh[]): void {
    const known = [...next].map(([prefix, state]) => ({ prefix, state, score: logAdd(state.blank, state.token) }));
    const made = fresh.map((one) => ({ one, score: one.token }));
    const best = [...known, ...made].sort((a, b) => b.score - a.score).slice(0, this.#options.beams);
    this.#beams = best
      .filter((b) => b.score > Number.NEGATIVE_INFINITY)
      .map((b) => {
        if ('prefix' in b) return Object.assign(b.prefix, b.state);
        const { parent, token, bestToken, heardToken } = b.one;
        return Object.assign(parent.add(heardToken.id), { token, bestToken, heardToken });
      });
    const kept = new Set(this.#beams);
    for (const { prefix } of known) {
      // A node that no kept text goes through is dropped from the tree.
      let node: Prefix | undefined = prefix;
      while (node?.parent !== undefined && node.leaf && !kept.has(node)) {
        node.parent.forget(node.id);
        node = node.parent;
      }
    }
  }
}

function nothing(): Next {
  return {
    blank: Number.NEGATIVE_INFINITY,
    token: Number.NEGATIVE_INFINITY,
    bestBlank: Number.NEGATIVE_INFINITY,
    bestToken: Number.NEGATIVE_INFINITY,
    heardBlank: undefined,
    heardToken: undefined,
  };
}

function stateOf(next: Map<Prefix, Next>, prefix: Prefix): Next {
  let state = next.get(prefix);
  if (state === undefined) {
    state = nothing();
    next.set(prefix, state);
  }
  return state;
}
