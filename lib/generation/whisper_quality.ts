import pako from 'pako';

/**
 * How repetitive ids are: their bytes (little-endian, as many to an id as the vocabulary wants) over what zlib makes of
 * them; above 2.4 a text usually goes round in circles (WhisperForConditionalGeneration). Node's own zlib finds other
 * matches, and others again on other processors; pako is zlib's code.
 */
export function compressionRatio(ids: readonly number[], vocab: number): number {
  const width = Math.trunc(Math.log2(vocab) / 8) + 1;
  const bytes = Buffer.alloc(ids.length * width);
  for (const [i, id] of ids.entries()) bytes.writeUIntLE(id, i * width, width);
  return bytes.length / pako.deflate(bytes).length;
}

/** Bans all but the k most likely, and those as likely as the last of them (TopKLogitsWarper). 0: bans nothing. */
export function keepTop(logits: Float32Array, k: number): void {
  if (k === 0 || k >= logits.length) return;
  const top = new Float32Array(k).fill(Number.NEGATIVE_INFINITY); // descending
  for (const x of logits) {
    if (!(x > top[k - 1]!)) continue;
    let at = k - 1;
    for (; at > 0 && x > top[at - 1]!; at--) top[at] = top[at - 1]!;
    top[at] = x;
  }
  const least = top[k - 1]!;
  for (const [i, x] of logits.entries()) if (x < least) logits[i] = Number.NEGATIVE_INFINITY;
}

/** Bans all but one id, the likeliest where `among` leaves several. */
export function keepBest(logits: Float32Array, among: Iterable<number>): void {
  let best = -1;
  let most = Number.NEGATIVE_INFINITY;
  for (const id of among) if (best < 0 || logits[id]! > most) [best, most] = [id, logits[id]!];
  logits.fill(Number.NEGATIVE_INFINITY);
  if (best >= 0) logits[best] = most;
}
