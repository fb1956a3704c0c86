import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { InputError } from '../../lib/errors.js';
import { readGguf } from '../../lib/weights/gguf.js';
import type { GgufValue } from '../../lib/weights/gguf_types.js';
import { type GgufTensor, writeGguf } from '../../lib/weights/write_gguf.js';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'verdant-gguf-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const metadata = new Map<string, GgufValue>([
  ['general.architecture', { type: 'string', value: 'llama' }],
  ['a.u8', { type: 'uint8', value: 255 }],
  ['a.i8', { type: 'int8', value: -128 }],
  ['a.u16', { type: 'uint16', value: 65535 }],
  ['a.i16', { type: 'int16', value: -32768 }],
  ['a.u32', { type: 'uint32', value: 2 ** 32 - 1 }],
  ['a.i32', { type: 'int32', value: -(2 ** 31) }],
  ['a.u64', { type: 'uint64', value: 2n ** 64n - 1n }],
  ['a.i64', { type: 'int64', value: -(2n ** 63n) }],
  ['a.f32', { type: 'float32', value: Math.fround(0.1) }],
  ['a.f64', { type: 'float64', value: 0.1 }],
  ['a.yes', { type: 'bool', value: true }],
  ['a.no', { type: 'bool', value: false }],
  ['a.text', { type: 'string', value: 'naïve 鼹鼠 🐹\n' }],
  ['a.empty', { type: 'array', items: 'string', value: [] }],
  ['a.texts', { type: 'array', items: 'string', value: ['', 'Ġthe', '▁mole'] }],
  ['a.floats', { type: 'array', items: 'float32', value: Float32Array.of(1.5, -0, Infinity) }],
  ['a.ints', { type: 'array', items: 'int32', value: Int32Array.of(1, -6) }],
  ['a.longs', { type: 'array', items: 'int64', value: BigInt64Array.of(-1n, 5n) }],
]);

function tensor(
  name: string,
  dtype: GgufTensor['dtype'],
  shape: readonly number[],
  bytes: number,
  step = 7,
): GgufTensor {
  const data = Uint8Array.from({ length: bytes }, (_, i) => (i * 31 + name.length) & 255);
  return {
    name,
    dtype,
    shape,
    pieces: async function* () {
      for (let at = 0; at < bytes; at += step) yield data.subarray(at, at + step);
    },
  };
}

const tensors = [
  tensor('token_embd.weight', 'q8_0', [3, 64], 3 * 68),
  tensor('blk.0.attn_norm.weight', 'f32', [5], 20),
  tensor('blk.0.attn_q.weight', 'q4_k', [2, 256], 2 * 144, 1000),
  tensor('cube', 'f16', [2, 3, 4], 48),
];

