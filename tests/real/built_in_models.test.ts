/** What comes with the package: four small models, each with its card and what its figures were measured on. */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { builtInModel, builtInModels, OptionError } from '../../lib/index.js';
import { openCheckpoint } from '../../lib/weights/checkpoint.js';

const root = join(import.meta.dirname, '../..');

describe.each(builtInModels)('verdant-%s', (name) => {
  const folder = builtInModel(name);

  it('is published with its card, its scripts and its figures', () => {
    const { files } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { files: string[] };
    expect(files).toContain(`models/verdant-${name}`);
    const parts = [
      'README.md',
      'train.py',
      'evaluate.py',
      'training.json',
      'heldout.json',
      'heldout.jsonl',
      'golden.json',
    ];
    expect(parts.filter((part) => !existsSync(join(folder, part)))).toEqual([]);
  });

  it('has as many parameters as its card says, in a small file', async () => {
    const card = /Parameters \| ([\d,]+)/
      .exec(readFileSync(join(folder, 'README.md'), 'utf8'))![1]!
      .replaceAll(',', '');
    const { tensors } = await openCheckpoint(folder);
    const stored = [...tensors.values()].reduce((n, t) => n + t.shape.reduce((a, b) => a * b, 1), 0);
    expect(stored).toBe(Number(card));
    expect(stored).toBeLessThan(name === 'tiny' ? 2e6 : 1e6);
    expect(statSync(join(folder, 'model.safetensors')).size).toBeLessThan(name === 'tiny' ? 4e6 : 1e6);
  });
});

it('other names are refused', () => {
  expect(() => builtInModel('huge' as never)).toThrow(OptionError);
});
