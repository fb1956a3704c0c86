import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { BuiltDecoder } from '../../lib/engine/build.js';
import { DeviceModel } from '../../lib/runtime/executable.js';
import { openCheckpoint } from '../../lib/weights/checkpoint.js';
import { checkpointSource } from '../../lib/weights/source.js';
import type { RawConfig } from '../../lib/weights/types.js';
import { type Fixture, fixtures, readJson } from '../support/fixtures.js';
import { build, forward, program } from '../support/forward.js';
import { allTensors, perturbed } from '../support/perturb.js';
import { error, readTensors } from '../support/safetensors.js';

/** Ten times the tolerance of the parity tests: what a fault in any tensor or feature moves the logits by, at least. */
const kSeen = 1e-3;

interface Row {
  readonly ids: readonly number[];
  readonly positions: readonly number[];
}

/** The rows of the fixture without padding. */
async function rowsOf(f: Fixture): Promise<Row[]> {
  const tensors = await readTensors(join(f.folder, 'inputs.safetensors'));
  const ids = tensors.get('input_ids')!;
  const mask = tensors.get('attention_mask')?.data;
  const [batch, length] = ids.shape as [number, number];
  return Array.from({ length: batch }, (_, b) => {
    const places = Array.from({ length }, (_, i) => i).filter((i) => mask === undefined || mask[b * length + i] === 1);
    return { ids: places.map((i) => ids.data[b * length + i]!), positions: places };
  });
}

/** Logits of all rows, one after another. */
async function logitsOf(built: BuiltDecoder, rows: readonly Row[]): Promise<number[]> {
  const model = await DeviceModel.open('cpu', { threads: 1 });
  try {
    const lowered = program(built, ['logits'], Math.max(...rows.map((r) => r.ids.length)));
    const made: number[] = [];
    for (const { ids, positions } of rows) made.push(...(await forward(model, lowered, ids, { positions })).logits!);
    return made;
  } finally {
    await model.dispose();
  }
}

describe('every tensor and every feature moves the logits', () => {
  for (const f of fixtures('models')) {
    it(f.name, async () => {
      const checkpoint = await openCheckpoint(f.folder);
      const rows = await rowsOf(f);
      const config = readJson(join(f.folder, 'config.v5.json'));
      const expected = await logitsOf(build(checkpoint, { config }), rows);
      const source = checkpointSource(checkpoint);
      const values = await allTensors(checkpoint);
      const unseen: string[] = [];
      for (const name of f.case.tensors) {
        if (f.case.inert?.includes(name) === true) continue;
        const changed = perturbed(source, name, values.get(name)!);
        const logits = await logitsOf(build(checkpoint, { config, source: changed }), rows);
        if (!(error(logits, expected) > kSeen)) unseen.push(name);
      }
      for (const { name, patch } of f.case.features) {
        const logits = await logitsOf(build(checkpoint, { config: { ...config, ...patch } as RawConfig }), rows);
        if (!(error(logits, expected) > kSeen)) unseen.push(`feature ${name}`);
      }
      expect(unseen).toEqual([]);
      expect(f.case.features.length).toBeGreaterThan(0);
    });
  }
});
