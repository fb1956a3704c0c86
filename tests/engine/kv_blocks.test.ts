import { describe, expect, it } from 'vitest';
import { type BlockTable, blocksFor, KvBlocks } from '../../lib/engine/kv_blocks.js';
import { pageTokens } from '../../lib/layers/decoder.js';
import { Random } from '../support/random.js';

const page = pageTokens;

describe('block tables', () => {
  it('count blocks for tokens', () => {
    expect([0, 1, page - 1, page, page + 1, 3 * page + 5].map(blocksFor)).toEqual([0, 1, 1, 1, 2, 4]);
  });

  it('grow within what was reserved, and no further than the pool', () => {
    const pool = new KvBlocks(3);
    const table = pool.open(2 * page)!;
    expect([pool.available, pool.used]).toEqual([1, 0]);
    expect(table.write(0, page + 1)).toEqual([]);
    expect([table.blocks.length, pool.available, pool.used]).toEqual([2, 1, 2]);
    expect(pool.open(2 * page)).toBeUndefined();
    expect([pool.available, pool.used]).toEqual([1, 2]);
    expect(table.reserve(4 * page)).toBe(false);
    expect(table.reserve(3 * page)).toBe(true);
    expect(pool.available).toBe(0);
    table.close();
    table.close();
    expect([pool.available, pool.used]).toEqual([3, 0]);
  });

  it('refuse a write beyond the reservation when the pool is empty', () => {
    const pool = new KvBlocks(1);
    const table = pool.open(page)!;
    table.write(0, page);
    expect(() => table.write(page, page + 1)).toThrow(/beyond the reservation/);
  });

  it('share blocks when forked and copy the one that is written', () => {
    const pool = new KvBlocks(8);
    const a = pool.open(3 * page)!;
    a.write(0, page + 4);
    const [first, last] = a.blocks as [number, number];
    const b = a.fork(3 * page, page + 4)!;
    expect([first, last].map((x) => pool.owners(x))).toEqual([2, 2]);
    // b: one block for the third page and one for the copy; a: the same.
    expect(pool.available).toBe(8 - 2 - 2 - 2);
    expect(b.write(page + 4, page + 5)).toEqual([{ source: last, target: b.blocks[1] }]);
    expect(b.blocks[0]).toBe(first);
    expect(pool.owners(last)).toBe(1);
    expect(a.write(page + 4, page + 5)).toEqual([]);
    b.close();
    expect(pool.owners(first)).toBe(1);
    a.close();
    expect([pool.available, pool.used]).toEqual([8, 0]);
  });

  it('need no copy of a shared block that is written from its start', () => {
    const pool = new KvBlocks(4);
    const a = pool.open(page)!;
    a.write(0, 5);
    const b = a.fork(page, 0)!;
    expect(b.write(0, 5)).toEqual([]);
    expect(b.blocks[0]).not.toBe(a.blocks[0]);
  });

  it('do not promise copies of shared blocks that nobody will write', () => {
    const pool = new KvBlocks(12);
    const a = pool.open(9 * page)!;
    a.write(0, 8 * page);
    const forks = [1, 2, 3].map(() => a.fork(9 * page, 8 * page));
    expect(forks.every((f) => f !== undefined)).toBe(true);
    expect(pool.available).toBe(0);
  });

  it('leave everything as it was when there is no room for a fork', () => {
    const pool = new KvBlocks(3);
    const a = pool.open(2 * page)!;
    a.write(0, page + 1);
    expect(a.fork(2 * page, page + 1)).toBeUndefined();
    expect(a.blocks.map((x) => pool.owners(x))).toEqual([1, 1]);
    a.close();
    expect([pool.available, pool.used]).toEqual([3, 0]);
  });

  it('give back what lies past a truncation, and all promises', () => {
    const pool = new KvBlocks(5);
    const a = pool.open(5 * page)!;
    a.write(0, 3 * page);
    a.truncate(page + 1);
    expect([a.blocks.length, pool.available, pool.used]).toEqual([2, 3, 2]);
    expect(a.reserve(5 * page, page + 1)).toBe(true);
    expect(pool.available).toBe(0);
  });
});