describe('writeGguf', () => {
  it('writes what the reader reads: every value type, every byte, in order and aligned', async () => {
    const [path, seen] = [join(folder, 'm.gguf'), [] as { done: number; total: number }[]];
    const size = await writeGguf(path, metadata, tensors, { onProgress: (p) => seen.push(p) });
    const bytes = readFileSync(path);
    expect(bytes.length).toBe(size);
    expect(seen.at(-1)).toEqual({ done: size, total: size });
    const file = await readGguf(path);
    expect(file.version).toBe(3);
    expect(new Map(file.metadata)).toEqual(metadata);
    expect([...file.tensors.keys()]).toEqual(tensors.map((t) => t.name));
    for (const { name, dtype, shape, pieces } of tensors) {
      const entry = file.tensors.get(name)!;
      expect(entry).toMatchObject({ dtype, shape });
      expect(entry.offset % 32).toBe(0);
      const expected: Uint8Array[] = [];
      for await (const piece of pieces()) expected.push(piece);
      expect(bytes.subarray(entry.offset, entry.offset + entry.bytes)).toEqual(Buffer.concat(expected));
    }
    expect(readdirSync(folder)).toEqual(['m.gguf']);
  });

  it('replaces a file only where it may, and then whole', async () => {
    const path = join(folder, 'm.gguf');
    writeFileSync(path, 'precious');
    await expect(writeGguf(path, metadata, tensors)).rejects.toThrow(/m\.gguf: the file exists.*--overwrite/);
    expect(readFileSync(path, 'utf8')).toBe('precious');
    const short = [{ ...tensors[1]!, pieces: tensor('x', 'f32', [4], 16).pieces }];
    await expect(writeGguf(path, metadata, short, { overwrite: true })).rejects.toThrow(/expected 20; found 16/);
    expect(readFileSync(path, 'utf8')).toBe('precious');
    await writeGguf(path, metadata, tensors, { overwrite: true });
    expect((await readGguf(path)).tensors.size).toBe(tensors.length);
    expect(readdirSync(folder)).toEqual(['m.gguf']);
  });

  it('gives a new name to one of two writers', async () => {
    const path = join(folder, 'm.gguf');
    const results = await Promise.allSettled([1, 2].map(() => writeGguf(path, metadata, tensors)));
    const refused = results.flatMap((r) => (r.status === 'rejected' ? [r.reason as Error] : []));
    expect(refused.map((e) => e.message)).toEqual([expect.stringMatching(/m\.gguf: the file exists/)]);
    expect((await readGguf(path)).tensors.size).toBe(tensors.length);
    expect(readdirSync(folder)).toEqual(['m.gguf']);
  });

  it('says what is wrong with the place', async () => {
    mkdirSync(join(folder, 'there.gguf'));
    writeFileSync(join(folder, 'file'), '');
    const to = (name: string, list = tensors): Promise<number> => writeGguf(join(folder, name), metadata, list);
    await expect(to('there.gguf')).rejects.toThrow(/there\.gguf: cannot write there.*a folder/);
    await expect(to('nowhere/m.gguf')).rejects.toThrow(/cannot write there.*ENOENT/);
    await expect(to('file/m.gguf')).rejects.toThrow(/cannot write there.*ENOTDIR/);
    const huge = { ...tensors[1]!, shape: [2 ** 50] };
    await expect(to('m.gguf', [huge])).rejects.toThrow(/the disk is full.*room for/);
    const full = Object.assign(new Error('write'), { code: 'ENOSPC' });
    const failing: GgufTensor = {
      ...tensors[1]!,
      pieces: async function* () {
        yield new Uint8Array(4);
        throw full;
      },
    };
    await expect(to('m.gguf', [failing])).rejects.toThrow(/m\.gguf: the disk is full.*ENOSPC/);
    expect(readdirSync(folder).sort()).toEqual(['file', 'there.gguf']);
  });

  it('refuses tensors that the format cannot hold', async () => {
    const write = (t: Partial<GgufTensor>): Promise<number> =>
      writeGguf(join(folder, 'm.gguf'), metadata, [{ ...tensors[0]!, ...t }]);
    await expect(write({ dtype: 'u8' })).rejects.toThrow(InputError);
    await expect(write({ dtype: 'u8' })).rejects.toThrow(/no GGUF type/);
    await expect(write({ shape: [3, 65] })).rejects.toThrow(/rows of q8_0 come in blocks.*multiple of 32/);
    await expect(write({ shape: [] })).rejects.toThrow(/bad shape/);
    await expect(write({ shape: [1, 1, 1, 1, 32] })).rejects.toThrow(/bad shape/);
    await expect(write({ shape: [0, 32] })).rejects.toThrow(/bad shape/);
    await expect(write({ name: 'x'.repeat(64) })).rejects.toThrow(/too long/);
    expect(readdirSync(folder)).toEqual([]);
  });

  it('stops when it is told to, and leaves nothing', async () => {
    const controller = new AbortController();
    const made = writeGguf(join(folder, 'm.gguf'), metadata, tensors, {
      signal: controller.signal,
      onProgress: ({ done }) => done > 1000 && controller.abort(),
    });
    await expect(made).rejects.toThrow(/abort/i);
    expect(readdirSync(folder)).toEqual([]);
  });
});
