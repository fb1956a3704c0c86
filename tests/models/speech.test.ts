import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { AudioHost, packAudioStep } from '../../lib/engine/audio_host.js';
import { type BuiltAudio, buildAudio } from '../../lib/engine/build.js';
import { lower } from '../../lib/graph/lower.js';
import type { WeightSource } from '../../lib/layers/weights.js';
import { findArchitecture } from '../../lib/models/index.js';
import { DeviceModel } from '../../lib/runtime/executable.js';
import { traceModel } from '../../lib/tasks/trace.js';
import { type AudioTraceInputs, traceAudio } from '../../lib/tasks/trace_audio.js';
import type { TraceTensor } from '../../lib/tasks/trace_inputs.js';
import { openCheckpoint } from '../../lib/weights/checkpoint.js';
import { readConfig } from '../../lib/weights/config.js';
import { randomSource } from '../../lib/weights/random_source.js';
import { checkpointSource } from '../../lib/weights/source.js';
import type { RawConfig } from '../../lib/weights/types.js';
import { expectSameBits } from '../support/compare.js';
import { fixture, fixtures, readJson } from '../support/fixtures.js';
import { allTensors, perturbed } from '../support/perturb.js';
import { Random } from '../support/random.js';
import { testDevices } from '../support/run_op.js';
import { error, readTensors } from '../support/safetensors.js';

/** Largest |Δ| as a share of the largest expected value. */
const kTolerance = 1e-4;

async function inputsOf(folder: string): Promise<AudioTraceInputs> {
  const tensors = await readTensors(join(folder, 'inputs.safetensors'));
  return { inputValues: tensors.get('input_values')!, attentionMask: tensors.get('attention_mask') };
}

function build(config: RawConfig, source: WeightSource): BuiltAudio {
  const reader = readConfig({ config, configFile: 'config.json' });
  const className = reader.architectures[0]!;
  const architecture = findArchitecture(className, reader.modelType, 'config.json');
  if (architecture.kind !== 'audio') throw new Error(`${className} reads no waveforms`);
  return buildAudio(architecture, className, reader, source);
}

async function withModel<T>(run: (model: DeviceModel) => Promise<T>, device = 'cpu', threads = 1): Promise<T> {
  const model = await DeviceModel.open(device, { threads });
  try {
    return await run(model);
  } finally {
    await model.dispose();
  }
}

describe('speech: logits, hidden states and attention maps are those of transformers', () => {
  for (const { name, folder } of fixtures('speech'))
    for (const device of testDevices())
      it(`${name} on ${device}`, async () => {
        const expected = await readTensors(join(folder, 'expected.safetensors'));
        const traced = await traceModel(await openCheckpoint(folder), await inputsOf(folder), { device, threads: 1 });
        expect([...traced.keys()].sort()).toEqual([...expected.keys()].sort());
        for (const [output, { shape, data }] of expected) {
          const made = traced.get(output)!;
          expect(made.shape, output).toEqual(shape);
          expect(error(made.data, data), output).toBeLessThan(kTolerance);
          expect(data.every((v, i) => v !== 0 || made.data[i] === 0 || !output.startsWith('attentions.'))).toBe(true);
        }
      });
});

describe('every tensor and every feature moves the outputs', () => {
  for (const f of fixtures('speech'))
    it(f.name, async () => {
      const checkpoint = await openCheckpoint(f.folder);
      const inputs = await inputsOf(f.folder);
      const outputsOf = (config: RawConfig, source: WeightSource): Promise<Map<string, TraceTensor>> =>
        withModel((model) => traceAudio(model, build(config, source), inputs, 'f32'));
      for (const spelling of ['config.json', 'config.v5.json']) {
        const config = readJson(join(f.folder, spelling));
        const source = checkpointSource(checkpoint);
        const expected = await outputsOf(config, source);
        const moved = async (changed: RawConfig, from: WeightSource): Promise<boolean> => {
          const found = await outputsOf(changed, from);
          return [...expected].some(([name, { data }]) => {
            const other = found.get(name)!.data;
            return other.length !== data.length || error(other, data) > 10 * kTolerance;
          });
        };
        const values = await allTensors(checkpoint);
        const unseen: string[] = [];
        for (const name of spelling === 'config.json' ? f.case.tensors : [])
          if (
            f.case.inert?.includes(name) !== true &&
            !(await moved(config, perturbed(source, name, values.get(name)!)))
          )
            unseen.push(name);
        for (const { name, patch } of f.case.features)
          if (!(await moved({ ...config, ...patch } as RawConfig, source))) unseen.push(`feature ${name}`);
        expect(unseen).toEqual([]);
        expect(f.case.features.length).toBeGreaterThan(0);
      }
    });
});

describe('a clip has the same bits alone and with others, on one thread and two', () => {
  for (const { name, folder } of fixtures('speech').filter(({ case: c }) => c.architecture.endsWith('ForCTC')))
    it.each(testDevices())(`${name} on %s`, async (device) => {
      const checkpoint = await openCheckpoint(folder);
      const built = build(readJson(join(folder, 'config.json')), checkpointSource(checkpoint));
      const program = lower(built.builder.graph, { outputs: ['logits'] });
      const random = new Random(5);
      const clips = [3000, 64, 65, 900, 10_007].map((n) => random.normal(n));
      const run = (of: readonly Float32Array[], threads: number): Promise<Float32Array> =>
        withModel(
          async (model) => {
            const { dims, inputs } = packAudioStep(built.builder, of);
            return (await (await model.compile(program)).run(dims, inputs)).outputs.logits as Float32Array;
          },
          device,
          threads,
        );
      const all = await run(clips, 2);
      expectSameBits(await run(clips, 1), all);
      let at = 0;
      for (const clip of clips) {
        const alone = await run([clip], 2);
        expectSameBits(alone, all.slice(at, at + alone.length));
        at += alone.length;
      }
      expect(at).toBe(all.length);
    });
});

