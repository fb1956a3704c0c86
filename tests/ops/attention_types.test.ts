/** Attention over a cache of each type: exact on what it holds, near to what was written, the same bits always. */
import { describe, expect, it } from 'vitest';
import type { KvType } from '../../lib/ops/kv_write.js';
import { expectNear, expectSameBits, nmse } from '../support/compare.js';
import { type OpCase, opCompute, runOps, testDevices } from '../support/run_op.js';
import {
  type AttentionData,
  type AttentionShape,
  attentionData,
  attentionReference,
  rowsCase,
  shapeName,
} from './attention.js';
import { type Cache, cacheCase, randomCache, rounded, states, writeCase } from './cache.js';
import { i32 } from './inputs.js';

const types: readonly KvType[] = ['bf16', 'q8'];
/** Error that rounding keys and values may bring, as NMSE, of normal ones. */
const gates = { f32: 1e-12, bf16: 5e-5, q8: 2e-4 } as const;
/** Error, as NMSE, of what is computed from what the cache holds; where queries and weights are rounded to bf16 too. */
const own = { exact: 1e-12, bf16: 1e-5 } as const;

const shapes: readonly AttentionShape[] = [
  { rows: [1], heads: 1, kvHeads: 1, headDim: 1, probs: true },
  { rows: [17], heads: 4, kvHeads: 2, headDim: 17, probs: true },
  { rows: [1, 5, 33], keys: [31, 32, 33], heads: 4, kvHeads: 2, headDim: 16, probs: true },
  { rows: [1, 1, 1], keys: [1, 64, 300], heads: 6, kvHeads: 2, headDim: 64 },
  { rows: [129, 3], keys: [129, 260], heads: 2, kvHeads: 1, headDim: 40, window: 50, softcap: 10, probs: true },
  ...[255, 257].map((n) => ({ rows: [3], keys: [n], heads: 2, kvHeads: 1, headDim: 66, probs: true })),
  { rows: [70], heads: 7, kvHeads: 1, headDim: 130 },
  { rows: [40], heads: 2, kvHeads: 2, headDim: 272 },
];

function typed(data: AttentionData, type: KvType, seed: number, layers = 1): Cache {
  return { ...randomCache(data.shape.keys, seed, layers), type };
}

async function attend(
  data: AttentionData,
  cache: Cache,
  device: string,
  threads = 2,
  layer = 0,
): Promise<Record<string, Float32Array>> {
  const found = await runOps([writeCase(data, cache, layer), cacheCase(data, cache, layer)], device, threads);
  return Object.fromEntries(Object.entries(found).map(([name, { data: values }]) => [name, values as Float32Array]));
}

