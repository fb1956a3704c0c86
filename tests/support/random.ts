/** Random numbers of tests: the same on every machine and run. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** Uniform in [0, 1): mulberry32. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  }

  /** Uniform integer in [least, limit). */
  integer(least: number, limit: number): number {
    return least + Math.floor(this.next() * (limit - least));
  }

  /** n normal numbers (Box and Muller), rounded to float. */
  normal(n: number, scale = 1): Float32Array {
    return Float32Array.from(
      { length: n },
      () => scale * Math.sqrt(-2 * Math.log(1 - this.next())) * Math.cos(2 * Math.PI * this.next()),
    );
  }

  integers(n: number, least: number, limit: number): Int32Array {
    return Int32Array.from({ length: n }, () => this.integer(least, limit));
  }

  /** 0 … n − 1 in random order. */
  permutation(n: number): number[] {
    const out = Array.from({ length: n }, (_, i) => i);
    for (let i = n - 1; i > 0; i--) {
      const j = this.integer(0, i + 1);
      [out[i], out[j]] = [out[j]!, out[i]!];
    }
    return out;
  }
}
