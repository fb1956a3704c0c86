import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { printProgram } from '../../lib/graph/program.js';
import { openCheckpoint } from '../../lib/weights/checkpoint.js';
import { fixture, fixtures, readJson } from '../support/fixtures.js';
import { build, program } from '../support/forward.js';

describe('both spellings of a config', () => {
  for (const { name, folder } of fixtures('models')) {
    it(`${name}: config.v4.json and config.v5.json give one program`, async () => {
      const checkpoint = await openCheckpoint(folder);
      const [v4, v5] = ['v4', 'v5'].map((spelling) => {
        const built = build(checkpoint, { config: readJson(join(folder, `config.${spelling}.json`)) });
        return program(built, [...built.builder.graph.outputs.keys()], 64);
      });
      expect(printProgram(v4!)).toBe(printProgram(v5!));
      // Also the bytes that the text leaves out: rotary frequencies.
      expect(v4).toEqual(v5);
    });
  }
});

describe('outputs', () => {
  for (const { name, folder } of fixtures('models')) {
    it(`${name} names its logits, hidden states and attention maps as Hugging Face counts them`, async () => {
      const { builder, layers } = build(await openCheckpoint(folder));
      const outputs = [...builder.graph.outputs.keys()];
      expect(outputs.filter((o) => o.startsWith('hidden_states.'))).toHaveLength(layers + 1);
      expect(outputs.filter((o) => o.startsWith('attentions.'))).toHaveLength(layers);
      expect(outputs).toContain('logits');
    });
  }
});

describe('cache groups', () => {
  const windows = async (name: string) =>
    build(await openCheckpoint(fixture('models', name).folder)).groups.map((g) => [g.name, g.window, g.layers]);

  it('part by window, layers alike together', async () => {
    expect(await windows('mistral')).toEqual([
      ['kv0', 7, 2],
      ['tokens', undefined, 0],
    ]);
    expect(await windows('qwen2')).toEqual([
      ['kv0', undefined, 2],
      ['tokens', undefined, 0],
    ]);
    expect(await windows('qwen2_window')).toEqual([
      ['kv0', undefined, 1],
      ['kv1', 6, 2],
      ['tokens', undefined, 0],
    ]);
    expect(await windows('gemma2')).toEqual([
      ['kv0', 6, 2],
      ['kv1', undefined, 1],
      ['tokens', undefined, 0],
    ]);
  });
});
