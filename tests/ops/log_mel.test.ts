import { expect, it } from 'vitest';
import { checkOnTiers, checkThreads, expectSameBits } from '../support/compare.js';
import { Random } from '../support/random.js';
import { runOp, testDevices } from '../support/run_op.js';
import { f32, i32, out } from './inputs.js';
import { logMelTest, logMelTests } from './log_mel.js';

checkOnTiers('log_mel', logMelTests);
checkThreads('log_mel', [logMelTest([300, 40, 7, 129], 80)]);

it.each(testDevices())(
  'log_mel: a sequence has the same bits alone and with neighbours; NaN stays on %s',
  async (device) => {
    const x = new Random(3).normal(170 * 19).map(Math.abs);
    const run = async (data: Float32Array, bounds: number[]) => {
      const inputs = { x: f32(data, bounds.at(-1)!, 19), starts: i32(bounds) };
      const shape = out(bounds.at(-1)!, 19);
      return (await runOp({ op: 'log_mel', attrs: {}, inputs, outputs: [shape], device })).y!.data as Float32Array;
    };
    const all = await run(x, [0, 70, 71, 170]);
    expectSameBits(await run(x.slice(71 * 19), [0, 99]), all.slice(71 * 19));
    const bad = x.slice(0, 3 * 19);
    bad[19 + 4] = Number.NaN;
    expect(Array.from(await run(bad, [0, 3]), Number.isNaN).indexOf(true)).toBe(19 + 4);
  },
);
