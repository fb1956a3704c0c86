import { afterAll, describe, expect, it } from 'vitest';
import { UnsupportedError } from '../../lib/errors.js';
import { openCheckpoint } from '../../lib/weights/checkpoint.js';
import { readConfig } from '../../lib/weights/config.js';
import { layerNormFields } from '../../lib/weights/defaults.js';
import {
  Bytes,
  type GgufSpec,
  type GgufTensor,
  gguf,
  modelPairs,
  type Pair,
  pair,
  TempFolder,
} from '../support/bytes.js';

const temp = new TempFolder();
afterAll(() => temp.dispose());

const open = (pairs: readonly Pair[], more: GgufSpec = {}) =>
  openCheckpoint(temp.write('t.gguf', gguf({ pairs, ...more })));

describe('GGUF metadata as config', () => {
  const factors = (name: string, count: number, offset: number) => ({ name, dims: [count], offset });

  const families: Readonly<Record<string, string>> = { gemma3: 'gemma3_text', gptneox: 'gpt_neox', phi2: 'phi' };
  const archs = ['llama', 'qwen2', 'qwen3', 'phi3', 'gemma', 'gemma2', 'gemma3', 'gpt2', 'gptneox', 'phi2', 'stablelm'];
  it.each([...archs, 'starcoder2'])('translates %s', async (arch) => {
    const window = arch === 'gemma3' ? [pair.u32('gemma3.attention.sliding_window', 512)] : [];
    const layerNorms = ['gptneox', 'phi2', 'stablelm', 'starcoder2'].includes(arch);
    const norm = layerNorms ? [pair.f32(`${arch}.attention.layer_norm_epsilon`, 1e-5)] : [];
    const checkpoint = await open(modelPairs(arch, [...window, ...norm]));
    const config = readConfig(checkpoint);
    expect(config.modelType).toBe(families[arch] ?? arch);
    expect([config.int('num_hidden_layers'), config.int('hidden_size'), config.int('num_attention_heads')]).toEqual([
      2, 8, 2,
    ]);
    expect([config.int('vocab_size'), config.bool('tie_word_embeddings')]).toEqual([4, true]);
    const epsilon = layerNormFields[config.modelType] ?? 'rms_norm_eps';
    if (arch !== 'gpt2') expect([config.headDim(), config.num(epsilon)]).toEqual([4, 1e-5]);
    if (arch === 'gemma2') expect([config.slidingWindow(), config.num('query_pre_attn_scalar')]).toEqual([4096, 4]);
    if (arch === 'gemma3') expect(config.rope('sliding_attention').theta).toBe(10_000);
  });

  it('tells the variants of the families with layer norms by their tensors and keys', async () => {
    const config = async (arch: string, more: readonly Pair[], tensors: readonly GgufTensor[] = []) => {
      const norm = pair.f32(`${arch}.attention.layer_norm_epsilon`, 1e-5);
      const data = new Uint8Array(64);
      return readConfig(await open(modelPairs(arch, [norm, ...more]), { tensors, data }));
    };
    const tensor = (name: string): GgufTensor => ({ name, dims: [8], offset: 0 });
    const neox = await config('gptneox', [pair.bool('gptneox.use_parallel_residual', 0)]);
    expect([neox.bool('use_parallel_residual'), neox.bool('attention_bias')]).toEqual([false, false]);
    const bias = await config('gptneox', [], [tensor('blk.0.attn_qkv.bias')]);
    expect([bias.bool('use_parallel_residual'), bias.bool('attention_bias')]).toEqual([true, true]);
    const parallel = pair.bool('stablelm.use_parallel_residual', 1);
    const stable = await config('stablelm', [parallel], [tensor('blk.0.ffn_norm.weight')]);
    expect([stable.bool('use_parallel_residual'), stable.bool('use_qkv_bias')]).toEqual([false, false]);
    expect((await config('stablelm', [])).bool('use_parallel_residual')).toBe(true);
    expect((await config('starcoder2', [])).bool('use_bias')).toBe(false);
    // Without a count of rotated entries all of a head turns, whatever the class's own default is.
    expect((await config('phi2', [])).rope().partialRotaryFactor).toBe(1);
    const part = [pair.u32('phi2.attention.key_length', 44), pair.u32('phi2.attention.value_length', 44)];
    const phi = await config('phi2', [...part, pair.u32('phi2.rope.dimension_count', 30)]);
    expect(Math.floor(44 * phi.rope().partialRotaryFactor)).toBe(30);
  });

  it('reads linear and yarn scaling, and rotary factors from tensors', async () => {
    const scaling = (type: string) => [
      pair.string('llama.rope.scaling.type', type),
      pair.f32('llama.rope.scaling.factor', 4),
    ];
    expect(readConfig(await open(modelPairs('llama', scaling('linear')))).rope()).toMatchObject({
      type: 'linear',
      factor: 4,
    });
    const yarn = [...scaling('yarn'), pair.u32('llama.rope.scaling.original_context_length', 16)];
    const rope = readConfig(await open(modelPairs('llama', yarn))).rope();
    expect(rope).toMatchObject({ type: 'yarn', factor: 4, originalMaxPositionEmbeddings: 16, betaFast: 32 });
    expect(rope.type === 'yarn' && rope.attentionFactor).toBeCloseTo(1 + 0.1 * Math.log(4), 12);
    await expect(open(modelPairs('llama', scaling('mystery')))).rejects.toThrow(/rope.scaling.type/);
    const data = new Bytes().f32(1).f32(8).pad(32).f32(2).f32(3).build();
    const llama3 = await open(modelPairs(), { tensors: [factors('rope_freqs.weight', 2, 0)], data });
    expect(readConfig(llama3).rope()).toMatchObject({ type: 'factors', factors: [1, 8] });
    expect([...llama3.absorbed]).toEqual(['rope_freqs.weight']);
    const both = [factors('rope_factors_long.weight', 2, 0), factors('rope_factors_short.weight', 2, 32)];
    const phi = await open(modelPairs('phi3', [pair.u32('phi3.rope.scaling.original_context_length', 16)]), {
      tensors: both,
      data,
    });
    const long = { type: 'longrope', longFactor: [1, 8], shortFactor: [2, 3], originalMaxPositionEmbeddings: 16 };
    expect(readConfig(phi).rope()).toMatchObject(long);
    await expect(open(modelPairs(), { tensors: [factors('rope_freqs.weight', 3, 0)], data })).rejects.toThrow(
      /bad rotary factors/,
    );
  });

  it('refuses what it cannot express', async () => {
    await expect(open(modelPairs('mamba'))).rejects.toThrow(UnsupportedError);
    await expect(open([pair.string('general.architecture', 'llama')])).rejects.toThrow(/llama.block_count/);
    await expect(open([])).rejects.toThrow(/general.architecture/);
    await expect(open(modelPairs('llama', [pair.u32('llama.vocab_size', 5)]))).rejects.toThrow(
      /differs from the vocabulary/,
    );
    const sizes = [pair.u32('llama.attention.key_length', 8), pair.u32('llama.attention.value_length', 4)];
    await expect(open(modelPairs('llama', sizes))).rejects.toThrow(/key and value heads differ/);
  });
});
