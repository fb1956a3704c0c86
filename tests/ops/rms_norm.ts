import type { OpTest } from '../support/compare.js';
import { Random } from '../support/random.js';
import { rmsNorm } from '../support/reference.js';
import { f32, oddSizes, out } from './inputs.js';

/** `groups` norms side by side in a row: q and k norms. */
export function rmsNormTest(rows: number, groups: number, cols: number, offset = 0): OpTest {
  const random = new Random(rows * 1000 + cols + groups);
  const [x, weight] = [random.normal(rows * groups * cols, 3), random.normal(cols)];
  const inputs = { x: f32(x, rows, groups * cols), weight: f32(weight, cols) };
  return {
    name: `rows ${rows}, groups ${groups}, cols ${cols}, offset ${offset}`,
    nodes: [{ op: 'rms_norm', attrs: { eps: 1e-5, offset }, inputs, outputs: [out(rows, groups * cols)] }],
    expected: () => ({ y: rmsNorm(x, weight, 1e-5, offset) }),
    gate: 1e-12,
  };
}

export const rmsNormTests: readonly OpTest[] = [
  ...oddSizes.map((n) => rmsNormTest(3, 1, n)),
  ...oddSizes.map((n) => rmsNormTest(n, 1, 17)),
  rmsNormTest(5, 3, 33),
  rmsNormTest(3, 1, 4099, 1),
  rmsNormTest(0, 1, 17),
];
