/** Graphs of the tour that a user could have written: sinusoids and a GRU with additive attention. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { translate } from '../../lib/tour/additive_attention.js';
import { sinusoidTable } from '../../lib/tour/sinusoids.js';
import { error } from '../support/safetensors.js';

describe('sinusoidal positions', () => {
  it('are the table of the paper, interleaved', async () => {
    const { data, shape } = await sinusoidTable(4, 4);
    expect(shape).toEqual([4, 4]);
    const printed = [
      ...[0, 1, 0, 1],
      ...[0.8415, 0.5403, 0.01, 1],
      ...[0.9093, -0.4161, 0.02, 0.9998],
      ...[0.1411, -0.99, 0.03, 0.9996],
    ];
    for (const [i, value] of printed.entries()) expect(Math.abs(data[i]! - value)).toBeLessThan(6e-5);
  });

  it('hold far out and in wide rows', async () => {
    const { data } = await sinusoidTable(200, 64);
    const expected = Float64Array.from({ length: 200 * 64 }, (_, at) => {
      const [p, c] = [Math.floor(at / 64), at % 64];
      const angle = p / 10_000 ** ((c - (c % 2)) / 64);
      return c % 2 === 0 ? Math.sin(angle) : Math.cos(angle);
    });
    expect(error(data, expected)).toBeLessThan(2e-5);
  });
});

interface Expected {
  readonly seed: number;
  readonly sources: number[][];
  readonly targets: number[][];
  /** (writes, seqs, reads) */
  readonly weights: number[][][];
  /** (writes, seqs, words) */
  readonly logits: number[][][];
}

it("additive attention over GRUs gives PyTorch's weights and logits", async () => {
  const path = join(import.meta.dirname, '../fixtures/tour/additive_attention.json');
  const expected = JSON.parse(readFileSync(path, 'utf8')) as Expected;
  const made = await translate(expected.sources, expected.targets, expected.seed);
  for (const [i, weights] of expected.weights.entries()) {
    expect(error(made[`weights.${i}`]!.data, weights.flat())).toBeLessThan(1e-5);
    expect(error(made[`logits.${i}`]!.data, expected.logits[i]!.flat())).toBeLessThan(1e-5);
  }
  // The sentences and the steps weigh differently.
  expect(error(expected.weights[0]!.flat(), expected.weights[2]!.flat())).toBeGreaterThan(1e-3);
});
