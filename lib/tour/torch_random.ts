/** PyTorch's CPU generator for uniform floats, so that the numbers of books whose code begins with manual_seed come again. */
export class TorchRandom {
  readonly #state = new Uint32Array(624);
  #at = 624;

  /** As torch.manual_seed: MT19937 started by one word (Matsumoto & Nishimura 1998, 2002). */
  constructor(seed: number) {
    this.#state[0] = seed;
    for (let i = 1; i < 624; i++) {
      const last = this.#state[i - 1]! ^ (this.#state[i - 1]! >>> 30);
      this.#state[i] = Math.imul(1812433253, last) + i;
    }
  }

  #word(): number {
    const s = this.#state;
    if (this.#at === 624) {
      for (let i = 0; i < 624; i++) {
        const mixed = (s[i]! & 0x80000000) | (s[(i + 1) % 624]! & 0x7fffffff);
        s[i] = s[(i + 397) % 624]! ^ (mixed >>> 1) ^ (mixed & 1 ? 0x9908b0df : 0);
      }
      this.#at = 0;
    }
    let y = s[this.#at++]!;
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  }

  /** torch.rand(count): 24 random bits each, in [0, 1). */
  rand(count: number): Float32Array {
    return Float32Array.from({ length: count }, () => (this.#word() & 0xffffff) / 2 ** 24);
  }

  /** As nn.Linear, nn.GRUCell and their kin start: uniform in (-1/√fan, 1/√fan). */
  uniform(count: number, fan: number): Float32Array {
    const bound = Math.fround(1 / Math.sqrt(fan));
    return this.rand(count).map((u) => Math.fround(u * Math.fround(2 * bound)) - bound);
  }
}
