import type { OpTest } from '../support/compare.js';
import { Random } from '../support/random.js';
import { layerNorm } from '../support/reference.js';
import { f32, oddSizes, out } from './inputs.js';

/** `mean`: the variance must not lose digits when the mean is large beside it. */
export function layerNormTest(rows: number, cols: number, withBias = true, mean = 0): OpTest {
  const random = new Random(rows * 1000 + cols);
  const x = random.normal(rows * cols).map((v) => v + mean);
  const [weight, bias] = [random.normal(cols), random.normal(cols)];
  const inputs = { x: f32(x, rows, cols), weight: f32(weight, cols), ...(withBias ? { bias: f32(bias, cols) } : {}) };
  return {
    name: `rows ${rows}, cols ${cols}, ${withBias ? 'bias' : 'no bias'}, mean ${mean}`,
    nodes: [{ op: 'layer_norm', attrs: { eps: 1e-5 }, inputs, outputs: [out(rows, cols)] }],
    expected: () => ({ y: layerNorm(x, weight, withBias ? bias : undefined, 1e-5) }),
    gate: 1e-12,
  };
}

export const layerNormTests: readonly OpTest[] = [
  ...oddSizes.map((n) => layerNormTest(3, n)),
  ...oddSizes.map((n) => layerNormTest(n, 17, false)),
  layerNormTest(3, 4099),
  layerNormTest(7, 129, true, 10),
  layerNormTest(0, 17),
];
