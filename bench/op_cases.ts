/** What is timed: the cases that the tests check, and the same ops at the sizes of real models. */
import { type WeightDType, weightDTypes } from '../lib/graph/dtype.js';
import { randomWeight } from '../lib/graph/weight_expr.js';
import { attentionTests, rowsTest } from '../tests/ops/attention.js';
import { concatTests } from '../tests/ops/concat.js';
import { convTest, convTests } from '../tests/ops/conv1d.js';
import { activationTest, elementwiseTests, gatedTest } from '../tests/ops/elementwise.js';
import { embedTests } from '../tests/ops/embed.js';
import { gatherRowsTests } from '../tests/ops/gather_rows.js';
import { groupNormTest, groupNormTests } from '../tests/ops/group_norm.js';
import { f32, out } from '../tests/ops/inputs.js';
import { layerNormTests } from '../tests/ops/layer_norm.js';
import { linearTests } from '../tests/ops/linear.js';
import { matmulTest, matmulTests } from '../tests/ops/matmul.js';
import { rmsNormTest, rmsNormTests } from '../tests/ops/rms_norm.js';
import { ropeTests } from '../tests/ops/rope.js';
import { sliceTests } from '../tests/ops/slice.js';
import { softmaxTests } from '../tests/ops/softmax.js';
import { tokenLogprobTests } from '../tests/ops/token_logprob.js';
import type { OpTest } from '../tests/support/compare.js';
import { Random } from '../tests/support/random.js';
import type { OpCase } from '../tests/support/run_op.js';

/** Nodes of one program under a name. */
export type TimedCase = Pick<OpTest, 'name' | 'nodes'>;

/** Rows times a matrix (n, k) of random weights, too large for the caches of a core. */
function linearCase(dtype: WeightDType, rows: number, k: number, n: number): TimedCase {
  const x = f32(new Random(rows).normal(rows * k), rows, k);
  const weight = { weight: randomWeight(dtype, n, k, 1, 0.02), shape: [n, k] };
  const node: OpCase = { op: 'linear', attrs: { compute: 'auto' }, inputs: { x, weight }, outputs: [out(rows, n)] };
  return { name: `${dtype}, rows ${rows}, k ${k}, n ${n}, compute auto`, nodes: [node] };
}

const types = Object.keys(weightDTypes) as WeightDType[];

/** By op: cases of the tests, then those of real sizes. */
export const timedCases: Readonly<Record<string, readonly TimedCase[]>> = {
  linear: [...linearTests, ...types.flatMap((t) => [1, 4, 32, 512].map((rows) => linearCase(t, rows, 2048, 8192)))],
  attention: [
    ...attentionTests,
    rowsTest({ rows: [512], heads: 32, kvHeads: 8, headDim: 64 }),
    rowsTest({ rows: [1], keys: [4096], heads: 32, kvHeads: 8, headDim: 64 }),
  ],
  matmul: [...matmulTests, matmulTest(512, 512, 512, false), matmulTest(512, 512, 512, true)],
  elementwise: [...elementwiseTests, activationTest('silu', 512, 8192), gatedTest('silu', 512, 8192)],
  rms_norm: [...rmsNormTests, rmsNormTest(1, 1, 2048), rmsNormTest(512, 1, 2048)],
  layer_norm: layerNormTests,
  rope: ropeTests,
  softmax: softmaxTests,
  embed: embedTests,
  concat: concatTests,
  slice: sliceTests,
  gather_rows: gatherRowsTests,
  token_logprob: tokenLogprobTests,
  conv1d: [
    ...convTests,
    convTest([16_000], { into: 1, out: 512, kernel: 10, stride: 5 }),
    convTest([3200], { into: 512, out: 512, kernel: 3, stride: 2 }),
    convTest([500], { into: 768, out: 768, kernel: 128, padding: 64, groups: 16, fewer: 1 }),
  ],
  group_norm: [...groupNormTests, groupNormTest([32_000], 512)],
};
