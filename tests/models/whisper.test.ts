import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { buildSeq2Seq } from '../../lib/engine/build.js';
import { InputError, UnsupportedError } from '../../lib/errors.js';
import type { WeightSource } from '../../lib/layers/weights.js';
import { whisper } from '../../lib/models/whisper.js';
import { DeviceModel } from '../../lib/runtime/executable.js';
import { type SpectrogramTraceInputs, traceModel } from '../../lib/tasks/trace.js';
import { traceSeq2Seq } from '../../lib/tasks/trace_seq2seq.js';
import { openCheckpoint } from '../../lib/weights/checkpoint.js';
import { readConfig } from '../../lib/weights/config.js';
import { checkpointSource } from '../../lib/weights/source.js';
import type { RawConfig } from '../../lib/weights/types.js';
import { fixture, fixtures, readJson } from '../support/fixtures.js';
import { allTensors, perturbed } from '../support/perturb.js';
import { testDevices } from '../support/run_op.js';
import { error, readTensors } from '../support/safetensors.js';

/** Largest |Δ| as a share of the largest expected value. */
const kTolerance = 1e-4;

async function inputsOf(folder: string): Promise<SpectrogramTraceInputs> {
  const tensors = await readTensors(join(folder, 'inputs.safetensors'));
  return { inputFeatures: tensors.get('input_features')!, decoderInputIds: tensors.get('decoder_input_ids')! };
}

/** Cases with what the class returns; others have transcripts. */
const cases = fixtures('whisper').filter((f) => f.case.features !== undefined);

describe('whisper: logits, hidden states and attention maps are those of transformers', () => {
  for (const { name, folder } of cases)
    for (const device of testDevices())
      it(`${name} on ${device}`, async () => {
        const expected = await readTensors(join(folder, 'expected.safetensors'));
        const traced = await traceModel(await openCheckpoint(folder), await inputsOf(folder), { device, threads: 1 });
        expect([...traced.keys()].sort()).toEqual([...expected.keys()].sort());
        for (const [output, { shape, data }] of expected) {
          expect(traced.get(output)!.shape, output).toEqual(shape);
          expect(error(traced.get(output)!.data, data), output).toBeLessThan(kTolerance);
        }
      });
});

describe('whisper: every tensor and every feature moves the logits', () => {
  for (const f of cases)
    it(f.name, async () => {
      const checkpoint = await openCheckpoint(f.folder);
      const inputs = await inputsOf(f.folder);
      const source = checkpointSource(checkpoint);
      const config = readJson(join(f.folder, 'config.json'));
      const logitsOf = async (changed: RawConfig, from: WeightSource): Promise<Float32Array> => {
        const model = await DeviceModel.open('cpu', { threads: 1 });
        try {
          const built = buildSeq2Seq(whisper, readConfig({ config: changed, configFile: 'config.json' }), from);
          return (await traceSeq2Seq(model, built, inputs, 'f32')).get('logits')!.data;
        } finally {
          await model.dispose();
        }
      };
      const expected = await logitsOf(config, source);
      const values = await allTensors(checkpoint);
      const unseen: string[] = [];
      for (const name of f.case.tensors)
        if (error(await logitsOf(config, perturbed(source, name, values.get(name)!)), expected) < 10 * kTolerance)
          unseen.push(name);
      for (const { name, patch } of f.case.features)
        if (error(await logitsOf({ ...config, ...patch } as RawConfig, source), expected) < 10 * kTolerance)
          unseen.push(`feature ${name}`);
      expect(unseen).toEqual([]);
    });
});

it('whisper: inputs of other sizes, or of other models, are refused', async () => {
  const { folder } = fixture('whisper', 'whisper');
  const checkpoint = await openCheckpoint(folder);
  const good = await inputsOf(folder);
  const [batch, bands, frames] = good.inputFeatures.shape as [number, number, number];
  const trace = (inputs: object): Promise<unknown> => traceModel(checkpoint, inputs as SpectrogramTraceInputs);
  const data = good.inputFeatures.data;
  const features = (shape: number[]) => ({ ...good, inputFeatures: { shape, data } });
  await expect(trace(features([batch, frames, bands]))).rejects.toThrow(InputError);
  await expect(trace(features([batch * bands, frames]))).rejects.toThrow(InputError);
  const holed = Float32Array.from(data, (v, i) => (i === 5 ? Number.NaN : v));
  await expect(trace({ ...good, inputFeatures: { shape: [batch, bands, frames], data: holed } })).rejects.toThrow(
    InputError,
  );
  await expect(trace({ inputFeatures: good.inputFeatures })).rejects.toThrow(UnsupportedError);
  await expect(trace({ inputIds: good.decoderInputIds })).rejects.toThrow(InputError);
});
