import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { buildEncoder } from '../../lib/engine/build.js';
import type { WeightSource } from '../../lib/layers/weights.js';
import { findArchitecture } from '../../lib/models/index.js';
import { DeviceModel } from '../../lib/runtime/executable.js';
import { traceEncoderRows } from '../../lib/tasks/trace_encoder.js';
import { readTraceRows, type TraceInputs, type TraceTensor } from '../../lib/tasks/trace_inputs.js';
import { openCheckpoint } from '../../lib/weights/checkpoint.js';
import { readConfig } from '../../lib/weights/config.js';
import { checkpointSource } from '../../lib/weights/source.js';
import type { RawConfig } from '../../lib/weights/types.js';
import { fixtures, readJson } from '../support/fixtures.js';
import { allTensors, perturbed } from '../support/perturb.js';
import { error, readTensors } from '../support/safetensors.js';

/** Ten times the tolerance of the parity tests. */
const kSeen = 1e-3;

async function outputsOf(
  config: RawConfig,
  source: WeightSource,
  inputs: TraceInputs,
): Promise<Map<string, TraceTensor>> {
  const reader = readConfig({ config, configFile: 'config.json' });
  const className = reader.architectures[0]!;
  const architecture = findArchitecture(className, reader.modelType, 'config.json');
  if (architecture.kind !== 'encoder') throw new Error(`${className} is no encoder`);
  const built = buildEncoder(architecture, className, reader, source);
  const { learnedPositions: positions, segments } = built.builder;
  const rows = readTraceRows(inputs, { vocabSize: built.vocabSize, positions, segments });
  const model = await DeviceModel.open('cpu', { threads: 1 });
  try {
    return await traceEncoderRows(model, built, rows, 'f32');
  } finally {
    await model.dispose();
  }
}

describe('every tensor and every feature of an encoder moves its outputs', () => {
  for (const f of fixtures('encoders')) {
    it(f.name, async () => {
      const checkpoint = await openCheckpoint(f.folder);
      const tensors = await readTensors(join(f.folder, 'inputs.safetensors'));
      const inputs = {
        inputIds: tensors.get('input_ids')!,
        attentionMask: tensors.get('attention_mask'),
        tokenTypeIds: tensors.get('token_type_ids'),
      };
      const config = readJson(join(f.folder, 'config.json'));
      const source = checkpointSource(checkpoint);
      const expected = await outputsOf(config, source, inputs);
      const moved = async (changed: RawConfig, from: WeightSource): Promise<boolean> => {
        const found = await outputsOf(changed, from, inputs);
        return [...expected].some(([name, { data }]) => {
          const other = found.get(name)!.data;
          return other.length !== data.length || error(other, data) > kSeen;
        });
      };
      const values = await allTensors(checkpoint);
      const unseen: string[] = [];
      for (const name of f.case.tensors) {
        if (f.case.inert?.includes(name) === true) continue;
        if (!(await moved(config, perturbed(source, name, values.get(name)!)))) unseen.push(name);
      }
      for (const { name, patch } of f.case.features)
        if (!(await moved({ ...config, ...patch } as RawConfig, source))) unseen.push(`feature ${name}`);
      expect(unseen).toEqual([]);
      expect(f.case.features.length).toBeGreaterThan(0);
    });
  }
});
