import type { Tensor } from '../graph/graph.js';
import type { Dim } from '../graph/shape.js';
import { dim } from '../graph/shape.js';
import { concatRows, sliceRows } from '../graph/weight_expr.js';
import type { Weights } from './weights.js';

export interface BucketOptions {
  readonly buckets: number;
  /** Places apart from which all share a bucket. */
  readonly maxDistance: number;
  /** Half of the buckets are for keys after the query; else those count as the query's own place. */
  readonly bidirectional: boolean;
}

/** Bucket of a key `apart` places after the query (T5Attention._relative_position_bucket, Raffel et al. 2020). */
export function relativeBucket(apart: number, options: BucketOptions): number {
  const count = options.bidirectional ? options.buckets >> 1 : options.buckets;
  const first = options.bidirectional && apart > 0 ? count : 0;
  const distance = options.bidirectional ? Math.abs(apart) : Math.max(0, -apart);
  const exact = count >> 1;
  if (distance < exact) return first + distance;
  // In f32, as torch computes it: a quotient that is whole in real numbers must fall on the same side.
  const ratio = Math.fround(
    Math.fround(Math.log(Math.fround(distance / exact))) / Math.log(options.maxDistance / exact),
  );
  return first + Math.min(count - 1, exact + Math.trunc(Math.fround(ratio * (count - exact))));
}

/**
 * The bias of each distance from −d to d, further ones being like d: the table NAME (buckets, heads) spread out to
 * (2 d + 1, heads), for `relative` of attention.
 */
export function relativeBias(
  w: Weights,
  name: string,
  heads: Dim<string>,
  options: BucketOptions,
): Tensor<[string, string], 'f32'> {
  const far = options.maxDistance;
  const distances = dim(`${name}_distances`, 2 * far + 1);
  return w.derived(`${name}.weight`, dim('buckets', options.buckets), heads, distances, (table) =>
    concatRows(Array.from({ length: 2 * far + 1 }, (_, i) => sliceRows(table, relativeBucket(i - far, options), 1))),
  );
}
