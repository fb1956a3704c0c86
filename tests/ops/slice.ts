import type { OpTest } from '../support/compare.js';
import { Random } from '../support/random.js';
import { f32, out } from './inputs.js';

export function sliceTest(rows: number, cols: number, begin: number, n: number): OpTest {
  const x = new Random(rows * 1000 + cols).normal(rows * cols);
  return {
    name: `columns ${begin} to ${begin + n} of (${rows}, ${cols})`,
    nodes: [{ op: 'slice', attrs: { begin }, inputs: { x: f32(x, rows, cols) }, outputs: [out(rows, n)] }],
    expected: () => ({ y: x.filter((_, i) => i % cols >= begin && i % cols < begin + n) }),
    gate: 0,
  };
}

export const sliceTests: readonly OpTest[] = [
  sliceTest(1, 1, 0, 1),
  sliceTest(3, 17, 0, 17),
  sliceTest(17, 129, 1, 128),
  sliceTest(129, 17, 14, 3),
  sliceTest(0, 17, 3, 5),
];
