import type { WeightDType } from '../graph/dtype.js';
import { randomWeight } from '../graph/weight_expr.js';
import type { SourceTensor, WeightSource } from '../layers/weights.js';

/** FNV-1a of a name: each tensor gets a stream of its own from one seed. */
function hash(name: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) h = Math.imul(h ^ name.charCodeAt(i), 0x01000193);
  return h >>> 0;
}

/**
 * Weights of any shape without files: normal with a standard deviation of 0.02, as real checkpoints begin; vectors are
 * f32, norm weights around 1 and biases around 0. The same seed gives the same bits on every machine. Tensors exist under every name but those of `absent`.
 */
export function randomSource(dtype: WeightDType, seed = 1, absent: readonly RegExp[] = [/^lm_head\./]): WeightSource {
  return {
    kind: 'random',
    file: 'random weights',
    names: [],
    find(name: string): SourceTensor | undefined {
      if (absent.some((pattern) => pattern.test(name))) return undefined;
      return {
        name,
        dtype,
        // Any shape is right: the model's own sizes decide.
        shape: undefined,
        expr: (_, rows, cols) =>
          cols === 1
            ? randomWeight('f32', rows, cols, (seed ^ hash(name)) >>> 0, 0.02, name.endsWith('.bias') ? 0 : 1)
            : randomWeight(dtype, rows, cols, (seed ^ hash(name)) >>> 0, 0.02),
      };
    },
  };
}