describe('configs that are refused by name', () => {
  it.each([
    ['wav2vec2_layer', { add_adapter: true }, 'add_adapter'],
    ['wav2vec2_layer', { adapter_attn_dim: 16 }, 'adapter_attn_dim'],
    ['hubert', { conv_pos_batch_norm: true }, 'conv_pos_batch_norm'],
    ['hubert', { feat_extract_norm: 'batch' }, 'feat_extract_norm'],
    ['wav2vec2', { conv_stride: [5, 2] }, 'conv_stride'],
    ['wav2vec2', { conv_dim: [9, 12] }, 'conv_dim'],
    ['wav2vec2', { conv_kernel: [10, 0, 2] }, 'conv_kernel'],
    ['wav2vec2', { conv_kernel: [] }, 'conv_kernel'],
    ['wav2vec2', { conv_stride: [5, 2.5, 2] }, 'conv_stride'],
    ['wav2vec2', { num_conv_pos_embedding_groups: 3 }, 'num_conv_pos_embedding_groups'],
    ['wav2vec2', { feat_extract_activation: 'mish' }, 'feat_extract_activation'],
  ])('%s with %o', async (name, patch, field) => {
    const { folder } = fixture('speech', name);
    const checkpoint = await openCheckpoint(folder);
    const config = { ...readJson(join(folder, 'config.json')), ...patch } as RawConfig;
    expect(() => build(config, checkpointSource(checkpoint))).toThrow(
      expect.objectContaining({ code: 'ERR_CONFIG', message: expect.stringContaining(field) }),
    );
  });

  it('a tensor that is missing, and one that no part reads', async () => {
    const { folder } = fixture('speech', 'wav2vec2');
    const checkpoint = await openCheckpoint(folder);
    const config = readJson(join(folder, 'config.json'));
    const source = checkpointSource(checkpoint);
    const without = { ...source, find: (n: string) => (n.endsWith('weight_g') ? undefined : source.find(n)) };
    expect(() => build(config, without)).toThrow(expect.objectContaining({ code: 'ERR_TENSOR_MISSING' }));
    const more = { ...source, names: [...source.names, 'wav2vec2.encoder.layers.7.layer_norm.weight'] };
    expect(() => build(config, more)).toThrow(expect.objectContaining({ code: 'ERR_TENSOR_UNUSED' }));
  });
});

it('audio that needs more memory than there is is refused before it is heard', async () => {
  const config = {
    ...{ architectures: ['Wav2Vec2ForCTC'], model_type: 'wav2vec2', hidden_size: 8, num_hidden_layers: 1 },
    ...{ num_attention_heads: 1, intermediate_size: 8, num_conv_pos_embeddings: 4, num_conv_pos_embedding_groups: 2 },
    ...{ conv_dim: [65_536, 4], conv_kernel: [10, 3], conv_stride: [5, 2] },
  };
  const host = await AudioHost.open(build(config, randomSource('f32', 1, [])), ['logits'], { threads: 1 });
  try {
    // 3.84 million rows of 65 536 floats: a terabyte.
    const heard = host.run(new Float32Array(1200 * 16_000));
    await expect(heard).rejects.toMatchObject({ code: 'ERR_OUT_OF_MEMORY', message: expect.stringContaining('chunk') });
    expect((await host.run(new Float32Array(400))).logits!.length).toBe(39 * 32);
  } finally {
    await host.dispose();
  }
});

describe('trace refuses', () => {
  const values = (n: number): TraceTensor => ({ shape: [1, n], data: new Random(1).normal(n) });
  const codeOf = async (inputs: unknown, folder = fixture('speech', 'wav2vec2').folder): Promise<string> =>
    traceModel(await openCheckpoint(folder), inputs as AudioTraceInputs).then(
      () => 'none',
      (e: { code: string }) => e.code,
    );

  it('clips shorter than a frame sees, wrong shapes, NaN, masks of other numbers, ids', async () => {
    expect(await codeOf({ inputValues: values(25) })).toBe('ERR_INPUT');
    expect(await codeOf({ inputValues: { shape: [1, 9], data: new Float32Array(8) } })).toBe('ERR_INPUT');
    expect(await codeOf({ inputValues: { shape: [100], data: new Float32Array(100) } })).toBe('ERR_INPUT');
    expect(await codeOf({ inputValues: { shape: [1, 90], data: new Float32Array(90).fill(Number.NaN) } })).toBe(
      'ERR_INPUT',
    );
    const mask = { shape: [1, 90], data: new Float32Array(90).fill(2) };
    expect(await codeOf({ inputValues: values(90), attentionMask: mask })).toBe('ERR_INPUT');
    expect(await codeOf({ inputIds: { shape: [1, 2], data: [1, 2] } })).toBe('ERR_INPUT');
    expect(await codeOf(undefined)).toBe('ERR_INPUT');
    expect(await codeOf({ inputValues: values(30) })).toBe('none');
    expect(await codeOf({ inputValues: values(90) }, fixture('encoders', 'bert').folder)).toBe('ERR_INPUT');
  });

  it('a checkpoint whose config names no class of ours', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'verdant-speech-'));
    try {
      await cp(fixture('speech', 'wav2vec2').folder, folder, { recursive: true });
      const config = readJson(join(folder, 'config.json'));
      const changed = { ...config, architectures: ['Wav2Vec2ForXVector'] };
      await writeFile(join(folder, 'config.json'), JSON.stringify(changed));
      expect(await codeOf({ inputValues: values(90) }, folder)).toBe('ERR_UNSUPPORTED');
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
