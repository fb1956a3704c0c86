/** Stop strings over a stream of text pieces. */

interface State {
  readonly next: Map<number, number>;
  /** State of the longest proper suffix that begins a stop string. */
  fail: number;
  /** Characters of the stop string that this state stands for the beginning of. */
  readonly depth: number;
  /** Index of the longest stop string that ends here, -1: none. */
  stop: number;
}

/** What one piece brings: text that is certain to belong to the output, and the stop string that ended it. */
export interface StopResult {
  readonly emit: string;
  readonly stopped: string | undefined;
}

const isHighSurrogate = (unit: number): boolean => unit >= 0xd800 && unit < 0xdc00;

/**
 * Finds the first place where any stop string is complete, however the text is cut into pieces, and holds back only what
 * may still become one (an Aho-Corasick automaton over UTF-16 units: time linear in the text). The text before the stop
 * string is emitted, the stop string and what follows are not; of several that end at the same place the longest counts.
 * A surrogate pair is never split between two emitted texts.
 */
export class StopMatcher {
  readonly #stops: readonly string[];
  readonly #states: State[] = [{ next: new Map(), fail: 0, depth: 0, stop: -1 }];
  #state = 0;
  #held = '';
  #stopped: string | undefined;

  constructor(stops: readonly string[]) {
    this.#stops = stops.filter((stop) => stop !== '');
    for (const [index, stop] of this.#stops.entries()) this.#insert(stop, index);
    this.#link();
  }

  #insert(stop: string, index: number): void {
    let state = 0;
    for (let i = 0; i < stop.length; i++) {
      const unit = stop.charCodeAt(i);
      let next = this.#states[state]!.next.get(unit);
      if (next === undefined) {
        next = this.#states.push({ next: new Map(), fail: 0, depth: i + 1, stop: -1 }) - 1;
        this.#states[state]!.next.set(unit, next);
      }
      state = next;
    }
    this.#states[state]!.stop = index;
  }

  #link(): void {
    const queue = [...this.#states[0]!.next.values()];
    for (let i = 0; i < queue.length; i++) {
      const state = this.#states[queue[i]!]!;
      if (state.stop < 0) state.stop = this.#states[state.fail]!.stop;
      for (const [unit, child] of state.next) {
        this.#states[child]!.fail = this.#step(state.fail, unit);
        queue.push(child);
      }
    }
  }

  #step(from: number, unit: number): number {
    let state = from;
    for (;;) {
      const next = this.#states[state]!.next.get(unit);
      if (next !== undefined) return next;
      if (state === 0) return 0;
      state = this.#states[state]!.fail;
    }
  }

  /** The stop string that was found, if any. */
  get stopped(): string | undefined {
    return this.#stopped;
  }

  /** Takes the next piece. After a stop, every further piece gives no text. */
  push(piece: string): StopResult {
    if (this.#stopped !== undefined) return { emit: '', stopped: this.#stopped };
    const text = this.#held + piece;
    for (let i = this.#held.length; i < text.length; i++) {
      this.#state = this.#step(this.#state, text.charCodeAt(i));
      const found = this.#states[this.#state]!.stop;
      if (found < 0) continue;
      this.#stopped = this.#stops[found]!;
      this.#held = '';
      return { emit: text.slice(0, i + 1 - this.#stopped.length), stopped: this.#stopped };
    }
    let end = text.length - this.#states[this.#state]!.depth;
    if (end > 0 && isHighSurrogate(text.charCodeAt(end - 1))) end--;
    this.#held = text.slice(end);
    return { emit: text.slice(0, end), stopped: undefined };
  }

  /** The end of the stream: what was held back is output after all. */
  flush(): string {
    const rest = this.#held;
    this.#held = '';
    this.#state = 0;
    return rest;
  }
}
