/** ln Σ exp of logits from .. to − 1; −Infinity where none is allowed. */
export function logSum(logits: Float32Array, from = 0, to = logits.length): number {
  let most = Number.NEGATIVE_INFINITY;
  for (let i = from; i < to; i++) most = Math.max(most, logits[i]!);
  if (most === Number.NEGATIVE_INFINITY) return most;
  let sum = 0;
  for (let i = from; i < to; i++) sum += Math.exp(logits[i]! - most);
  return most + Math.log(sum);
}
