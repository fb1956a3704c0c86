import { expect, it } from 'vitest';
import { checkOnTiers, checkThreads, expectSameBits } from '../support/compare.js';
import { Random } from '../support/random.js';
import { runOp, testDevices } from '../support/run_op.js';
import { f32, i32, out } from './inputs.js';
import { poolTest, poolTests } from './pool.js';

checkOnTiers('pool', poolTests);
checkThreads('pool', [poolTest([300, 40, 7, 129], 515, 'mean')]);

it.each(testDevices())(
  'pool: a sequence has the same bits alone and with neighbours; NaN stays on %s',
  async (device) => {
    const x = new Random(3).normal(170 * 19);
    const run = async (data: Float32Array, bounds: number[], mode: string) => {
      const inputs = { x: f32(data, bounds.at(-1)!, 19), starts: i32(bounds) };
      const shape = out(bounds.length - 1, 19);
      return (await runOp({ op: 'pool', attrs: { mode }, inputs, outputs: [shape], device })).y!.data as Float32Array;
    };
    for (const mode of ['mean', 'max', 'sqrt']) {
      const all = await run(x, [0, 70, 71, 170], mode);
      const alone = await run(x.slice(71 * 19), [0, 99], mode);
      expectSameBits(alone, all.slice(2 * 19), mode);
      const bad = x.slice(0, 3 * 19);
      bad[19 + 4] = Number.NaN;
      const found = await run(bad, [0, 3], mode);
      expect(found.map((v, c) => (Number.isNaN(v) === (c === 4) ? 1 : 0)).every((ok) => ok === 1)).toBe(true);
    }
  },
);
