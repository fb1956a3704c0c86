/** What byte-pair encoding looks up: merges by pair, a heap of pending merges, and what merged symbols are made of. */
import type { MergeList } from './spec.js';

/** Packs (rank, position) and (symbol, symbol) into one double: ranks and symbols stay below 2²³. */
export const span: number = 2 ** 30;

/** Open-addressing table (left, right) → index of a merge; −1 where there is none. */
export class PairTable {
  private readonly left: Int32Array;
  private readonly right: Int32Array;
  private readonly value: Int32Array;
  private readonly mask: number;

  constructor(merges: MergeList) {
    const n = merges.left.length;
    let size = 16;
    while (size < 2 * n) size *= 2;
    this.mask = size - 1;
    this.left = new Int32Array(size).fill(-1);
    this.right = new Int32Array(size);
    this.value = new Int32Array(size).fill(-1);
    for (let i = 0; i < n; i += 1) {
      const a = merges.left[i] as number;
      const b = merges.right[i] as number;
      const slot = this.slot(a, b);
      this.left[slot] = a;
      this.right[slot] = b;
      this.value[slot] = i;
    }
  }

  private slot(a: number, b: number): number {
    let slot = (Math.imul(a, 0x9e3779b1) ^ Math.imul(b, 0x85ebca6b)) >>> 0;
    slot = (slot ^ (slot >>> 15)) & this.mask;
    while (this.left[slot] !== -1 && (this.left[slot] !== a || this.right[slot] !== b)) slot = (slot + 1) & this.mask;
    return slot;
  }

  get(a: number, b: number): number {
    return this.value[this.slot(a, b)] as number;
  }
}

/** Min-heap of (rank, position) pairs packed in one double: rank × 2³⁰ + position. */
export class RankHeap {
  private keys = new Float64Array(1024);
  private size = 0;

  push(key: number): void {
    if (this.size === this.keys.length) {
      const larger = new Float64Array(2 * this.size);
      larger.set(this.keys);
      this.keys = larger;
    }
    const keys = this.keys;
    let i = this.size;
    this.size += 1;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      const above = keys[parent] as number;
      if (above <= key) break;
      keys[i] = above;
      i = parent;
    }
    keys[i] = key;
  }

  /** Smallest key, or −1 when empty. */
  pop(): number {
    if (this.size === 0) return -1;
    const keys = this.keys;
    const top = keys[0] as number;
    this.size -= 1;
    const last = keys[this.size] as number;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= this.size) break;
      if (child + 1 < this.size && (keys[child + 1] as number) < (keys[child] as number)) child += 1;
      if ((keys[child] as number) >= last) break;
      keys[i] = keys[child] as number;
      i = child;
    }
    keys[i] = last;
    return top;
  }
}

/** Merged symbol → the first merge that makes it. */
function makers({ merged }: MergeList): Map<number, number> {
  const madeBy = new Map<number, number>();
  merged.forEach((id, i) => {
    if (!madeBy.has(id)) madeBy.set(id, i);
  });
  return madeBy;
}

/**
 * Every pair of neighbouring base symbols inside any merged token. Between two symbols that are not such a pair no
 * merge can ever happen, so the text may be cut there without changing the result.
 */
export function innerPairs(merges: MergeList): Set<number> {
  const { left, right } = merges;
  const madeBy = makers(merges);
  const outermost = (id: number, side: Int32Array): number => {
    let symbol = id;
    for (let i = madeBy.get(symbol); i !== undefined; i = madeBy.get(symbol)) symbol = side[i] as number;
    return symbol;
  };
  const inner = new Set<number>();
  for (let i = 0; i < left.length; i += 1) {
    inner.add(outermost(left[i] as number, right) * span + outermost(right[i] as number, left));
  }
  return inner;
}

/** Number of base symbols in each merged symbol. */
export function symbolSizes(merges: MergeList): Map<number, number> {
  const { left, right } = merges;
  const madeBy = makers(merges);
  const sizes = new Map<number, number>();
  for (const id of madeBy.keys()) {
    // Parts first. One that is met below itself would be made of itself: it counts as one.
    const open = new Set<number>();
    const stack = [id];
    while (stack.length > 0) {
      const symbol = stack[stack.length - 1] as number;
      const merge = madeBy.get(symbol) as number;
      const parts = [left[merge] as number, right[merge] as number];
      open.add(symbol);
      const next = parts.find((part) => madeBy.has(part) && !sizes.has(part) && !open.has(part));
      if (next !== undefined) stack.push(next);
      else {
        sizes.set(symbol, (sizes.get(parts[0] as number) ?? 1) + (sizes.get(parts[1] as number) ?? 1));
        open.delete(symbol);
        stack.pop();
      }
    }
  }
  return sizes;
}
