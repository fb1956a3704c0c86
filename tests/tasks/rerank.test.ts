/** rerank() against CrossEncoder of sentence-transformers: one class, its sigmoid, or the logit itself. */
import { cpSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { ContextOverflowError, UnsupportedError } from '../../lib/errors.js';
import { load } from '../../lib/tasks/load.js';
import type { RankedDocument } from '../../lib/tasks/rerank.js';
import { TempFolder } from '../support/bytes.js';
import { readJson } from '../support/fixtures.js';
import { error } from '../support/safetensors.js';

const folder = join(import.meta.dirname, '../fixtures/rerank');
const { query, documents, scores, logits, ranked, identity } = readJson(join(folder, 'expected.json')) as {
  readonly query: string;
  readonly documents: readonly string[];
  readonly scores: readonly number[];
  readonly logits: readonly number[];
  readonly ranked: readonly number[];
  readonly identity: string;
};
const temp = new TempFolder();
afterAll(() => temp.dispose());

function patched(patch: object): string {
  const path = join(temp.path, `model${JSON.stringify(patch).length}`);
  cpSync(folder, path, { recursive: true });
  writeFileSync(join(path, 'config.json'), JSON.stringify({ ...readJson(join(folder, 'config.json')), ...patch }));
  return path;
}

function expectScores(found: readonly RankedDocument[], expected: readonly number[]): void {
  expect(found.map((d) => d.index)).toEqual(ranked);
  const inOrder = (of: readonly number[]): Float32Array => Float32Array.from(ranked, (i) => of[i]!);
  expect(
    error(
      Float32Array.from(found, (d) => d.score),
      inOrder(expected),
    ),
  ).toBeLessThan(1e-5);
  expect(
    error(
      Float32Array.from(found, (d) => d.logit),
      inOrder(logits),
    ),
  ).toBeLessThan(1e-5);
}

it('gives the order, scores and logits of CrossEncoder, long documents cut', async () => {
  await using model = await load(folder, { task: 'rerank', device: 'cpu' });
  const found = await model.rerank(query, documents);
  expectScores(found, scores);
  expect(await model.rerank(query, documents, { top: 2 })).toEqual(found.slice(0, 2));
  for (const [index, document] of documents.entries())
    expect(await model.rerank(query, [document])).toEqual([{ ...found.find((d) => d.index === index)!, index: 0 }]);
  await expect(model.rerank(query, documents, { truncate: 'error' })).rejects.toThrow(ContextOverflowError);
});

it.each([
  { sentence_transformers: { activation_fn: identity, version: '6.0.1' } },
  { sbert_ce_default_activation_function: identity },
])('scores are logits where the config says so: %o', async (patch) => {
  await using model = await load(patched(patch), { task: 'rerank', device: 'cpu' });
  expectScores(await model.rerank(query, documents), logits);
});

it('refuses another activation by name', async () => {
  const path = patched({ sentence_transformers: { activation_fn: 'torch.nn.modules.activation.Tanh' } });
  await expect(load(path, { task: 'rerank' })).rejects.toThrow(UnsupportedError);
  await expect(load(path, { task: 'rerank' })).rejects.toThrow(/expected Sigmoid or Identity; found .*Tanh/);
});
