import type { OpTest } from '../support/compare.js';
import { Random } from '../support/random.js';
import { tokenLogprob } from '../support/reference.js';
import { f32, i32, oddSizes, out } from './inputs.js';

export function tokenLogprobTest(rows: number, vocab: number): OpTest {
  const random = new Random(rows * 1000 + vocab);
  const [logits, targets] = [random.normal(rows * vocab, 4), random.integers(rows, 0, vocab)];
  return {
    name: `rows ${rows}, vocab ${vocab}`,
    nodes: [
      {
        op: 'token_logprob',
        inputs: { logits: f32(logits, rows, vocab), targets: i32(targets) },
        outputs: [out(rows)],
      },
    ],
    expected: () => ({ logprobs: tokenLogprob(logits, targets, vocab) }),
    gate: 1e-12,
  };
}

export const tokenLogprobTests: readonly OpTest[] = [
  ...oddSizes.map((n) => tokenLogprobTest(3, n)),
  ...oddSizes.map((n) => tokenLogprobTest(n, 17)),
  tokenLogprobTest(2, 32003),
  tokenLogprobTest(0, 17),
];
