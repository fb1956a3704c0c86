import type { Tensor } from '../graph/graph.js';
import { stepDim } from '../graph/shape.js';
import type { OpInfo } from './op.js';

const modes = ['mean', 'max', 'sqrt', 'weighted'] as const;
/**
 * Of the rows of a sequence: mean, largest, sum over the square root of their number, or the mean in which row i (from 0)
 * counts i + 1 times.
 */
export type PoolMode = (typeof modes)[number];

export const poolInfo: OpInfo = { name: 'pool', inputs: ['x', 'starts'], outputs: ['y'], attrs: { mode: modes } };

/** One vector for each sequence: x (rows, cols), starts (seq_bounds) → (seqs, cols). */
export function pool<C extends string>(
  x: Tensor<['rows', C], 'f32'>,
  starts: Tensor<['seq_bounds'], 'i32'>,
  mode: PoolMode,
): Tensor<['seqs', C], 'f32'> {
  const [y] = x.graph.node('pool', [x, starts], { mode }, [{ dims: [stepDim('seqs'), x.dims[1]], dtype: 'f32' }]);
  return y as Tensor<['seqs', C], 'f32'>;
}
