import { describe, expect, it } from 'vitest';
import { expectSameBits } from '../support/compare.js';
import { Random } from '../support/random.js';
import { type OpCase, runOps, testDevices } from '../support/run_op.js';
import { attentionData } from './attention.js';
import { cacheCase, page, randomCache, states, writeCase } from './cache.js';
import { f32, i32, out } from './inputs.js';

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

  // Blocks of one piece and of several, whole numbers of 16 bytes and not.
  it.each([
    [1, 32],
    [1, 33],
    [600, 19_200],
    [600, 19_207],
  ])('head_dim %i, blocks of %i floats: targets hold their sources, others stay', async (headDim, width) => {
    const [blocks, table] = [7, [4, 0, 6]];
    const state = { state: 'keys', dtype: 'f32', shape: [blocks, width] } as const;
    const rows = table.length * page;
    const k = new Random(width).normal(rows * headDim);
    const write: OpCase = {
      op: 'kv_write',
      attrs: { layer: 0, kv_heads: 1, head_dim: headDim },
      inputs: {
        ...{ k: f32(k, rows, headDim), v: f32(k, rows, headDim), keys: state, values: { ...state, state: 'values' } },
        table: i32(table, 1, table.length),
        kv_positions: i32(Array.from({ length: rows }, (_, i) => i)),
        seq_ids: i32(Array<number>(rows).fill(0)),
      },
    };
    const copies = i32([4, 1, 0, 5, 4, 2], 3, 2);
    const copy: OpCase = { op: 'copy_blocks', inputs: { state, copies } };
    const read: OpCase = {
      op: 'gather_rows',
      inputs: { x: state, index: i32([0, 1, 2, 3, 4, 5, 6]) },
      outputs: [out(blocks, width)],
    };
    const before = (await runOps([write, read], device)).y!.data as Float32Array;
    const after = (await runOps([write, copy, read], device)).y!.data as Float32Array;
    const block = (data: Float32Array, i: number) => data.slice(i * width, (i + 1) * width);
    expect(block(before, 4).some((x) => x !== 0)).toBe(true);
    for (const [to, from] of [0, 4, 4, 3, 4, 0, 6].entries())
      expectSameBits(block(after, to), block(before, from), `block ${to}`);
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
