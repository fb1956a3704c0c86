import type { OpTest } from '../support/compare.js';
import { Random } from '../support/random.js';
import { softmax } from '../support/reference.js';
import { f32, oddSizes, out } from './inputs.js';

export function softmaxTest(rows: number, cols: number, scale = 3): OpTest {
  const x = new Random(rows * 1000 + cols).normal(rows * cols, scale);
  return {
    name: `rows ${rows}, cols ${cols}, scale ${scale}`,
    nodes: [{ op: 'softmax', inputs: { x: f32(x, rows, cols) }, outputs: [out(rows, cols)] }],
    expected: () => ({ y: softmax(x, cols) }),
    gate: 1e-12,
  };
}

export const softmaxTests: readonly OpTest[] = [
  ...oddSizes.map((n) => softmaxTest(3, n)),
  ...oddSizes.map((n) => softmaxTest(n, 17)),
  softmaxTest(2, 9001),
  softmaxTest(5, 129, 100),
  softmaxTest(0, 17),
];
