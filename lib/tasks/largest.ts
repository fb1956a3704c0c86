/** Places of the k largest values, largest first, the lower place first among equals. */
export function largest(values: Float32Array, k: number): number[] {
  const best: number[] = [];
  for (let i = 0; i < values.length; i++) {
    if (best.length === k && !(values[i]! > values[best[k - 1]!]!)) continue;
    let at = best.length;
    while (at > 0 && values[i]! > values[best[at - 1]!]!) at--;
    best.splice(at, 0, i);
    if (best.length > k) best.pop();
  }
  return best;
}

/** exp(x − max) over its sum, in double. */
export function softmax(x: Float32Array): Float64Array {
  const top = x.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const e = Float64Array.from(x, (v) => Math.exp(v - top));
  const sum = e.reduce((a, b) => a + b, 0);
  return e.map((v) => v / sum);
}
