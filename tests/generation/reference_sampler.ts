/** The `sample` op in float64, from the definitions in native/ops/sample.h: no partial selection, no linear-time tricks. */

const mul = (a: number, b: number): [number, number] => {
  const product = BigInt(a) * BigInt(b);
  return [Number(product >> 32n), Number(product & 0xffffffffn)];
};

/** Philox 4x32-10; all words unsigned 32 bit. */
export function philox(counter: readonly number[], key: readonly number[]): number[] {
  let [c0, c1, c2, c3] = counter as [number, number, number, number];
  let [k0, k1] = key as [number, number];
  for (let round = 0; round < 10; round++) {
    const [high0, low0] = mul(0xd2511f53, c0);
    const [high1, low1] = mul(0xcd9e8d57, c2);
    [c0, c1, c2, c3] = [(high1 ^ c1 ^ k0) >>> 0, low1, (high0 ^ c3 ^ k1) >>> 0, low0];
    [k0, k1] = [(k0 + 0x9e3779b9) >>> 0, (k1 + 0xbb67ae85) >>> 0];
  }
  return [c0, c1, c2, c3];
}

export function uniform(seed: bigint, sampleIndex: number, position: number, purpose: number): number {
  const key = [Number(seed & 0xffffffffn), Number(seed >> 32n)];
  const r = philox([sampleIndex, position, purpose, 0], key);
  return ((r[0]! >>> 5) * 2 ** 26 + (r[1]! >>> 6)) / 2 ** 53;
}

export interface Candidate {
  readonly id: number;
  readonly p: number;
}

/** Candidates of finite logits in the op's order, probabilities at this temperature. */
export function candidates(logits: ArrayLike<number>, temperature = 1): Candidate[] {
  const kept = Array.from(logits, (x, id) => ({ id, x })).filter(({ x }) => x > -Infinity);
  kept.sort((a, b) => b.x - a.x || a.id - b.id);
  const best = kept[0]?.x ?? 0;
  return renormalise(kept.map(({ id, x }) => ({ id, p: Math.exp((x - best) / temperature) })));
}

export function renormalise(list: readonly Candidate[]): Candidate[] {
  const total = list.reduce((sum, { p }) => sum + p, 0);
  return list.map(({ id, p }) => ({ id, p: p / total }));
}

/** Inverse of the cumulative distribution; `gap` is the distance of u to the nearest boundary. */
export function draw(list: readonly Candidate[], u: number): { id: number; gap: number } {
  let sum = 0;
  for (const { id, p } of list) {
    if (sum + p > u) return { id, gap: Math.min(u - sum, sum + p - u) };
    sum += p;
  }
  return { id: list.at(-1)!.id, gap: 0 };
}

export function xtc(list: readonly Candidate[], threshold: number): Candidate[] {
  const likely = list.filter(({ p }) => p >= threshold).length;
  return renormalise(list.slice(Math.max(0, likely - 1)));
}

export function mirostatCut(list: readonly Candidate[], mu: number): Candidate[] {
  const kept = list.filter(({ p }) => -Math.log2(p) <= mu);
  return renormalise(kept.length > 0 ? kept : list.slice(0, 1));
}

/** DRY's penalty of each id by its definition: every suffix against every earlier place. */
export function dryPenalties(
  history: readonly number[],
  o: { multiplier: number; base: number; allowedLength: number; range: number; breakers: readonly number[] },
): Map<number, number> {
  const ids = o.range > 0 ? history.slice(-o.range) : [...history];
  const longest = new Map<number, number>();
  for (let next = 1; next < ids.length; next++) {
    let match = 0;
    while (
      match < next &&
      ids[next - 1 - match] === ids[ids.length - 1 - match] &&
      !o.breakers.includes(ids[ids.length - 1 - match]!)
    ) {
      match++;
    }
    longest.set(ids[next]!, Math.max(match, longest.get(ids[next]!) ?? 0));
  }
  const penalties = new Map<number, number>();
  for (const [id, match] of longest) {
    if (match >= o.allowedLength) penalties.set(id, o.multiplier * o.base ** (match - o.allowedLength));
  }
  return penalties;
}
