/**
 * Slopes of attention with linear biases, one per head (Press et al. 2022): 2^(−8 i / n) for the largest power of two
 * n ≤ heads, then every other one of 2 n heads (transformers: build_alibi_tensor).
 */
export function alibiSlopes(heads: number): number[] {
  const n = 2 ** Math.floor(Math.log2(heads));
  return Array.from({ length: heads }, (_, i) => 2 ** (-8 * (i < n ? (i + 1) / n : (2 * (i - n) + 1) / (2 * n))));
}
