import { describe, expect, it } from 'vitest';
import { tables } from '../../lib/cli/lens.js';
import type { Lens } from '../../lib/tasks/lens.js';
import { fixture } from '../support/fixtures.js';
import { verdant } from './cli.js';

describe('verdant lens', () => {
  it('prints a row for each layer, the last one first', async () => {
    const { code, stdout, stderr } = await verdant(['lens', 'The mole dug']);
    expect([code, stderr]).toEqual([0, '']);
    const lines = stdout.trimEnd().split('\n');
    expect(lines[0]).toMatch(/^layer\s+\S/);
    const layers = lines.slice(1).map((line) => Number(/^\s*(\d+) {2}/.exec(line)![1]));
    expect(layers.length).toBeGreaterThan(2);
    expect(layers).toEqual([...layers.keys()].reverse());
    for (const line of lines.slice(1)) expect(line).toMatch(/ \d+%$/);
  });

  it('as data, for chosen layers', async () => {
    const { code, stdout } = await verdant(['lens', 'The mole dug', '--json', '--top', '3', '--layers', '0,2']);
    expect(code).toBe(0);
    const { ids, tokens, layers } = JSON.parse(stdout);
    expect(tokens).toHaveLength(ids.length);
    expect(Object.keys(layers)).toEqual(['0', '2']);
    expect(layers[2]).toHaveLength(ids.length);
    expect(layers[2][0]).toHaveLength(3);
  });

  it('says what is wrong', async () => {
    const layer = await verdant(['lens', 'The mole', '--layers', '99']);
    expect(layer.code).toBe(2);
    expect(layer.stderr).toMatch(/bad layers; expected numbers from 0 to \d+; found 99/);
    expect((await verdant(['lens', ''])).stderr).toMatch(/the text is empty/);
    const words = await verdant(['lens', fixture('models', 'llama').folder, 'text']);
    expect(words.stderr).toMatch(/no tokenizer/);
  });

  it('breaks wide tables into blocks', () => {
    const cell = (token: string) => [{ id: 1, token, probability: 0.5 }];
    const layers = new Map([
      [0, ['aa', 'bb', 'cc'].map(cell)],
      [1, ['dd', 'ee', 'ff'].map(cell)],
    ]);
    const lens: Lens = { ids: Int32Array.of(1, 2, 3), tokens: ['x', 'y', 'z'], layers };
    expect(tables(lens, 24)).toBe(
      'layer  x       y\n    1  dd 50%  ee 50%\n    0  aa 50%  bb 50%\n\nlayer  z\n    1  ff 50%\n    0  cc 50%\n',
    );
  });
});
