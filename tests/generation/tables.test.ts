import { describe, expect, it } from 'vitest';
import { SampleTables, sampleIntegerColumns, sampleNumberColumns } from '../../lib/generation/tables.js';
import { resolved } from './sample_case.js';

describe('SampleTables', () => {
  const options = resolved(
    {
      temperature: 0.5,
      topK: 7,
      seed: 3,
      logitBias: { 4: 2, 5: -1 },
      badWords: [[6], [7, 8]],
      stopTokens: [9],
      minTokens: 2,
      logprobs: 3,
    },
    50,
    [1],
  );
  const plain = resolved({ mirostat: { tau: 4 }, seed: (1n << 63n) + 1n }, 50);

  it('starts empty, with one bound in each list', () => {
    const tables = new SampleTables();
    expect(tables.dims).toEqual({ sample_bounds: 1, biases: 0, bad_bounds: 1, bads: 0, stops: 0, breakers: 0, top: 0 });
    expect([...tables.inputs.stop_offsets!]).toEqual([0]);
  });

  it('lays out columns and lists of each row', () => {
    const tables = new SampleTables();
    tables.fill([
      { options, sampleIndex: 2, promptLength: 11 },
      { options: plain, sampleIndex: 0, promptLength: 5, mu: 6.5 },
      { options: plain, sampleIndex: 1, promptLength: 5 },
    ]);
    const number = (row: number, name: (typeof sampleNumberColumns)[number]) =>
      tables.numbers[row * sampleNumberColumns.length + sampleNumberColumns.indexOf(name)];
    const integer = (row: number, name: (typeof sampleIntegerColumns)[number]) =>
      tables.integers[row * sampleIntegerColumns.length + sampleIntegerColumns.indexOf(name)];
    expect([number(0, 'temperature'), number(0, 'top_p'), number(1, 'mirostat_mu'), number(2, 'mirostat_mu')]).toEqual([
      0.5, 1, 6.5, 8,
    ]);
    expect([
      integer(0, 'top_k'),
      integer(0, 'sample_index'),
      integer(0, 'prompt_length'),
      integer(0, 'min_new'),
    ]).toEqual([7, 2, 11, 2]);
    expect([integer(1, 'mirostat'), integer(1, 'seed_low'), integer(1, 'seed_high')]).toEqual([2, 1, -(2 ** 31)]);
    const inputs = Object.fromEntries(Object.entries(tables.inputs).map(([name, data]) => [name, [...data]]));
    expect(inputs).toMatchObject({
      bias_offsets: [0, 2, 2, 2],
      bias_ids: [4, 5],
      bias_values: [2, -1],
      bad_offsets: [0, 2, 2, 2],
      bad_starts: [0, 1, 3],
      bad_ids: [6, 7, 8],
      stop_offsets: [0, 2, 2, 2],
      stop_ids: [1, 9],
      breaker_offsets: [0, 0, 0, 0],
    });
    expect(tables.dims).toEqual({ sample_bounds: 4, biases: 2, bad_bounds: 3, bads: 3, stops: 2, breakers: 0, top: 3 });
  });

  it('grows, and forgets the batch before', () => {
    const tables = new SampleTables();
    const rows = Array.from({ length: 100 }, (_, i) => ({ options, sampleIndex: i, promptLength: 1 }));
    tables.fill(rows);
    expect(tables.inputs.bias_ids!.length).toBe(200);
    expect(tables.integers[99 * sampleIntegerColumns.length + sampleIntegerColumns.indexOf('sample_index')]).toBe(99);
    tables.fill(rows.slice(0, 1));
    expect([...tables.inputs.bias_ids!]).toEqual([4, 5]);
    expect(tables.numbers.length).toBe(sampleNumberColumns.length);
  });
});
