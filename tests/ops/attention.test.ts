import { describe, expect, it } from 'vitest';
import { checkOnTiers, checkThreads, expectNear, expectSameBits } from '../support/compare.js';
import { runOps, testDevices } from '../support/run_op.js';
import {
  type AttentionShape,
  attentionData,
  attentionReference,
  attentionTests,
  rowsCase,
  rowsTest,
  shapeName,
} from './attention.js';
import { cacheCase, randomCache, writeCase } from './cache.js';

checkOnTiers('attention', attentionTests);
checkThreads('attention', [
  rowsTest({ rows: [129, 40], heads: 4, kvHeads: 2, headDim: 32, probs: true }),
  rowsTest({ rows: [3], keys: [600], heads: 4, kvHeads: 2, headDim: 64, causal: false }),
]);

const cached: readonly AttentionShape[] = [
  { rows: [1], heads: 1, kvHeads: 1, headDim: 1, probs: true },
  { rows: [17], heads: 4, kvHeads: 2, headDim: 17, probs: true },
  { rows: [1, 5, 33], keys: [31, 32, 33], heads: 4, kvHeads: 2, headDim: 16, probs: true },
  { rows: [1, 1, 1], keys: [1, 64, 300], heads: 6, kvHeads: 2, headDim: 64 },
  { rows: [3, 2, 3], keys: [300, 40, 70], heads: 4, kvHeads: 2, headDim: 72, probs: true },
  { rows: [129, 3], keys: [129, 260], heads: 2, kvHeads: 1, headDim: 40, window: 50, softcap: 10, probs: true },
  ...[255, 256, 257, 600].map((n) => ({ rows: [3], keys: [n], heads: 2, kvHeads: 1, headDim: 32, probs: true })),
  { rows: [1, 40], keys: [300, 40], slopes: true, relative: 20, heads: 4, kvHeads: 2, headDim: 16, probs: true },
  { rows: [1, 40], keys: [300, 40], placeBias: 290, heads: 4, kvHeads: 2, headDim: 16, probs: true },
  { rows: [600], heads: 2, kvHeads: 2, headDim: 16 },
];

describe.each(testDevices())('cached attention on %s', (device) => {
  it.each(cached.map((s) => [shapeName(s), s] as const))(
    '%s: as the reference, with the bits of attention over rows',
    async (_, shape) => {
      const data = attentionData(shape, 5);
      const [rows, expected] = [
        (await runOps([rowsCase(data)], device)) as Record<string, { data: Float32Array }>,
        attentionReference(data),
      ];
      for (const seed of [1, 2]) {
        const cache = randomCache(data.shape.keys, seed, 3);
        const found = await runOps([writeCase(data, cache, 1), cacheCase(data, cache, 1)], device);
        expectNear(found.y!.data, expected.y, 1e-12, 'y');
        expectSameBits(found.y!.data, rows.y!.data, 'y');
        if (shape.probs === true) {
          expectNear(found.probs!.data, expected.probs, 1e-12, 'probs');
          expectSameBits(found.probs!.data, rows.probs!.data, 'probs');
        }
      }
    },
  );

  it('a row has the same bits alone, in a chunk, and with neighbours', async () => {
    const whole = attentionData({ rows: [300, 40], heads: 4, kvHeads: 2, headDim: 32 });
    const cache = randomCache([300, 40], 3);
    const width = 4 * 32;
    const all = (await runOps([writeCase(whole, cache), cacheCase(whole, cache)], device)).y!.data;
    for (const count of [1, 3, 7, 33]) {
      const shape = { ...whole.shape, rows: [count, 0], keys: [300, 40] };
      const part = { ...whole, shape, q: whole.q.subarray((300 - count) * width, 300 * width) };
      const { y } = await runOps([writeCase(whole, cache), cacheCase(part, cache)], device);
      expectSameBits(y!.data, all.slice((300 - count) * width, 300 * width), `${count} rows`);
    }
  });

  it('one and two threads give the same bits', async () => {
    const data = attentionData({ rows: [5, 60], keys: [300, 60], heads: 4, kvHeads: 2, headDim: 64, probs: true });
    const cache = randomCache(data.shape.keys, 4);
    const nodes = [writeCase(data, cache), cacheCase(data, cache)];
    const [one, two] = [await runOps(nodes, device, 1), await runOps(nodes, device, 2)];
    for (const name of ['y', 'probs']) expectSameBits(two[name]!.data, one[name]!.data, name);
  });

  it('weights after softmax sum to one; a row that sees no key gives zeros', async () => {
    const { y, probs } = await runOps(
      [
        rowsCase(
          attentionData({ rows: [17], heads: 2, kvHeads: 1, headDim: 8, mask: true, causal: false, probs: true }),
        ),
      ],
      device,
    );
    for (let i = 0; i < 2 * 17; i++) {
      const total = [...probs!.data.slice(i * 17, (i + 1) * 17)].reduce((a, b) => a + b, 0);
      expect(total).toBeCloseTo(i % 17 === 16 ? 0 : 1, 5);
    }
    expect([...y!.data.slice(-16)]).toEqual(Array(16).fill(0));
  });
});