/** A sequence of the simulation: `length` tokens are written, at most `limit` will be. */
interface Simulated {
  readonly table: BlockTable;
  readonly content: number[];
  limit: number;
  session: boolean;
}

/** What every block holds, so that a lost copy or a shared write shows. */
type Memory = (number | undefined)[][];

class Simulation {
  readonly pool: KvBlocks;
  readonly live: Simulated[] = [];
  readonly memory: Memory;
  #next = 1;

  constructor(readonly random: Random) {
    this.pool = new KvBlocks(random.integer(4, 40));
    this.memory = Array.from({ length: this.pool.capacity }, () => []);
  }

  open(): void {
    const limit = this.random.integer(1, 5 * page);
    const table = this.pool.open(limit);
    if (table === undefined) expect(blocksFor(limit)).toBeGreaterThan(this.pool.available);
    else this.live.push({ table, content: [], limit, session: this.random.next() < 0.3 });
  }

  /** Writes up to `rows` tokens; a reserved table never fails. */
  write(s: Simulated): void {
    const from = s.content.length;
    const to = Math.min(s.limit, from + this.random.integer(1, 2 * page));
    for (const { source, target } of s.table.write(from, to)) this.memory[target] = [...this.memory[source]!];
    for (let i = from; i < to; i++) {
      const token = this.#next++;
      this.memory[s.table.blocks[Math.floor(i / page)]!]![i % page] = token;
      s.content.push(token);
    }
  }

  fork(s: Simulated): void {
    const table = s.table.fork(s.limit, s.content.length);
    if (table !== undefined) this.live.push({ table, content: [...s.content], limit: s.limit, session: false });
  }

  /** A further turn: keeps a prefix, and continues if there is room. */
  turn(s: Simulated): void {
    const kept = this.random.integer(0, s.content.length + 1);
    s.table.truncate(kept);
    s.content.length = kept;
    const limit = kept + this.random.integer(1, 3 * page);
    s.limit = s.table.reserve(limit, kept) ? limit : kept;
  }

  end(s: Simulated): void {
    s.table.close();
    this.live.splice(this.live.indexOf(s), 1);
  }

  check(): void {
    const owners = new Uint32Array(this.pool.capacity);
    for (const { table } of this.live) for (const b of table.blocks) owners[b]!++;
    for (const [b, count] of owners.entries())
      if (this.pool.owners(b) !== count) expect(this.pool.owners(b), `owners of ${b}`).toBe(count);
    const used = owners.filter((c) => c > 0).length;
    if (this.pool.used !== used) expect(this.pool.used).toBe(used);
    if (this.pool.available < 0 || this.pool.available > this.pool.capacity - used)
      expect.fail(`${this.pool.available} available`);
    for (const s of this.live) {
      const bad = s.content.findIndex(
        (token, i) => this.memory[s.table.blocks[Math.floor(i / page)]!]![i % page] !== token,
      );
      if (bad >= 0) expect.fail(`token ${bad} of a sequence was overwritten or not copied`);
    }
  }
}

it('stay right under 2500 random histories of requests, forks, cancels and sessions', () => {
  let [forks, waits] = [0, 0];
  for (let seed = 0; seed < 2500; seed++) {
    const random = new Random(seed);
    const sim = new Simulation(random);
    for (let step = 0; step < 40; step++) {
      const s = sim.live[random.integer(0, Math.max(1, sim.live.length))];
      const action = random.next();
      const before = sim.live.length;
      if (s === undefined || action < 0.2) {
        sim.open();
        if (sim.live.length === before) waits++;
      } else if (action < 0.7) sim.write(s);
      else if (action < 0.82) {
        sim.fork(s);
        if (sim.live.length > before) forks++;
      } else if (s.session) sim.turn(s);
      else sim.end(s);
      sim.check();
    }
    for (const s of [...sim.live]) sim.end(s);
    sim.check();
    expect([sim.pool.available, sim.pool.used]).toEqual([sim.pool.capacity, 0]);
  }
  expect(forks).toBeGreaterThan(1000);
  expect(waits).toBeGreaterThan(1000);
});
