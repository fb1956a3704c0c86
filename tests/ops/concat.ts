import type { OpTest } from '../support/compare.js';
import { Random } from '../support/random.js';
import { f32, oddSizes, out } from './inputs.js';

export function concatTest(rows: number, widths: readonly number[]): OpTest {
  const random = new Random(rows * 1000 + widths.length);
  const parts = widths.map((w) => random.normal(rows * w));
  const cols = widths.reduce((a, b) => a + b, 0);
  const inputs = Object.fromEntries(parts.map((p, i) => [`part${i}`, f32(p, rows, widths[i]!)]));
  const row = (r: number): number[] => parts.flatMap((p, i) => [...p.subarray(r * widths[i]!, (r + 1) * widths[i]!)]);
  return {
    name: `rows ${rows}, widths ${widths}`,
    nodes: [{ op: 'concat', inputs, outputs: [out(rows, cols)] }],
    expected: () => ({ y: Array.from({ length: rows }, (_, r) => row(r)).flat() }),
    gate: 0,
  };
}

export const concatTests: readonly OpTest[] = [
  ...oddSizes.map((n) => concatTest(n, [3, 17])),
  concatTest(3, oddSizes),
  concatTest(5, [1, 2, 3, 4, 5, 6, 7, 8]),
  concatTest(0, [3, 17]),
];
