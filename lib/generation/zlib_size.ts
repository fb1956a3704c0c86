/**
 * How many bytes zlib's compress() (level 6) makes of an input of one block (below 16 KB). The zlib inside Node finds other matches than zlib's own, and
 * others again on other processors; a threshold over this size must mean the same everywhere. RFC 1950, RFC 1951; the choices of
 * deflate.c (deflate_slow) and trees.c.
 */
const [goodLength, maxLazy, niceLength, maxChain] = [8, 16, 128, 128];
const [leastMatch, mostMatch] = [3, 258];
const maxDistance = 32_768 - mostMatch - leastMatch - 1;

const lengthExtra = [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0];
const distanceExtra = Array.from({ length: 30 }, (_, i) => Math.max(0, (i >> 1) - 1));
const runExtra = [...new Array<number>(16).fill(0), 2, 3, 7];
const runOrder = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
const fixedLength = (code: number): number => (code < 144 ? 8 : code < 256 ? 9 : code < 280 ? 7 : 8);

/** First value of each code, given the extra bits of the codes before. */
const bases = (extra: readonly number[], from: number): number[] => {
  const base: number[] = [];
  for (let at = from, i = 0; i < extra.length; at += 2 ** extra[i]!, i++) base.push(at);
  return base;
};
const lengthBases = [...bases(lengthExtra.slice(0, 28), leastMatch), mostMatch];
const distanceBases = bases(distanceExtra, 1);
const codeOf = (list: readonly number[], value: number): number => list.findLastIndex((base) => base <= value);

/** How often each code of literals and lengths, and of distances, is used. */
function tally(input: Uint8Array): { literals: Int32Array; distances: Int32Array } {
  const literals = new Int32Array(286);
  const distances = new Int32Array(30);
  const bytes = new Uint8Array(input.length + 2 * mostMatch); // zlib compares into the zeros behind the end
  bytes.set(input);
  const head = new Int32Array(1 << 15); // 0: nothing; so nothing matches the very first place
  const previous = new Int32Array(input.length);
  const insert = (at: number): number => {
    const hash = ((bytes[at]! << 10) ^ (bytes[at + 1]! << 5) ^ bytes[at + 2]!) & 0x7fff;
    previous[at] = head[hash]!;
    head[hash] = at;
    return previous[at]!;
  };
  let [at, length, start, pending] = [0, 2, 0, false];
  while (at < input.length) {
    const left = input.length - at;
    let found = left >= leastMatch ? insert(at) : 0;
    const [lastLength, lastStart] = [length, start];
    length = 2;
    if (found !== 0 && lastLength < maxLazy && at - found <= maxDistance) {
      let best = lastLength;
      const nice = Math.min(niceLength, left);
      const limit = Math.max(0, at - maxDistance);
      for (let chain = lastLength >= goodLength ? maxChain >> 2 : maxChain; chain > 0 && found > limit; chain--) {
        let same = 0;
        while (same < mostMatch && bytes[found + same] === bytes[at + same]) same++;
        if (same > best) {
          [best, start] = [same, found];
          if (best >= nice) break;
        }
        found = previous[found]!;
      }
      length = Math.min(best, left);
      if (length === leastMatch && at - start > 4096) length = 2;
    }
    if (lastLength >= leastMatch && length <= lastLength) {
      literals[257 + codeOf(lengthBases, lastLength)]!++;
      distances[codeOf(distanceBases, at - 1 - lastStart)]!++;
      for (let i = 1; i < lastLength - 1; i++) if (at + i <= input.length - leastMatch) insert(at + i);
      at += lastLength - 1;
      [pending, length] = [false, 2];
    } else {
      if (pending) literals[bytes[at - 1]!]!++;
      pending = true;
      at++;
    }
  }
  if (pending) literals[bytes[at - 1]!]!++;
  literals[256] = 1; // the end
  return { literals, distances };
}

