/** Attention over rows: in bf16 where the linear that makes its values is, with the bits of a bf16 cache. */
import { describe, expect, it } from 'vitest';
import {
  type AttentionData,
  type AttentionShape,
  attentionData,
  attentionReference,
  rowsCase,
  shapeName,
} from '../ops/attention.js';
import { cacheCase, randomCache, rounded, writeCase } from '../ops/cache.js';
import { f32, out } from '../ops/inputs.js';
import { expectNear, expectSameBits } from '../support/compare.js';
import { type OpCase, opCompute, runOps, testDevices } from '../support/run_op.js';

const [device] = testDevices();

/** A linear with the identity, so that what it makes is x where x holds bf16 numbers. */
function identity(x: Float32Array, width: number, compute: string): OpCase {
  const ones = Uint16Array.from({ length: width * width }, (_, i) => (i % (width + 1) === 0 ? 0x3f80 : 0)); // bf16
  const data = new Uint8Array(ones.buffer);
  const weight = { kind: 'bytes', dtype: 'bf16', rows: width, cols: width, data } as const;
  const rows = x.length / width;
  return {
    op: 'linear',
    attrs: { compute },
    inputs: { x: f32(x, rows, width), weight: { weight, shape: [width, width] } },
    outputs: [out(rows, width)],
  };
}

/** Attention whose values a linear makes, or the latter half of what it makes. */
function nodes(data: AttentionData, compute: string, sliced = false): OpCase[] {
  const width = data.shape.kvHeads * data.shape.headDim;
  const attend = rowsCase(data);
  const rows = data.v.length / width;
  const over = (node: number): OpCase => ({
    ...attend,
    inputs: { ...attend.inputs, v: { node, shape: [rows, width] } },
  });
  if (!sliced) return [identity(data.v, width, compute), over(0)];
  const both = Float32Array.from({ length: 2 * data.v.length }, (_, i) =>
    i % (2 * width) < width ? 7 : data.v[Math.floor(i / (2 * width)) * width + (i % width)]!,
  );
  const slice: OpCase = {
    op: 'slice',
    attrs: { begin: width },
    inputs: { x: { node: 0, shape: [rows, 2 * width] } },
    outputs: [out(rows, width)],
  };
  return [identity(both, 2 * width, compute), slice, over(1)];
}

const shapes: readonly AttentionShape[] = [
  { rows: [1], heads: 1, kvHeads: 1, headDim: 8, probs: true },
  { rows: [33, 1, 64, 300], heads: 4, kvHeads: 2, headDim: 16 },
  { rows: [70], heads: 8, kvHeads: 2, headDim: 128, probs: true },
  { rows: [129, 3], heads: 2, kvHeads: 1, headDim: 40, window: 50, softcap: 10, probs: true },
  { rows: [5, 6], heads: 4, kvHeads: 4, headDim: 64 },
  { rows: [70, 270], heads: 2, kvHeads: 1, headDim: 256 },
];

describe('attention over rows on CUDA', () => {
  it.each(shapes.map((s) => [shapeName(s), s] as const))('%s: the bits of a bf16 cache', async (_, shape) => {
    const data = rounded(attentionData(shape, 3), 'bf16');
    const cache = { ...randomCache(data.shape.keys, 1), type: 'bf16' } as const;
    const cached = await runOps([writeCase(data, cache), cacheCase(data, cache)], device);
    for (const sliced of [false, true]) {
      const found = await runOps(nodes(data, 'bf16', sliced), device);
      for (const [name, { data: x }] of Object.entries(cached))
        expectSameBits(found[name]!.data as Float32Array, x as Float32Array, name);
    }
  });

  it.each(
    (
      [
        { causal: false },
        { causal: false, bias: true, probs: true },
        { causal: false, mask: true },
        { causal: true, slopes: true, rows: [40, 21] },
        { causal: false, relative: 20, rows: [40, 300] },
        { causal: false, placeBias: 30, window: 25, places: true, rows: [90, 10] },
        { causal: true, rows: [3, 40, 1], keys: [70, 40, 600] },
      ] as const
    ).map((s) => {
      const shape: AttentionShape = { rows: [77], heads: 4, kvHeads: 2, headDim: 64, ...s };
      return [shapeName(shape), shape] as const;
    }),
  )('%s: near to the reference', async (_, shape) => {
    const data = rounded(attentionData(shape, 4), 'bf16');
    const [found, expected] = [await runOps(nodes(data, 'bf16'), device), attentionReference(data)];
    for (const name of shape.probs === true ? (['y', 'probs'] as const) : (['y'] as const))
      expectNear(found[name]!.data as Float32Array, expected[name], 1e-5, name);
  });

  it('follows the linear that makes its values', async () => {
    const data = attentionData({ rows: [9], heads: 2, kvHeads: 2, headDim: 16 });
    expect(await opCompute(nodes(data, 'auto'), device!)).toBe('bf16');
    expect(await opCompute(nodes(data, 'auto', true), device!)).toBe('bf16');
    expect(await opCompute(nodes(data, 'f32'), device!)).toBe('f32');
    expect(await opCompute([rowsCase(data)], device!)).toBe('f32');
    const wide = attentionData({ rows: [9], heads: 1, kvHeads: 1, headDim: 130 });
    expect(await opCompute(nodes(wide, 'auto'), device!)).toBe('f32'); // tensor cores have no kernel for such heads
  });
});
