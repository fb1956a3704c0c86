import type { Tensor } from '../graph/graph.js';
import { dim } from '../graph/shape.js';
import { fixed, type OpInfo, same } from './op.js';

export const concatInfo: OpInfo = { name: 'concat', inputs: ['a', 'b', '...'], outputs: ['y'], attrs: {} };

/** (rows, n0), (rows, n1) … → (rows, n0 + n1 + …), side by side, under a new dim name. */
export function concat<R extends string, N extends string>(
  parts: readonly Tensor<[R, string], 'f32'>[],
  name: N,
): Tensor<[R, N], 'f32'> {
  const first = parts[0]!;
  for (const p of parts) same(concatInfo, 'rows', first.dims[0], p.dims[0]);
  const cols = dim(
    name,
    parts.reduce((n, p) => n + fixed(concatInfo, p.dims[1]), 0),
  );
  const [y] = first.graph.node('concat', parts as unknown as Tensor[], {}, [
    { dims: [first.dims[0], cols], dtype: 'f32' },
  ]);
  return y as Tensor<[R, N], 'f32'>;
}
