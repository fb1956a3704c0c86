import { pageTokens } from '../layers/decoder.js';

/** A copy that the next step makes before anything else. */
export interface BlockCopy {
  readonly source: number;
  readonly target: number;
}

export const blocksFor = (tokens: number): number => Math.ceil(tokens / pageTokens);

/**
 * The KV blocks of a model: reference counts, a free list, and reservations, so that an admitted sequence never runs out.
 * Pure bookkeeping. All cache groups of a model use the same block numbers.
 */
export class KvBlocks {
  readonly capacity: number;
  readonly #free: number[];
  readonly #owners: Uint32Array;
  #reserved = 0;

  constructor(capacity: number) {
    this.capacity = capacity;
    this.#free = Array.from({ length: capacity }, (_, i) => capacity - 1 - i);
    this.#owners = new Uint32Array(capacity);
  }

  /** Blocks that are neither in use nor promised. */
  get available(): number {
    return this.#free.length - this.#reserved;
  }

  get used(): number {
    return this.capacity - this.#free.length;
  }

  /** An empty table that may grow to `tokens`; undefined while that many blocks are not available. */
  open(tokens: number): BlockTable | undefined {
    const table = new BlockTable(this);
    return table.reserve(tokens) ? table : undefined;
  }

  /** Promises blocks to a caller, who hands them back with `unpromise`; false where they are not available. */
  promise(count: number): boolean {
    if (count > this.available) return false;
    this.#reserved += count;
    return true;
  }

  unpromise(count: number): void {
    this.#reserved -= count;
  }

  /** @internal Takes a promised block. */
  take(): number {
    this.#reserved--;
    const block = this.#free.pop()!;
    this.#owners[block] = 1;
    return block;
  }

  /** @internal */
  share(block: number): void {
    this.#owners[block]!++;
  }

  /** @internal */
  drop(block: number): void {
    if (--this.#owners[block]! === 0) this.#free.push(block);
  }

  /** How many tables hold a block. */
  owners(block: number): number {
    return this.#owners[block]!;
  }
}

/** The blocks of one sequence, in order of position. */
export class BlockTable {
  readonly blocks: number[] = [];
  readonly #pool: KvBlocks;
  #promised = 0;
  #closed = false;

  constructor(pool: KvBlocks) {
    this.#pool = pool;
  }

  /** Promises room for `tokens` positions in all, and for copies of shared blocks that hold positions from `from` on. */
  reserve(tokens: number, from = 0): boolean {
    const shared = this.blocks.slice(Math.floor(from / pageTokens)).filter((b) => this.#pool.owners(b) > 1).length;
    const wanted = Math.max(0, blocksFor(tokens) - this.blocks.length) + shared - this.#promised;
    if (wanted <= 0) return true;
    if (!this.#pool.promise(wanted)) return false;
    this.#promised += wanted;
    return true;
  }

  /**
   * Makes positions from … to − 1 writable: takes new blocks, and replaces shared ones. Returns the copies that keep what
   * such a block holds before `from`.
   */
  write(from: number, to: number): BlockCopy[] {
    const copies: BlockCopy[] = [];
    if (to <= from) return copies;
    for (let i = Math.floor(from / pageTokens); i < blocksFor(to); i++) {
      const old = this.blocks[i];
      if (old !== undefined && this.#pool.owners(old) === 1) continue;
      const fresh = this.#take();
      this.blocks[i] = fresh;
      if (old === undefined) continue;
      if (i * pageTokens < from) copies.push({ source: old, target: fresh });
      this.#pool.drop(old);
    }
    return copies;
  }

  /**
   * A second table over the same blocks, with room for `tokens` of its own; undefined where that room is not there. Both
   * may then write positions from `from` on: what they share there is copied when the first of them does.
   */
  fork(tokens: number, from = 0): BlockTable | undefined {
    const copy = new BlockTable(this.#pool);
    for (const block of this.blocks) {
      this.#pool.share(block);
      copy.blocks.push(block);
    }
    if (copy.reserve(tokens, from) && this.reserve(tokens, from)) return copy;
    copy.close();
    return undefined;
  }

  /** Gives back all promises: writes then take blocks that are available. */
  release(): void {
    this.#pool.unpromise(this.#promised);
    this.#promised = 0;
  }

  /** Gives back what lies at and after position `tokens`, and all promises. */
  truncate(tokens: number): void {
    for (const block of this.blocks.splice(blocksFor(tokens))) this.#pool.drop(block);
    this.release();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.truncate(0);
  }

  #take(): number {
    if (this.#promised === 0 && !this.#pool.promise(1)) throw new Error('KV blocks: a write beyond the reservation');
    if (this.#promised > 0) this.#promised--;
    return this.#pool.take();
  }
}