describe.each(testDevices())('cached attention on %s', (device) => {
  describe.each(types)('%s', (type) => {
    it.each(shapes.map((s) => [shapeName(s), s] as const))('%s: as the reference on rounded keys', async (_, shape) => {
      const data = attentionData(shape, 6);
      const held = rounded(data, type);
      const expected = attentionReference(held);
      const results = [];
      for (const seed of [1, 2]) results.push(await attend(data, typed(data, type, seed, 3), device, seed, 1));
      const compute = await opCompute([cacheCase(data, typed(data, type, 1))], device);
      const gate = compute === 'bf16' ? own.bf16 : own.exact;
      for (const name of shape.probs === true ? (['y', 'probs'] as const) : (['y'] as const)) {
        expectNear(results[0]![name]!, expected[name], gate, name);
        expectSameBits(results[1]![name]!, results[0]![name]!, name);
      }
      if (type !== 'bf16' || compute === 'bf16') return;
      const rows = await runOps([rowsCase(held)], device);
      expectSameBits(results[0]!.y!, rows.y!.data as Float32Array, 'y over rows');
    });

    it.each([64, 128])('head_dim %i: within the gate of what was written', async (headDim) => {
      const data = attentionData({ rows: [4, 40], keys: [600, 40], heads: 4, kvHeads: 2, headDim }, 7);
      const error = nmse((await attend(data, typed(data, type, 3), device)).y!, attentionReference(data).y);
      expect(error).toBeLessThan(gates[type]);
      expect(error).toBeGreaterThan(1e-7); // it is rounded indeed
    });

    it.each([32, 66, 272])(
      'head_dim %i: a row has the same bits alone, in a chunk, and with neighbours',
      async (headDim) => {
        const whole = attentionData({
          rows: [300, 40],
          heads: 4,
          kvHeads: 2,
          headDim,
          window: headDim === 66 ? 70 : 0,
        });
        const cache = typed(whole, type, 3);
        const width = 4 * headDim;
        const all = (await attend(whole, cache, device)).y!;
        const last = async (rows: [number, number]) => {
          const end = rows[0] > 0 ? 300 : 340;
          const begin = end - rows[0] - rows[1];
          const part = { ...whole, shape: { ...whole.shape, rows }, q: whole.q.subarray(begin * width, end * width) };
          const { y } = await runOps([writeCase(whole, cache), cacheCase(part, cache)], device, 1);
          expectSameBits(y!.data as Float32Array, all.slice(begin * width, end * width), `${rows} rows`);
        };
        for (const count of [1, 3, 7, 33]) await last([count, 0]);
        for (const count of [1, 2, 3]) await last([0, count]);
      },
    );

    it('copied blocks give the bits of the originals', async () => {
      const data = attentionData({ rows: [3, 5], keys: [100, 40], heads: 4, kvHeads: 2, headDim: 33 });
      const cache = typed(data, type, 1);
      const twice = { ...cache, blocks: 2 * cache.blocks };
      const moved = { ...twice, table: cache.table.map((b) => b + cache.blocks) };
      const pairs = [...cache.table].flatMap((b) => [b, b + cache.blocks]);
      const copy = (state: 'keys' | 'values'): OpCase => ({
        op: 'copy_blocks',
        inputs: { state: states(data, twice)[state], copies: i32(pairs, cache.table.length, 2) },
      });
      const nodes = [writeCase(data, twice), copy('keys'), copy('values'), cacheCase(data, moved)];
      const copied = await runOps(nodes, device);
      expectSameBits(copied.y!.data as Float32Array, (await attend(data, twice, device)).y!);
    });

    it.each(['k', 'v'] as const)('a value of %s that is not finite stays with its sequence', async (part) => {
      const data = attentionData({ rows: [2, 3], keys: [40, 50], heads: 2, kvHeads: 1, headDim: 32 });
      const cache = typed(data, type, 4);
      const clean = (await attend(data, cache, device)).y!;
      const broken = { ...data, [part]: data[part].slice() };
      broken[part][39 * 32 + 5] = Number.NaN; // the last key of the first sequence
      const { y } = await attend(broken, cache, device);
      expect(y!.subarray(64, 128).some(Number.isNaN)).toBe(true);
      expectSameBits(y!.slice(128), clean.slice(128));
    });

    it('zeros and the smallest values give numbers', async () => {
      const data = attentionData({ rows: [3], heads: 2, kvHeads: 1, headDim: 32 });
      const small = { ...data, k: data.k.fill(0), v: data.v.map((x) => x * 1e-40) };
      const { y } = await attend(small, typed(data, type, 5), device);
      expect(y!.every((x) => Math.abs(x) < 1e-35)).toBe(true);
    });
  });

  it('states that differ in type, or are too small for their type, are refused', async () => {
    const data = attentionData({ rows: [3], heads: 2, kvHeads: 1, headDim: 32 });
    const cache = typed(data, 'q8', 6);
    const write = writeCase(data, cache);
    const { keys, values } = states(data, cache);
    const bad = (inputs: OpCase['inputs']) => runOps([{ ...write, inputs: { ...write.inputs, ...inputs } }], device);
    await expect(bad({ keys: { ...keys, dtype: 'bf16' } })).rejects.toThrow(/of one dtype and hold the layer/);
    const width = values.shape[1]! - 1;
    await expect(bad({ values: { ...values, shape: [cache.blocks, width] } })).rejects.toThrow(/hold the layer/);
    await expect(bad({ keys: { ...keys, dtype: 'i32' } })).rejects.toThrow(/keys must hold f32/);
  });
});
