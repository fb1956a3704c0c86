import { describe, expect, it } from 'vitest';
import { type WeightDType, weightDTypes } from '../../lib/graph/dtype.js';
import { checkOnTiers, checkThreads, expectNear, expectSameBits } from '../support/compare.js';
import { quantTypes } from '../support/quants.js';
import { type OpResult, opCompute, runOp, runOps, testDevices } from '../support/run_op.js';
import { linearCase, linearData, linearTest, linearTests } from './linear.js';

checkOnTiers('linear', linearTests);
checkThreads('linear', [
  linearTest(['f32'], 33, 129, 257),
  linearTest(['q4_0'], 33, 128, 257),
  linearTest(['bf16'], 33, 129, 257, { compute: 'auto' }),
  linearTest(['q8_0', 'f32'], 200, 64, 67),
  linearTest(['q8_0'], 33, 1120, 257, { compute: 'auto' }),
  linearTest(['q6_k', 'q4_k'], 33, 1280, 129, { compute: 'auto' }),
]);

const types: readonly (readonly WeightDType[])[] = [
  ['f32'],
  ['f16'],
  ['bf16'],
  ...quantTypes.map((t) => [t]),
  ['q8_0', 'q4_0'],
  ['q4_k', 'q6_k', 'q8_0'],
];

describe.each(testDevices())('linear on %s', (device) => {
  it.each(types)('%s: each row has the bits that it has alone, whatever the number of rows', async (...dtypes) => {
    const counts = [1, 2, 3, 4, 5, 6, 7, 16, 17, 31, 32, 33, 400];
    const data = linearData(dtypes, 400, weightDTypes[dtypes[0]!].block === 256 ? 1536 : 1184, 67);
    const run = async (rows: number) => (await runOp({ ...linearCase(data, rows, 'auto'), device })).y!.data;
    const all = await run(400);
    for (const rows of counts) expectSameBits(await run(rows), all.slice(0, rows * data.n), `${rows} rows`);
    for (const row of [1, 5, 32, 399]) {
      const alone = { ...data, x: data.x.subarray(row * data.k, (row + 1) * data.k) };
      const { y } = await runOp({ ...linearCase(alone, 1, 'auto'), device });
      expectSameBits(y!.data, all.slice(row * data.n, (row + 1) * data.n), `row ${row} alone`);
    }
  });

  it('multiplies in bf16 where that is asked for and the tier has it', async () => {
    const cases = [
      linearTest(['bf16'], 3, 17, 129, { compute: 'bf16', rounded: true }),
      linearTest(['bf16'], 7, 4096, 49, { compute: 'bf16', rounded: true }),
      linearTest(['bf16'], 33, 515, 19, { compute: 'bf16' }),
    ];
    for (const test of cases) {
      const made = await runOps(test.nodes, device).catch((error: { code?: string }) => error);
      if ('code' in made) expect(made.code).toBe('ERR_UNSUPPORTED');
      else expectNear((made as Record<string, OpResult>).y!.data, test.expected().y!, test.gate, test.name);
    }
    for (const k of [160, 1043]) {
      const data = linearData(['bf16'], 400, k, 67);
      const run = (rows: number) => runOp({ ...linearCase(data, rows, 'bf16'), device }).catch(() => undefined);
      const all = await run(400);
      for (const rows of all === undefined ? [] : [1, 6, 7, 16, 17, 32, 33, 257])
        expectSameBits(
          (await run(rows))!.y!.data,
          all!.y!.data.slice(0, rows * data.n),
          `${rows} rows in bf16, k ${k}`,
        );
    }
  });

  it('says how it multiplies: bf16 only where weights and tier have it, and never where f32 is asked for', async () => {
    const compute = (dtype: WeightDType, wanted: string): Promise<string> =>
      opCompute([linearCase(linearData([dtype], 1, 256, 16), 1, wanted)], device);
    const tierHasBf16 = await compute('bf16', 'bf16').then(
      () => true,
      () => false,
    );
    expect(tierHasBf16 ? ['bf16', 'f32'] : ['f32']).toContain(await compute('bf16', 'auto'));
    expect(await compute('bf16', 'f32')).toBe('f32');
    expect(await compute('f16', 'auto')).toBe('f32');
    const onCpu = device.startsWith('cpu');
    expect(await compute('q8_0', 'auto')).toBe(onCpu ? 'int8/32' : 'bf16');
    expect(await compute('q8_0', 'f32')).toBe('f32');
    expect(await compute('q4_k', 'auto')).toBe(onCpu ? 'int8/256' : 'bf16');
    await expect(compute('q4_k', 'int8/32')).rejects.toMatchObject({ code: 'ERR_UNSUPPORTED' });
    await expect(compute('f32', 'int8/32')).rejects.toMatchObject({ code: 'ERR_UNSUPPORTED' });
    if (tierHasBf16) expect(await compute('bf16', 'bf16')).toBe('bf16');
    else await expect(compute('bf16', 'bf16')).rejects.toMatchObject({ code: 'ERR_UNSUPPORTED' });
    await expect(compute('f32', 'bf16')).rejects.toMatchObject({ code: 'ERR_UNSUPPORTED' });
  });
});
