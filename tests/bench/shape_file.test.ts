import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { withTemporaryFile, writeShapeFile } from '../../lib/bench/shape_file.js';
import { AbortError } from '../../lib/errors.js';
import { load } from '../../lib/tasks/load.js';
import type { TextModel } from '../../lib/tasks/text_model.js';
import { openCheckpoint } from '../../lib/weights/checkpoint.js';
import type { QuantizeType } from '../../lib/weights/quantize_rules.js';
import type { RawConfig } from '../../lib/weights/types.js';
import { randomModel } from '../engine/models.js';
import { error } from '../support/safetensors.js';

const folder = mkdtempSync(join(tmpdir(), 'verdant-shape-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const sizes = {
  vocab_size: 300,
  hidden_size: 256,
  // No multiple of 256: where K blocks are wanted, smaller ones come in place of them.
  intermediate_size: 288,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  max_position_embeddings: 128,
};
const llama: RawConfig = {
  ...sizes,
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  hidden_act: 'silu',
  tie_word_embeddings: false,
};
const qwen2: RawConfig = {
  ...sizes,
  architectures: ['Qwen2ForCausalLM'],
  model_type: 'qwen2',
  hidden_act: 'silu',
  tie_word_embeddings: true,
};
const gpt2: RawConfig = {
  architectures: ['GPT2LMHeadModel'],
  model_type: 'gpt2',
  vocab_size: 300,
  n_embd: 256,
  n_inner: 288,
  n_layer: 2,
  n_head: 4,
  n_positions: 128,
};
const scaled: RawConfig = {
  ...llama,
  rope_scaling: {
    rope_type: 'llama3',
    factor: 8,
    low_freq_factor: 1,
    high_freq_factor: 4,
    original_max_position_embeddings: 16,
  },
};
const configs = { llama, qwen2, gpt2 };
const types: readonly QuantizeType[] = ['q8_0', 'q4_0', 'q4_k_m', 'bf16'];
const prompt = [3, 14, 15, 92, 65, 35, 289, 79, 32];

async function logits(opening: Promise<TextModel>): Promise<Float32Array> {
  const model = await opening;
  try {
    return (await model.forward({ inputIds: prompt })).logits;
  } finally {
    await model.dispose();
  }
}

describe('a shape as a file', () => {
  for (const [name, config] of Object.entries(configs)) {
    it.each(types)(`${name} in %s computes what the model in memory does, bit for bit`, async (type) => {
      const path = join(folder, `${name}-${type}.gguf`);
      const bytes = await writeShapeFile(path, config, name, type);
      expect(statSync(path).size).toBe(bytes);
      const options = { threads: 1, maxContext: 61 };
      const [found, expected] = [
        await logits(load(path, options)),
        await logits(randomModel({ config, quantize: type, ...options })),
      ];
      expect(found).toEqual(expected);
      expect(new Set(found).size).toBeGreaterThan(200);
    });
  }

  it('has rotary factors, which GGUF holds in f32', async () => {
    const path = join(folder, 'scaled.gguf');
    await writeShapeFile(path, scaled, 'scaled', 'q8_0');
    const options = { threads: 1, maxContext: 61, compute: 'f32' };
    const found = await logits(load(path, options));
    const memory = (config: RawConfig): Promise<Float32Array> =>
      logits(randomModel({ config, quantize: 'q8_0', ...options }));
    expect(error(found, await memory(scaled))).toBeLessThan(2e-6);
    expect(error(found, await memory(llama))).toBeGreaterThan(1e-4);
  });

  it('has the types of the rules, a vocabulary and an end', async () => {
    const path = join(folder, 'types.gguf');
    await writeShapeFile(path, llama, 'tiny', 'q4_k_m');
    const { tensors, gguf } = await openCheckpoint(path);
    const typeOf = (name: string): string | undefined => tensors.get(name)?.dtype;
    expect(['blk.0.attn_q.weight', 'blk.0.ffn_down.weight', 'output.weight', 'output_norm.weight'].map(typeOf)).toEqual(
      ['q4_k', 'q5_0', 'q6_k', 'f32'],
    );
    expect(gguf?.metadata.get('general.name')).toEqual({ type: 'string', value: 'tiny' });
    expect(gguf?.metadata.get('general.file_type')).toEqual({ type: 'uint32', value: 15 });
    const model = await load(path, { threads: 1, maxContext: 61 });
    expect(model.tokenizer?.vocabSize).toBe(300);
    expect(model.eosIds).toEqual([2]);
    await model.dispose();
  });

  it('is the same each time', async () => {
    const paths = ['a', 'b'].map((name) => join(folder, `${name}.gguf`));
    for (const path of paths) await writeShapeFile(path, qwen2, 'twice', 'q4_0');
    expect(readFileSync(paths[0]!).equals(readFileSync(paths[1]!))).toBe(true);
  });

  it('leaves nothing when it is aborted', async () => {
    const abort = new AbortController();
    const inner = mkdtempSync(join(folder, 'aborted-'));
    const seen: number[] = [];
    const onProgress = ({ done }: { done: number }): void => {
      seen.push(done);
      if (seen.length === 5) abort.abort();
    };
    const made = writeShapeFile(join(inner, 'x.gguf'), llama, 'x', 'q8_0', { onProgress, signal: abort.signal });
    await expect(made).rejects.toThrow(AbortError);
    expect(seen).toHaveLength(5);
    expect(readdirSync(inner)).toEqual([]);
  });
});

describe('withTemporaryFile', () => {
  it.each([false, true])('takes its folder away again; failed: %s', async (failing) => {
    const exits = process.listenerCount('exit');
    let made = '';
    const used = withTemporaryFile('x.gguf', async (path) => {
      made = path;
      writeFileSync(path, 'x');
      if (failing) throw new Error('as planned');
      return 7;
    });
    if (failing) await expect(used).rejects.toThrow('as planned');
    else expect(await used).toBe(7);
    expect(made).toMatch(/x\.gguf$/);
    expect(existsSync(dirname(made))).toBe(false);
    expect(process.listenerCount('exit')).toBe(exits);
  });
});
