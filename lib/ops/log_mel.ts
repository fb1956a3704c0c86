import type { Tensor } from '../graph/graph.js';
import type { OpInfo } from './op.js';

export const logMelInfo: OpInfo = { name: 'log_mel', inputs: ['x', 'starts'], outputs: ['y'], attrs: {} };

/**
 * Whisper's scale of power in mel bands: x (rows, mels), starts (seq_bounds) → (max(l, m − 8) + 4) / 4 like x, with
 * l = log10(max(x, 1e-10)) and m the largest l of the sequence.
 */
export function logMel<R extends string, C extends string>(
  x: Tensor<[R, C], 'f32'>,
  starts: Tensor<['seq_bounds'], 'i32'>,
): Tensor<[R, C], 'f32'> {
  const [y] = x.graph.node('log_mel', [x, starts], {}, [{ dims: x.dims, dtype: 'f32' }]);
  return y as Tensor<[R, C], 'f32'>;
}
