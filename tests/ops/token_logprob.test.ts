import { expect, it } from 'vitest';
import { checkOnTiers, checkThreads } from '../support/compare.js';
import { runOp, testDevices } from '../support/run_op.js';
import { f32, i32, out } from './inputs.js';
import { tokenLogprobTest, tokenLogprobTests } from './token_logprob.js';

checkOnTiers('token_logprob', tokenLogprobTests);
checkThreads('token_logprob', [tokenLogprobTest(67, 515)]);

it.each(testDevices())('token_logprob of a target outside the vocabulary is NaN on %s', async (device) => {
  const inputs = { logits: f32(new Float32Array(9), 3, 3), targets: i32([3, -1, 2]) };
  const { logprobs } = await runOp({ op: 'token_logprob', inputs, outputs: [out(3)], device });
  expect([...logprobs!.data]).toEqual([Number.NaN, Number.NaN, Math.fround(-Math.log(3))]);
});
