/** Steering and head masking of encoders, against checkpoints whose weights do the same. */
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { encoderProgram } from '../../lib/engine/encoder_host.js';
import { AbortError, OptionError } from '../../lib/errors.js';
import { printProgram } from '../../lib/graph/program.js';
import { load } from '../../lib/tasks/load.js';
import { writeSafetensors } from '../../lib/weights/write_safetensors.js';
import { fixture } from '../support/fixtures.js';
import { error, readTensors } from '../support/safetensors.js';

const ids = [5, 17, 30, 3, 29, 42, 7, 7, 31, 20];
const top = mkdtempSync(join(tmpdir(), 'verdant-look-'));
afterAll(() => rmSync(top, { recursive: true }));
let made = 0;

/** The fixture, with other weights. */
async function changed(folder: string, name: RegExp, change: (w: number[], cols: number) => void): Promise<string> {
  const path = join(top, String(made++));
  cpSync(folder, path, { recursive: true });
  const tensors = await readTensors(join(folder, 'model.safetensors'));
  const found = [...tensors.keys()].filter((n) => name.test(n));
  expect(found).toHaveLength(1);
  const all = new Map([...tensors].map(([n, t]) => [n, { shape: t.shape, data: Float32Array.from(t.data) }]));
  const tensor = all.get(found[0]!)!;
  const data = [...tensor.data];
  change(data, tensor.shape[1]!);
  tensor.data.set(data);
  await writeSafetensors(join(path, 'model.safetensors'), all);
  return path;
}

const cases: readonly [string, 'fillMask' | 'classify', RegExp][] = [
  ['bert_masked_lm', 'fillMask', /layer\.1\.attention\.output\.dense\.weight$/],
  ['bert_sequence', 'classify', /layer\.1\.attention\.output\.dense\.weight$/],
  ['distilbert_sequence', 'classify', /layer\.1\.attention\.out_lin\.weight$/],
  ['modernbert_sequence_cls', 'classify', /layers\.1\.attn\.Wo\.weight$/],
];

describe.each(cases)('%s', (name, task, projection) => {
  const { folder } = fixture('encoders', name);
  const options = { compute: 'f32', threads: 1, task } as const;

  it('a masked head is one whose columns of the output projection are zero', async () => {
    const model = await load(folder, options);
    const { attentions } = await model.trace({ inputIds: ids }, { attentions: [1] });
    const heads = attentions.get(1)!.shape[0]!;
    const zeroed = await changed(folder, projection, (w, cols) => {
      const size = cols / heads;
      for (let i = 0; i < w.length; i++) if (Math.floor((i % cols) / size) === 1) w[i] = 0;
    });
    const other = await load(zeroed, options);
    const maskHeads = [{ layer: 1, heads: [1] }];
    const masked = await model.forward({ inputIds: ids }, { maskHeads });
    const expected = await other.forward({ inputIds: ids });
    const plain = await model.forward({ inputIds: ids });
    // 0 · w and 0 · 0 are the same zero: not only near.
    expect([...masked.logits!.data]).toEqual([...expected.logits!.data]);
    expect(error(plain.logits!.data, expected.logits!.data)).toBeGreaterThan(1e-4);
    const traced = await model.trace({ inputIds: ids }, { maskHeads });
    expect([...traced.outputs.logits!.data]).toEqual([...masked.logits!.data]);
    await other.dispose();
    await model.dispose();
  });

  it('steering adds its vector to the hidden state, and nothing changes no bit', async () => {
    const model = await load(folder, options);
    const { built } = model.host;
    const outputs = ['logits'];
    const listing = printProgram(encoderProgram(built, outputs, 'f32'));
    const plain = await model.trace({ inputIds: ids }, { hiddenStates: true });
    const width = plain.hiddenStates.get(0)!.shape[1]!;
    const vector = Float32Array.from({ length: width }, (_, i) => Math.cos(3 * i + 1));
    for (const layer of plain.hiddenStates.keys()) {
      const none = { steer: [{ layer, vector: new Float32Array(width) }] };
      expect([...(await model.forward({ inputIds: ids }, none)).logits!.data]).toEqual([...plain.outputs.logits!.data]);
      const steer = [{ layer, vector, scale: 2 }];
      const steered = await model.trace({ inputIds: ids }, { hiddenStates: true, steer });
      const before = plain.hiddenStates.get(layer)!.data;
      expect([...steered.hiddenStates.get(layer)!.data]).toEqual(
        Array.from(before, (x, i) => Math.fround(x + 2 * vector[i % width]!)),
      );
      for (let i = 0; i < layer; i++)
        expect([...steered.hiddenStates.get(i)!.data]).toEqual([...plain.hiddenStates.get(i)!.data]);
      expect(error(steered.outputs.logits!.data, plain.outputs.logits!.data)).toBeGreaterThan(1e-4);
      // The same bits alone as beside others.
      const [alone] = await Promise.all([
        model.forward({ inputIds: ids }, { steer }),
        model.forward({ inputIds: ids.slice(3) }),
      ]);
      expect([...alone.logits!.data]).toEqual([...steered.outputs.logits!.data]);
    }
    expect(printProgram(encoderProgram(built, outputs, 'f32'))).toBe(listing);
    expect([...(await model.forward({ inputIds: ids })).logits!.data]).toEqual([...plain.outputs.logits!.data]);
    await model.dispose();
  });
});

it('requests of a task take them, and refuse what is not the model’s', async () => {
  const folder = join(import.meta.dirname, '../fixtures/sentence_transformers/cls_normalize');
  const model = await load(folder, { task: 'embed', threads: 1 });
  const text = 'One mole of carbon dioxide!';
  const plain = await model.embed([text, 'a mole']);
  const maskHeads = [{ layer: 0, heads: [0] }];
  const masked = await model.embed([text, 'a mole'], { maskHeads });
  expect(error(masked.data, plain.data)).toBeGreaterThan(1e-4);
  const traced = await model.trace(text, { maskHeads });
  expect([...traced.outputs.sentence_embedding!.data]).toEqual([...masked.data.subarray(0, model.size)]);
  const bad = [
    { maskHeads: [{ layer: 99, heads: [0] }] },
    { maskHeads: [{ layer: 0, heads: [99] }] },
    { maskHeads: [{ layer: 0, heads: [0], attention: 'cross' as const }] },
    { steer: [{ layer: 0, vector: [1] }] },
    { steer: [{ layer: 99, vector: [1] }] },
    { steer: 'up' as never },
  ];
  for (const options of bad) {
    await expect(model.embed(text, options)).rejects.toBeInstanceOf(OptionError);
    await expect(model.trace(text, options)).rejects.toBeInstanceOf(OptionError);
  }
  await expect(model.embed(text, { maskHeads, signal: AbortSignal.abort() })).rejects.toBeInstanceOf(AbortError);
  await model.dispose();
});
