/**
 * Slopes of attention with linear biases, one per head (Press et al. 2022): 2^(−8 i / n) for the largest power of two
 * n ≤ heads, then every other one of 2 n heads (transformers: build_alibi_tensor).
 */
export function alibiSlopes(heads: number): number[] {
  const n = 2 ** Math.floor(Math.log2(heads));
  return Array.from({ length: heads }, (_, i) => 2 ** (-8 * (i < n ? (i + 1) / n : (2 * (i - n) + 1) / (2 * n))));
}

/** The nearest bfloat16, ties to even. */
function bfloat16(x: number): number {
  const bits = new Uint32Array(new Float32Array([x]).buffer);
  bits[0] = (bits[0]! + 0x7fff + ((bits[0]! >>> 16) & 1)) & 0xffff0000;
  return new Float32Array(bits.buffer)[0]!;
}

/**
 * Biases (heads, places) of keys at each place, `scale` times slope · place, all of which Falcon rounds to bfloat16, whatever
 * its weights are; a query's own place would add the same to all of its scores.
 */
export function roundedAlibi(heads: number, places: number, scale: number): Float32Array {
  const slopes = alibiSlopes(heads).map(bfloat16);
  return Float32Array.from(
    { length: heads * places },
    (_, i) => scale * bfloat16(slopes[Math.floor(i / places)]! * bfloat16(i % places)),
  );
}
