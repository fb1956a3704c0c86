/** The CUDA device as a whole: promises of every device, and what only a device with memory of its own has. */
import { afterEach, describe, expect, it } from 'vitest';
import { buildRandom } from '../../lib/bench/random_model.js';
import { DecoderHost } from '../../lib/engine/host.js';
import type { KvType } from '../../lib/ops/kv_write.js';
import { devices } from '../../lib/runtime/devices.js';
import { DeviceModel } from '../../lib/runtime/executable.js';
import { native } from '../../lib/runtime/native.js';
import { llamaConfig } from '../engine/models.js';
import { allLogits, prompts } from '../engine/same_answer.js';
import { expectSameBits } from '../support/compare.js';
import { testDevices } from '../support/run_op.js';

const [device] = testDevices();
const emulated = process.env.VERDANT_CUDA_LIBRARY?.includes('emulator') === true;
const config = { ...llamaConfig, hidden_size: 96, intermediate_size: 160, num_hidden_layers: 2, vocab_size: 131 };

const open = (dtype: 'f32' | 'bf16' | 'q8_0' | 'q4_0', kvType?: KvType): Promise<DecoderHost> =>
  DecoderHost.open(buildRandom(config, 'config.json', dtype, kvType), { device: device!, kvMemory: '1MiB' });

describe('a CUDA device', () => {
  it('is listed with what it is', () => {
    const found = devices().find((d) => d.name === device);
    expect(found).toMatchObject({ usable: true });
    expect(found!.description).toMatch(/compute capability \d+\.\d+, \d+ multiprocessors, \d+ MiB/);
  });

  it.each([
    ['f32', undefined],
    ['bf16', 'bf16'],
    ['q8_0', undefined],
    ['q4_0', 'q8'],
  ] as const)(
    '%s, cache %s: the same bits alone, with neighbours, in chunks, in fused kernels or not',
    async (dtype, kvType) => {
      const host = await open(dtype, kvType);
      try {
        const all = prompts(host.built.vocabSize, [1, 5, 37, 70]);
        const alone: Float32Array[] = [];
        for (const ids of all) alone.push((await allLogits(host, [ids], ids.length))[0]!);
        const same = (found: readonly Float32Array[], name: string): void =>
          found.forEach((x, i) => {
            expectSameBits(x, alone[i]!, `${name}: prompt of ${all[i]!.length}, logits`);
          });
        same(await allLogits(host, all, 512), 'together');
        same(await allLogits(host, all, 512), 'together again, as a graph');
        same(await allLogits(host, all, 7), 'chunks of 7');
        same(await allLogits(host, all.slice(0, 3), 1), 'one row each, which its own kernel writes and attends');
        const step = await host.program(['logits']);
        step.profile(true); // each node for itself
        same(await allLogits(host, all, 512), 'node by node');
        expect(step.profile(false).nodes.every((n) => n.calls > 0)).toBe(true);
      } finally {
        await host.dispose();
      }
    },
  );

  it('measures what it gives at most', async () => {
    const model = await DeviceModel.open(device!);
    const found = await model.ceilings();
    await model.dispose();
    for (const rate of [found.stream, found.f32, found.bf16]) expect(rate).toBeGreaterThan(0);
  });

  it('gives all memory back: 50 times opened and disposed of', async () => {
    const free = async (): Promise<number> => {
      const model = await DeviceModel.open(device!);
      const bytes = model.freeBytes();
      await model.dispose();
      return bytes;
    };
    await (await open('q8_0')).dispose();
    const before = await free();
    for (let i = 0; i < 50; i++) {
      const host = await open('q8_0');
      const { deviceFreeBytes, deviceTotalBytes, weightBytes } = host.model.memory();
      expect(deviceFreeBytes).toBeLessThanOrEqual(before - weightBytes);
      expect(deviceTotalBytes).toBeGreaterThan(0);
      if (i === 0) await allLogits(host, prompts(host.built.vocabSize, [5]), 5);
      await host.dispose();
    }
    expect(await free()).toBe(before);
  });
});

describe.runIf(emulated)('an emulated CUDA device', () => {
  afterEach(() => {
    delete process.env.VERDANT_EMULATED_MEMORY;
  });

  it('without memory: a typed error, and the next model works', async () => {
    process.env.VERDANT_EMULATED_MEMORY = '100000';
    await expect(open('f32')).rejects.toMatchObject({ code: 'ERR_OUT_OF_MEMORY' });
    process.env.VERDANT_EMULATED_MEMORY = '3000000';
    const host = await open('f32');
    const long = prompts(host.built.vocabSize, [400]);
    process.env.VERDANT_EMULATED_MEMORY = '1000000';
    await expect(allLogits(host, long, 400)).rejects.toMatchObject({ code: 'ERR_OUT_OF_MEMORY' });
    delete process.env.VERDANT_EMULATED_MEMORY;
    expect((await allLogits(host, long, 400))[0]!.every(Number.isFinite)).toBe(true);
    await host.dispose();
  });

  it('takes no library built from other sources, and none twice', () => {
    expect(() => native().loadDevice(process.env.VERDANT_CUDA_LIBRARY!)).not.toThrow();
    expect(devices().filter((d) => d.name === 'cuda:0')).toHaveLength(1);
    expect(() => native().loadDevice('/bin/sh')).toThrow(/device library .bin.sh cannot be loaded/);
  });
});
