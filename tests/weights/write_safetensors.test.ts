import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { readNumberTensors } from '../../lib/weights/read_tensor.js';
import { readSafetensors } from '../../lib/weights/safetensors.js';
import { writeSafetensors } from '../../lib/weights/write_safetensors.js';

const folder = mkdtempSync(join(tmpdir(), 'verdant-write-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A safetensors file made by hand: one tensor. */
function handMade(name: string, dtype: string, shape: readonly number[], data: Uint8Array): string {
  const json = Buffer.from(JSON.stringify({ x: { dtype, shape, data_offsets: [0, data.length] } }));
  const head = Buffer.alloc(8);
  head.writeBigUInt64LE(BigInt(json.length));
  writeFileSync(join(folder, name), Buffer.concat([head, json, data]));
  return join(folder, name);
}

describe('writeSafetensors', () => {
  it('writes what the reader reads back', async () => {
    const file = join(folder, 'both');
    const tensors = new Map([
      ['a "quoted" name', { shape: [2, 3], data: Float32Array.of(0, -1.5, 3e38, 1e-45, Number.NaN, 6) }],
      ['ids', { shape: [2], data: BigInt64Array.of(-5n, 2n ** 53n - 1n) }],
      ['nothing', { shape: [0, 4], data: new Float32Array(0) }],
      ['scalar', { shape: [], data: Float32Array.of(7) }],
    ]);
    await writeSafetensors(file, tensors);
    const read = await readNumberTensors(await readSafetensors(file));
    expect([...read.keys()]).toEqual([...tensors.keys()]);
    for (const [name, { shape, data }] of tensors) {
      expect(read.get(name)).toEqual({
        shape,
        dtype: name === 'ids' ? 'i64' : 'f32',
        data: Float64Array.from(data, Number),
      });
    }
    for (const { offset } of (await readSafetensors(file)).tensors.values()) expect(offset % 4).toBe(0);
  });

  it('refuses data of another size, a folder as target, and leaves nothing behind', async () => {
    const target = join(folder, 'target');
    mkdirSync(target);
    const one = new Map([['x', { shape: [1], data: Float32Array.of(1) }]]);
    await expect(writeSafetensors(target, one)).rejects.toMatchObject({ code: 'ERR_INPUT' });
    const wrong = new Map([['x', { shape: [2], data: Float32Array.of(1) }]]);
    await expect(writeSafetensors(join(target, 'x'), wrong)).rejects.toThrow(
      'tensor x: shape and data differ; expected 2; found 1',
    );
    await expect(writeSafetensors(join(target, 'x'), one, AbortSignal.abort())).rejects.toThrow();
    expect(readdirSync(target)).toEqual([]);
  });
});

describe('readNumberTensors', () => {
  it.each([
    ['U8', Uint8Array.of(1, 255), [1, 255]],
    ['I8', Int8Array.of(-1, 127), [-1, 127]],
    ['BOOL', Uint8Array.of(0, 1), [0, 1]],
    ['U16', Uint16Array.of(1, 65535), [1, 65535]],
    ['I16', Int16Array.of(-2, 9), [-2, 9]],
    ['I32', Int32Array.of(-3, 2 ** 31 - 1), [-3, 2 ** 31 - 1]],
    ['U32', Uint32Array.of(3, 2 ** 32 - 1), [3, 2 ** 32 - 1]],
    ['U64', BigUint64Array.of(3n, 4n), [3, 4]],
    ['F64', Float64Array.of(0.1, -4), [0.1, -4]],
  ])('reads %s', async (dtype, data, expected) => {
    const file = handMade(dtype, dtype, [2], new Uint8Array(data.buffer));
    const read = await readNumberTensors(await readSafetensors(file));
    expect([...read.get('x')!.data]).toEqual(expected);
  });

  it('refuses integers that a double cannot hold, and dtypes that are no numbers', async () => {
    const large = handMade('large', 'I64', [1], new Uint8Array(BigInt64Array.of(-(2n ** 53n)).buffer));
    await expect(readSafetensors(large).then(readNumberTensors)).rejects.toMatchObject({ code: 'ERR_INPUT' });
    const f8 = handMade('f8', 'F8_E4M3', [1], Uint8Array.of(1));
    await expect(readSafetensors(f8).then(readNumberTensors)).rejects.toMatchObject({ code: 'ERR_UNSUPPORTED' });
  });

  it('notices that the file is another one than its header said', async () => {
    const file = handMade('changing', 'U8', [1], Uint8Array.of(1));
    const header = await readSafetensors(file);
    writeFileSync(file, Buffer.alloc(500));
    await expect(readNumberTensors(header)).rejects.toMatchObject({ code: 'ERR_FILE_CHANGED' });
  });
});
