import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { buildSeq2Seq } from '../../lib/engine/build.js';
import type { WeightSource } from '../../lib/layers/weights.js';
import { findArchitecture } from '../../lib/models/index.js';
import { DeviceModel } from '../../lib/runtime/executable.js';
import type { TraceInputs, TraceTensor } from '../../lib/tasks/trace_inputs.js';
import { traceSeq2Seq } from '../../lib/tasks/trace_seq2seq.js';
import { traceSequences } from '../../lib/tasks/trace_sequences.js';
import { openCheckpoint } from '../../lib/weights/checkpoint.js';
import { readConfig } from '../../lib/weights/config.js';
import { checkpointSource } from '../../lib/weights/source.js';
import type { RawConfig } from '../../lib/weights/types.js';
import { type Fixture, fixtures, readJson } from '../support/fixtures.js';
import { allTensors, perturbed } from '../support/perturb.js';
import { error, readTensors } from '../support/safetensors.js';

/** Ten times the tolerance of the parity tests. */
const kSeen = 1e-3;

async function inputsOf(f: Fixture): Promise<TraceInputs> {
  const tensors = await readTensors(join(f.folder, 'inputs.safetensors'));
  return {
    inputIds: tensors.get('input_ids')!,
    attentionMask: tensors.get('attention_mask'),
    decoderInputIds: tensors.get('decoder_input_ids'),
    decoderAttentionMask: tensors.get('decoder_attention_mask'),
  };
}

async function logitsOf(config: RawConfig, source: WeightSource, inputs: TraceInputs): Promise<TraceTensor> {
  const reader = readConfig({ config, configFile: 'config.json' });
  const architecture = findArchitecture(reader.architectures[0], reader.modelType, 'config.json');
  if (architecture.kind !== 'seq2seq') throw new Error(`${architecture.modelType} is no encoder-decoder`);
  const model = await DeviceModel.open('cpu', { threads: 1 });
  try {
    const traced = await traceSeq2Seq(model, buildSeq2Seq(architecture, reader, source), inputs, 'f32');
    return traced.get('logits')!;
  } finally {
    await model.dispose();
  }
}

const withLogits = fixtures('seq2seq').filter((f) => !f.case.architecture.endsWith('EncoderModel'));

describe('every tensor and every feature of an encoder-decoder moves its logits', () => {
  for (const f of withLogits) {
    it(f.name, async () => {
      const checkpoint = await openCheckpoint(f.folder);
      const inputs = await inputsOf(f);
      const config = readJson(join(f.folder, 'config.json'));
      const source = checkpointSource(checkpoint);
      const expected = await logitsOf(config, source, inputs);
      const moved = async (changed: RawConfig, from: WeightSource): Promise<boolean> => {
        const { data } = await logitsOf(changed, from, inputs);
        return data.length !== expected.data.length || error(data, expected.data) > kSeen;
      };
      const values = await allTensors(checkpoint);
      const unseen: string[] = [];
      for (const name of f.case.tensors)
        if (f.case.inert?.includes(name) !== true && !(await moved(config, perturbed(source, name, values.get(name)!))))
          unseen.push(name);
      for (const { name, patch } of f.case.features)
        if (!(await moved({ ...config, ...patch } as RawConfig, source))) unseen.push(`feature ${name}`);
      expect(unseen).toEqual([]);
    });
  }
});

describe('greedy sequences are those of generate()', () => {
  for (const f of withLogits) {
    it(f.name, async () => {
      const expected = (await readTensors(join(f.folder, 'sequences.safetensors'))).get('sequences')!;
      const { inputIds, attentionMask } = await inputsOf(f);
      const { shape, data } = await traceSequences(
        await openCheckpoint(f.folder),
        { inputIds, attentionMask },
        { device: 'cpu', maxNewTokens: 16 },
      );
      expect([...shape]).toEqual(expected.shape);
      expect(Array.from(data, Number)).toEqual([...expected.data]);
    });
  }
});

describe('beam search gives the sequences and scores of generate()', () => {
  for (const f of withLogits) {
    it(f.name, async () => {
      const expected = await readTensors(join(f.folder, 'sequences.safetensors'));
      const { inputIds, attentionMask } = await inputsOf(f);
      const { shape, data, scores } = await traceSequences(
        await openCheckpoint(f.folder),
        { inputIds, attentionMask },
        { device: 'cpu', maxNewTokens: 16, numBeams: 4 },
      );
      expect([...shape]).toEqual(expected.get('beam_sequences')!.shape);
      expect(Array.from(data, Number)).toEqual([...expected.get('beam_sequences')!.data]);
      const wanted = expected.get('beam_scores')!.data;
      for (const [i, score] of scores!.entries())
        expect(Math.abs(score - wanted[i]!)).toBeLessThan(1e-4 * Math.abs(wanted[i]!));
    });
  }
});