/** Lengths of the codes of a Huffman tree, none above `most` bits. */
function codeLengths(counts: Int32Array, most: number): { lengths: number[]; last: number } {
  const frequency = Array.from(counts);
  const depth = frequency.map(() => 0);
  const dad: number[] = [];
  const heap = [0]; // 1-based
  let last = -1;
  for (const [code, count] of frequency.entries()) {
    if (count === 0) continue;
    heap.push(code);
    last = code;
  }
  while (heap.length < 3) {
    const code = last < 2 ? ++last : 0;
    frequency[code] = 1;
    heap.push(code);
  }
  const smaller = (n: number, m: number): boolean =>
    frequency[n]! < frequency[m]! || (frequency[n] === frequency[m] && depth[n]! <= depth[m]!);
  const sink = (k: number): void => {
    const moved = heap[k]!;
    for (let j = k << 1; j < heap.length; k = j, j <<= 1) {
      if (j + 1 < heap.length && smaller(heap[j + 1]!, heap[j]!)) j++;
      if (smaller(moved, heap[j]!)) break;
      heap[k] = heap[j]!;
    }
    heap[k] = moved;
  };
  for (let k = (heap.length - 1) >> 1; k >= 1; k--) sink(k);
  const sorted: number[] = []; // ascending frequency, as they leave the heap
  while (heap.length > 2) {
    const n = heap[1]!;
    heap[1] = heap.pop()!;
    sink(1);
    const m = heap[1]!;
    sorted.push(n, m);
    const node = frequency.length;
    frequency.push(frequency[n]! + frequency[m]!);
    depth.push(Math.max(depth[n]!, depth[m]!) + 1);
    dad[n] = node;
    dad[m] = node;
    heap[1] = node;
    sink(1);
  }
  return { lengths: limited(counts.length, sorted, dad, most), last };
}

/** Depths in the tree, those above `most` made room for as trees.c does (gen_bitlen). */
function limited(codes: number, sorted: readonly number[], dad: readonly number[], most: number): number[] {
  const bits: number[] = [];
  const count = new Array<number>(most + 2).fill(0);
  let overflow = 0;
  for (const n of sorted.toReversed()) {
    bits[n] = (bits[dad[n]!] ?? 0) + 1;
    if (bits[n]! > most) {
      bits[n] = most;
      overflow++;
    }
    if (n < codes) count[bits[n]!]!++;
  }
  const lengths = (): number[] => Array.from({ length: codes }, (_, n) => bits[n] ?? 0);
  if (overflow === 0) return lengths();
  for (; overflow > 0; overflow -= 2) {
    let b = most - 1;
    while (count[b] === 0) b--;
    count[b]!--;
    count[b + 1]! += 2;
    count[most]!--;
  }
  const leaves = sorted.filter((n) => n < codes);
  let at = 0;
  for (let b = most; b > 0; b--) for (let i = 0; i < count[b]!; i++) bits[leaves[at++]!] = b;
  return lengths();
}

/** How often each code for runs of code lengths is used (scan_tree). */
function scanRuns(lengths: readonly number[], into: Int32Array): void {
  for (let i = 0; i < lengths.length; ) {
    const value = lengths[i]!;
    let run = 1;
    const most = value === 0 ? 138 : i === 0 || lengths[i - 1] !== value ? 7 : 6;
    while (run < most && lengths[i + run] === value) run++;
    i += run;
    if (value === 0) {
      if (run < 3) into[0]! += run;
      else into[run <= 10 ? 17 : 18]!++;
      continue;
    }
    const first = most === 7;
    const least = first ? 4 : 3;
    if (run < least) into[value]! += run;
    else {
      if (first) into[value]!++;
      into[16]!++;
    }
  }
}

export function zlibSize(input: Uint8Array): number {
  const { literals, distances } = tally(input);
  const literal = codeLengths(literals, 15);
  const distance = codeLengths(distances, 15);
  const sum = (counts: Int32Array, bits: (code: number) => number): number =>
    counts.reduce((total, count, code) => total + count * bits(code), 0);
  const extra = sum(literals, (c) => (c > 256 ? lengthExtra[c - 257]! : 0)) + sum(distances, (c) => distanceExtra[c]!);
  const runs = new Int32Array(19);
  scanRuns(literal.lengths.slice(0, literal.last + 1), runs);
  scanRuns(distance.lengths.slice(0, distance.last + 1), runs);
  const run = codeLengths(runs, 7);
  const used =
    Math.max(
      3,
      runOrder.findLastIndex((code) => run.lengths[code]! > 0),
    ) + 1;
  const tree = 14 + 3 * used + sum(runs, (c) => run.lengths[c]! + runExtra[c]!);
  const own = tree + extra + sum(literals, (c) => literal.lengths[c]!) + sum(distances, (c) => distance.lengths[c]!);
  const fixed = extra + sum(literals, fixedLength) + sum(distances, () => 5);
  const coded = Math.ceil((3 + Math.min(own, fixed)) / 8);
  return 6 + (input.length + 4 <= coded ? input.length + 5 : coded); // as it is where that is no longer
}
