import { AbortError, DisposedError } from '../errors.js';
import { type BlockTable, blocksFor, type KvBlocks } from './kv_blocks.js';
import type { Retained } from './sequence.js';

/**
 * Who holds KV blocks besides running requests: callers with steps of their own, who wait until there is room, and idle
 * sessions, whose blocks are taken back when somebody needs them.
 */
export class KvPool {
  readonly blocks: KvBlocks;
  readonly #freed: () => void;
  /** The longest unused first. */
  readonly #retained = new Set<Retained>();
  #waiters = new Set<() => void>();
  #closed = false;

  /** `freed` is called whenever blocks may have become available. */
  constructor(blocks: KvBlocks, freed: () => void) {
    this.blocks = blocks;
    this.#freed = freed;
  }

  /** Blocks that are available once idle sessions have given up theirs. */
  get obtainable(): number {
    let count = this.blocks.available;
    for (const r of this.#retained) if (!r.busy) count += r.table?.blocks.length ?? 0;
    return count;
  }

  /** Reserves room in a table (see BlockTable.reserve) and promises `extra` blocks, taking them from idle sessions if need be. */
  claim(table: BlockTable, tokens: number, from = 0, extra = 0): boolean {
    do {
      if (table.reserve(tokens, from) && this.blocks.promise(extra)) return true;
    } while (this.#evictIdle());
    return false;
  }

  /** A new table with room for `tokens`, and `extra` promised blocks; undefined where they cannot be had. */
  open(tokens: number, extra = 0): BlockTable | undefined {
    if (blocksFor(tokens) + extra > this.obtainable) return undefined;
    const table = this.blocks.open(0)!;
    if (this.claim(table, tokens, 0, extra)) return table;
    table.close();
    return undefined;
  }

  /** A table for a caller's own steps; waits until there is room. Release it afterwards. */
  async lease(tokens: number, signal?: AbortSignal): Promise<BlockTable> {
    for (;;) {
      if (this.#closed) throw new DisposedError('the model was disposed');
      if (signal?.aborted === true) throw new AbortError(undefined, { cause: signal.reason });
      const table = this.open(tokens);
      if (table !== undefined) return table;
      await this.wait(signal);
    }
  }

  /** Until blocks, or those of texts, may have become available. */
  async wait(signal?: AbortSignal): Promise<void> {
    if (this.#closed) throw new DisposedError('the model was disposed');
    if (signal?.aborted === true) throw new AbortError(undefined, { cause: signal.reason });
    await this.#wait(signal);
  }

  /** Gives a leased table back. */
  release(table: BlockTable): void {
    table.close();
    this.notify();
  }

  retain(retained: Retained): void {
    this.#retained.add(retained);
  }

  forget(retained: Retained): void {
    this.#retained.delete(retained);
    if (!retained.busy) retained.table?.close();
    retained.table = undefined;
    this.notify();
  }

  /** Keeps what a finished request leaves, as the most recently used; false where its session is gone. */
  keep(retained: Retained, table: BlockTable, ids: number[], ropeLength: number): boolean {
    if (retained.table !== table || !this.#retained.delete(retained)) return false;
    this.#retained.add(retained);
    table.truncate(ids.length);
    Object.assign(retained, { ids, ropeLength, busy: false });
    return true;
  }

  /** Wakes all who wait for blocks. */
  notify(): void {
    const waiters = this.#waiters;
    this.#waiters = new Set();
    for (const resolve of waiters) resolve();
    this.#freed();
  }

  /** Frees what sessions keep and turns all waiters away. */
  close(): void {
    this.#closed = true;
    for (const r of [...this.#retained]) this.forget(r);
    this.notify();
  }

  #evictIdle(): boolean {
    for (const r of this.#retained) {
      if (r.busy || r.table === undefined) continue;
      r.table.close();
      r.table = undefined;
      return true;
    }
    return false;
  }

  async #wait(signal: AbortSignal | undefined): Promise<void> {
    let ready = (): void => undefined;
    const freed = new Promise<void>((resolve) => {
      ready = resolve;
    });
    this.#waiters.add(ready);
    signal?.addEventListener('abort', ready, { once: true });
    await freed;
    signal?.removeEventListener('abort', ready);
    this.#waiters.delete(ready);
  }
}
