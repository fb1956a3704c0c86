import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { WeightSource } from '../../lib/layers/weights.js';
import { expertOf } from '../../lib/models/architecture.js';
import { findArchitecture, ggufName } from '../../lib/models/index.js';
import { DeviceModel } from '../../lib/runtime/executable.js';
import { openCheckpoint } from '../../lib/weights/checkpoint.js';
import { fixtures, readJson } from '../support/fixtures.js';
import { build, forward, program } from '../support/forward.js';
import { type Array64, error, readTensors } from '../support/safetensors.js';

/** Rows [heads, 3, head_dim] → [3, heads, head_dim]. */
function separated(data: Float32Array, rows: number, heads: number): Float32Array {
  const [cols, headDim] = [data.length / rows, rows / heads / 3];
  const made = new Float32Array(data.length);
  for (let r = 0; r < rows; r++) {
    const [head, part, i] = [Math.floor(r / (3 * headDim)), Math.floor(r / headDim) % 3, r % headDim];
    made.set(data.subarray(r * cols, (r + 1) * cols), ((part * heads + head) * headDim + i) * cols);
  }
  return made;
}

/**
 * A tensor as llama.cpp's converter stores it: norms of Gemma plus one, llama's q and k rows interleaved per head, q, k
 * and v that Hugging Face stores head by head one after another.
 */
function converted(name: string, tensor: Array64, modelType: string, heads: number, kvHeads: number): Float32Array {
  if (modelType.startsWith('gemma') && name.endsWith('norm.weight'))
    return Float32Array.from(tensor.data, (v) => v + 1);
  const turned = /\.([qk])_proj\.(weight|bias)$/.exec(name);
  const data = Float32Array.from(tensor.data);
  if (name.includes('.query_key_value.')) return separated(data, tensor.shape[0]!, heads);
  if (turned === null || !['llama', 'mistral', 'mixtral', 'granite', 'smollm3'].includes(modelType)) return data;
  const rows = tensor.shape[0]!;
  const cols = data.length / rows;
  const size = rows / (turned[1] === 'q' ? heads : kvHeads);
  const made = new Float32Array(data.length);
  for (let r = 0; r < rows; r++) {
    const [head, i] = [Math.floor(r / size), r % size];
    const to = head * size + 2 * (i % (size / 2)) + Math.floor(i / (size / 2));
    made.set(data.subarray(r * cols, (r + 1) * cols), to * cols);
  }
  return made;
}

describe('tensors stored as GGUF stores them give the same logits', () => {
  // GPT-2's layout has a file of its own in fixtures/gguf; GGUF always holds the token table.
  // Norms of single heads, which GGUF stacks, have no names of their own.
  const other = ['llama_head_only', 'stablelm_parallel', 'phi_qk_layernorm'];
  const chosen = fixtures('models').filter(
    (f) =>
      !f.name.startsWith('gpt2') &&
      !other.includes(f.name) &&
      findArchitecture(f.case.architecture, '', f.folder).gguf !== undefined,
  );
  for (const { name, folder, case: about } of chosen) {
    it(name, async () => {
      const checkpoint = await openCheckpoint(folder);
      const config = readJson(join(folder, 'config.v5.json'));
      const type = config.model_type as string;
      const table = findArchitecture(undefined, type, folder).gguf!;
      const stored = new Map<string, { shape: readonly number[]; data: Float32Array }>();
      for (const { path } of checkpoint.files) {
        for (const [key, tensor] of await readTensors(path)) {
          if (!about.tensors.includes(key)) continue;
          const [heads, kvHeads] = [config.num_attention_heads as number, config.num_key_value_heads as number];
          const as = ggufName(table, key);
          expect(as, key).toBeDefined();
          const expert = expertOf(key);
          if (expert !== undefined) {
            const { shape, data } = stored.get(as!) ?? { shape: [0, ...tensor.shape], data: new Float32Array() };
            const grown = new Float32Array(Math.max(data.length, (expert + 1) * tensor.data.length));
            grown.set(data);
            grown.set(tensor.data, expert * tensor.data.length);
            stored.set(as!, { shape: [Math.max(shape[0]!, expert + 1), ...tensor.shape], data: grown });
            continue;
          }
          expect(stored.has(as!), as).toBe(false);
          stored.set(as!, { shape: tensor.shape, data: converted(key, tensor, type, heads, kvHeads) });
        }
      }
      const source: WeightSource = {
        kind: 'gguf',
        file: 'model.gguf',
        names: [...stored.keys()],
        find(key) {
          const as = ggufName(table, key);
          const tensor = as === undefined ? undefined : stored.get(as);
          if (as === undefined || tensor === undefined) return undefined;
          const { shape, data } = tensor;
          return {
            name: as,
            dtype: 'f32',
            shape,
            expr: (_, rows, cols) => ({ kind: 'bytes', dtype: 'f32', rows, cols, data }),
          };
        },
      };
      const [made, expected] = [
        await logits(build(checkpoint, { config, source })),
        await logits(build(checkpoint, { config })),
      ];
      expect(error(made, expected)).toBeLessThan(1e-5);
    });
  }

  async function logits(built: ReturnType<typeof build>): Promise<ArrayLike<number>> {
    const ids = [3, 14, 15, 92, 65, 35, 89, 79, 32, 38, 46];
    const model = await DeviceModel.open('cpu', { threads: 1 });
    try {
      return (await forward(model, program(built, ['logits'], ids.length), ids)).logits!;
    } finally {
      await model.dispose();
    }
  }
});
