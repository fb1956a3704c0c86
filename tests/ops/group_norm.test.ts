import { expect, it } from 'vitest';
import { checkOnTiers, checkThreads, expectSameBits } from '../support/compare.js';
import { Random } from '../support/random.js';
import { runOp, testDevices } from '../support/run_op.js';
import { groupNormCase, groupNormTest, groupNormTests } from './group_norm.js';

checkOnTiers('group_norm', groupNormTests);
checkThreads('group_norm', [groupNormTest([900, 40, 7, 129], 65)]);

it.each(testDevices())(
  'group_norm: same bits alone and with neighbours; NaN stays in its column on %s',
  async (device) => {
    const counts = [300, 77, 0, 513, 4];
    const x = new Random(3).normal(894 * 19);
    const run = async (data: Float32Array, rows: number[]): Promise<Float32Array> =>
      (await runOp({ ...groupNormCase(data, rows, 19), device })).y!.data as Float32Array;
    const all = await run(x, counts);
    for (let s = 0, row = 0; s < counts.length; row += counts[s++]!) {
      const part = (y: Float32Array): Float32Array => y.slice(row * 19, (row + counts[s]!) * 19);
      expectSameBits(await run(part(x), [counts[s]!]), part(all), `sequence ${s}`);
    }
    const bad = x.slice(0, 9 * 19);
    bad[3 * 19 + 4] = Number.NaN;
    const found = await run(bad, [6, 3]);
    for (const [i, v] of found.entries()) expect(Number.isNaN(v)).toBe(i % 19 === 4 && i < 6 * 19);
  },
);
