import type { WeightSource } from '../../lib/layers/weights.js';
import type { Checkpoint } from '../../lib/weights/types.js';
import { readTensors } from './safetensors.js';

/** Adds noise of 0.1 rms to one tensor. */
export function perturbed(source: WeightSource, target: string, values: Float64Array): WeightSource {
  const rms = Math.sqrt(values.reduce((sum, v) => sum + v * v, 0) / values.length);
  let seed = 12345;
  const noise = (): number => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return Math.sqrt(12) * (seed / 2 ** 32 - 0.5);
  };
  const data = Float32Array.from(values, (v) => v + 0.1 * rms * noise());
  return {
    ...source,
    find(name) {
      const tensor = source.find(name);
      if (tensor === undefined || name !== target) return tensor;
      return { ...tensor, dtype: 'f32', expr: (_, rows, cols) => ({ kind: 'bytes', dtype: 'f32', rows, cols, data }) };
    },
  };
}

/** Values of all stored tensors by name. */
export async function allTensors(checkpoint: Checkpoint): Promise<Map<string, Float64Array>> {
  const made = new Map<string, Float64Array>();
  for (const { path } of checkpoint.files) {
    for (const [name, tensor] of await readTensors(path)) made.set(name, tensor.data);
  }
  return made;
}
