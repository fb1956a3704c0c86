import { describe, it } from 'vitest';
import { expectSameBits } from '../support/compare.js';
import { type OpCase, runOps, testDevices } from '../support/run_op.js';
import { attentionData } from './attention.js';
import { cacheCase, page, randomCache, states, writeCase } from './cache.js';
import { i32 } from './inputs.js';

describe.each(testDevices())('copy_blocks on %s', (device) => {
  it.each([1, 2])('attention over copied blocks has the bits of the originals, %i threads', async (threads) => {
    const data = attentionData({ rows: [3, 5], keys: [100, 40], heads: 4, kvHeads: 2, headDim: 33 });
    const cache = randomCache(data.shape.keys, 1);
    const twice = { ...cache, blocks: 2 * cache.blocks };
    const moved = { ...twice, table: cache.table.map((b) => b + cache.blocks) };
    const pairs = i32(
      [...cache.table].flatMap((b) => [b, b + cache.blocks]),
      cache.table.length,
      2,
    );
    const copy = (state: 'keys' | 'values'): OpCase => ({
      op: 'copy_blocks',
      inputs: { state: states(data, twice)[state], copies: pairs },
    });
    const original = await runOps([writeCase(data, twice), cacheCase(data, twice)], device, threads);
    const copied = await runOps(
      [writeCase(data, twice), copy('keys'), copy('values'), cacheCase(data, moved)],
      device,
      threads,
    );
    expectSameBits(copied.y!.data, original.y!.data);
  });

  it('copies nothing where there are no pairs', async () => {
    const data = attentionData({ rows: [3], heads: 1, kvHeads: 1, headDim: page });
    const cache = randomCache([3], 2);
    const copy: OpCase = { op: 'copy_blocks', inputs: { state: states(data, cache).keys, copies: i32([], 0, 2) } };
    const [plain, empty] = [
      await runOps([writeCase(data, cache), cacheCase(data, cache)], device),
      await runOps([writeCase(data, cache), copy, cacheCase(data, cache)], device),
    ];
    expectSameBits(empty.y!.data, plain.y!.data);
  });
});
