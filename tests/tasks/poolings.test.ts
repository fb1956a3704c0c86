/** Every mode of sentence-transformers' Pooling, alone and several at once, in both spellings of its config. */
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { load } from '../../lib/tasks/load.js';
import { expectSameBits } from '../support/compare.js';
import { readJson } from '../support/fixtures.js';
import { error, readTensors } from '../support/safetensors.js';

const fixtures = join(import.meta.dirname, '../fixtures/sentence_transformers');
const top = mkdtempSync(join(tmpdir(), 'verdant-poolings-'));
afterAll(() => rmSync(top, { recursive: true, force: true }));

const fields: Readonly<Record<string, string>> = {
  cls: 'pooling_mode_cls_token',
  max: 'pooling_mode_max_tokens',
  mean: 'pooling_mode_mean_tokens',
  mean_sqrt_len_tokens: 'pooling_mode_mean_sqrt_len_tokens',
  weightedmean: 'pooling_mode_weightedmean_tokens',
  lasttoken: 'pooling_mode_lasttoken',
};
const { texts } = readJson(join(fixtures, 'cls_normalize/case.json')) as { texts: string[] };
const expected = await readTensors(join(fixtures, 'poolings.safetensors'));

/** Embeddings of the texts, and of each alone. */
async function embeddings(pooling: object): Promise<[Float32Array, Float32Array[]]> {
  const folder = mkdtempSync(join(top, 'model-'));
  cpSync(join(fixtures, 'cls_normalize'), folder, { recursive: true });
  const modules = ['Transformer', 'Pooling'].map((kind, i) => ({
    ...{ idx: i, name: String(i), path: i === 0 ? '' : '1_Pooling', type: `sentence_transformers.models.${kind}` },
  }));
  writeFileSync(join(folder, 'modules.json'), JSON.stringify(modules));
  writeFileSync(join(folder, '1_Pooling/config.json'), JSON.stringify(pooling));
  await using model = await load(folder, { task: 'embed', device: 'cpu' });
  const alone: Float32Array[] = [];
  for (const text of texts) alone.push((await model.embed(text)).data);
  return [(await model.embed(texts)).data, alone];
}

it('covers all modes', () => expect([...expected.keys()]).toEqual(expect.arrayContaining(Object.keys(fields))));

it.each([...expected.keys()])('%s: the vectors of sentence-transformers', async (name) => {
  const { data, shape } = expected.get(name)!;
  const modes = name.split('+');
  const [found, alone] = await embeddings({
    embedding_dimension: 20,
    pooling_mode: modes.length === 1 ? name : modes,
  });
  expect(found.length).toBe(data.length);
  expect(error(found, data)).toBeLessThan(1e-4);
  const size = shape[1]!;
  for (const [i, row] of alone.entries()) expectSameBits(row, found.slice(i * size, (i + 1) * size), `${name} ${i}`);
  // Older files have a field for each mode and put them together in the order of `fields`.
  if (
    modes.join() !==
    Object.keys(fields)
      .filter((mode) => modes.includes(mode))
      .join()
  )
    return;
  const older = Object.fromEntries(Object.entries(fields).map(([mode, field]) => [field, modes.includes(mode)]));
  const [same] = await embeddings({ word_embedding_dimension: 20, ...older });
  expectSameBits(same, found, name);
});
