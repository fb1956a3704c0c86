import { monitorEventLoopDelay } from 'node:perf_hooks';
import { afterAll, describe, expect, it } from 'vitest';
import { CorruptFileError, UnsupportedError, VerdantError } from '../../lib/errors.js';
import { openCheckpoint } from '../../lib/weights/checkpoint.js';
import { readConfig } from '../../lib/weights/config.js';
import { readGenerationConfig } from '../../lib/weights/generation_config.js';
import { readGguf } from '../../lib/weights/gguf.js';
import {
  Bytes,
  type GgufSpec,
  type GgufTensor,
  gguf,
  modelPairs,
  type Pair,
  pair,
  TempFolder,
} from '../support/bytes.js';

const temp = new TempFolder();
afterAll(() => temp.dispose());

const write = (bytes: Uint8Array) => temp.write('t.gguf', bytes);
const read = (spec: GgufSpec) => readGguf(write(gguf(spec)));
const open = (pairs: readonly Pair[], more: GgufSpec = {}) => openCheckpoint(write(gguf({ pairs, ...more })));

async function refuses(spec: GgufSpec | Uint8Array, message: RegExp, kind: unknown = CorruptFileError): Promise<void> {
  const bytes = spec instanceof Uint8Array ? spec : gguf(spec);
  const error = await readGguf(write(bytes)).catch((cause: unknown) => cause);
  expect(error).toBeInstanceOf(kind);
  expect((error as Error).message).toMatch(message);
  expect((error as Error).message).toContain('t.gguf');
}

const refusesTensors = (tensors: readonly GgufTensor[], message: RegExp, data = 0, kind: unknown = CorruptFileError) =>
  refuses({ tensors, data: new Uint8Array(data) }, message, kind);

const u64 = (value: number | bigint) => new Bytes().u64(value).build();
const u32 = (value: number) => new Bytes().u32(value).build();
const kAll = 2n ** 64n - 1n;

describe('GGUF headers', () => {
  it('reads every value type and the tensor table', async () => {
    const doubles = Buffer.alloc(8);
    doubles.writeDoubleLE(0.1);
    const file = await read({
      pairs: [
        pair.typed('u8', 0, Buffer.from([200])),
        pair.typed('i8', 1, Buffer.from([200])),
        pair.typed('u16', 2, Buffer.from([1, 2])),
        pair.typed('i16', 3, Buffer.from([0, 0x80])),
        pair.u32('u32', 4_000_000_000),
        pair.typed('i32', 5, u32(-7)),
        pair.f32('f32', 0.5),
        pair.bool('yes', 1),
        pair.string('text', 'héllo 🐭 \ufffd'),
        pair.typed('u64', 10, u64(kAll)),
        pair.typed('i64', 11, u64(-5n)),
        pair.typed('f64', 12, doubles),
        pair.array('list', 5, 2, Buffer.concat([u32(-1), u32(3)])),
        pair.strings('words', ['a', '', 'ß']),
      ],
      tensors: [
        { name: 'x', dims: [4, 3] },
        { name: 'q', dims: [64, 2], type: 8, offset: 64 },
      ],
      data: new Uint8Array(64 + 4 * 34),
    });
    expect(['u8', 'i8', 'u16', 'i16', 'u32', 'i32', 'i64'].map((key) => file.int(key))).toEqual([
      200, -56, 513, -32_768, 4_000_000_000, -7, -5,
    ]);
    expect(() => file.int('u64')).toThrow(/too large/);
    expect([file.float('f32'), file.float('f64'), file.bool('yes')]).toEqual([0.5, 0.1, true]);
    expect([file.string('text'), file.strings('words')]).toEqual(['héllo 🐭 \ufffd', ['a', '', 'ß']]);
    expect(file.numbers('list', ['int32'])).toEqual(Int32Array.of(-1, 3));
    expect(file.string('absent')).toBeUndefined();
    expect(file.tensors.get('x')).toMatchObject({ dtype: 'f32', shape: [3, 4], bytes: 48 });
    const { offset = 0 } = file.tensors.get('x') ?? {};
    expect(file.tensors.get('q')).toMatchObject({ dtype: 'q8_0', shape: [2, 64], bytes: 136, offset: offset + 64 });
    expect((await read({ version: 2 })).version).toBe(2);
  });

  it('GG-01', async () => {
    await refuses({ magic: 'FUGG' }, /not a GGUF file/);
    for (const version of [0, 1, 4]) await refuses({ version }, /unknown GGUF version/, UnsupportedError);
    await refuses({ version: 0x0300_0000 }, /big-endian/, UnsupportedError);
  });

  it('GG-02', async () => {
    for (const pairCount of [kAll, 2n ** 63n, 10n ** 12n, 3])
      await refuses({ pairCount }, /number of metadata pairs|ends inside/);
  });

  it('GG-03', async () => {
    for (const length of [kAll, 2n ** 40n, 100n]) {
      await refuses({ pairs: [pair.typed('k', 8, u64(length))] }, /length of metadata k out of range/);
      await refuses({ pairs: [(b) => b.u64(length)], pairCount: 1 }, /length of a metadata key|number of metadata/);
    }
  });

  it('GG-04', async () => {
    for (const tensorCount of [kAll, 2n ** 60n, 1]) await refuses({ tensorCount }, /number of tensors|ends inside/);
  });

  it('GG-05', async () => {
    for (const [items, count] of [
      [10, 2n ** 61n],
      [0, 2n ** 63n],
      [8, 1_000_000_000],
      [4, 9],
    ] as const) {
      await refuses({ pairs: [pair.array('k', items, count)] }, /length of metadata k out of range/);
    }
    await refuses({ pairs: [pair.array('k', 9, 1, u64(0))] }, /array of arrays/);
    await refuses({ pairs: [pair.array('k', 8, 3, u64(0)), pair.u32('l', 1)] }, /twice|range|ends|unknown|empty/);
  });

  it('GG-06', async () => {
    for (const type of [13, 2 ** 31, -1]) {
      await refuses({ pairs: [pair.typed('k', type, u64(0))] }, /unknown value type/);
      await refuses({ pairs: [pair.array('k', type, 0)] }, /unknown value type/);
    }
    for (const type of [-1, 1_000_000, 42])
      await refusesTensors([{ name: 'x', dims: [32], type }], /unknown tensor type/, 128);
    for (const type of [4, 5, 31, 38])
      await refusesTensors([{ name: 'x', dims: [32], type }], /was removed/, 128, UnsupportedError);
  });

  it('GG-07', async () => {
    await refusesTensors([{ name: 'x', dims: [2 ** 22, 2 ** 42 + 1] }], /too many elements/, 128);
    await refusesTensors([{ name: 'x', dims: [2 ** 32, 2 ** 32, 2] }], /too many elements/, 128);
    await refusesTensors([{ name: 'x', dims: [kAll] }], /out of range/, 128);
  });

  it('GG-08', async () => {
    const dims = [0x7fff_ffff_ffff_ffc0n];
    await refusesTensors(
      [
        { name: 'x', dims, type: 24 },
        { name: 'y', dims, type: 24 },
      ],
      /out of range/,
      128,
    );
    const large = [2 ** 52];
    await refusesTensors(
      [
        { name: 'x', dims: large, type: 24 },
        { name: 'y', dims: large, type: 24, offset: 2 ** 52 },
      ],
      /ends inside|out of range/,
    );
  });

  it('GG-09', () => refusesTensors([{ name: 'x', dims: [4, 0] }], /a dimension is 0/));

  it('GG-10', async () => {
    for (const rank of [0, 5, 2 ** 32 - 1])
      await refusesTensors([{ name: 'x', dims: [1, 1, 1, 1, 1], rank }], /bad number of dimensions/, 64);
  });

  it('GG-11', () =>
    refusesTensors(
      [{ name: 'x', dims: [33, 32], type: 8 }],
      /not a multiple of q8_0's block; expected 32; found 33/,
      4096,
    ));

  it('GG-12', async () => {
    const x = { name: 'x', dims: [8] };
    await refusesTensors([{ ...x, offset: 2 ** 40 }], /offset of x out of range/, 32);
    await refusesTensors([{ ...x, offset: kAll - 31n }], /out of range/, 32);
    await refusesTensors([x, { name: 'y', dims: [8], offset: 33 }], /bad data offset/, 96);
    await refusesTensors([x, { name: 'y', dims: [8], offset: 0 }], /tensor y: bad data offset/, 64);
    await refusesTensors([x, { name: 'y', dims: [8], offset: 64 }], /bad data offset/, 96);
    await refusesTensors([x, { name: 'y', dims: [8], offset: 32 }], /tensor y: the file ends inside/, 63);
  });

  it('GG-13', async () => {
    for (const value of [0, 13, 2 ** 31])
      await refuses({ pairs: [pair.u32('general.alignment', value)] }, /bad general.alignment/);
    await refuses({ pairs: [pair.typed('general.alignment', 5, u32(32))] }, /wrong type/);
    const tensors = [
      { name: 'x', dims: [1] },
      { name: 'y', dims: [1], offset: 64 },
    ];
    const file = await read({
      pairs: [pair.u32('general.alignment', 64)],
      alignment: 64,
      tensors,
      data: new Uint8Array(68),
    });
    expect(file.alignment).toBe(64);
    expect((file.tensors.get('y')?.offset ?? 0) % 64).toBe(0);
  });

  it('GG-14', { timeout: 30_000 }, async () => {
    await refuses({ pairs: [pair.u32('', 1)] }, /empty metadata key/);
    await refuses({ pairs: [pair.u32('k', 1), pair.f32('k', 1)] }, /occurs twice/);
    await refuses({ pairs: [pair.u32('a\0b', 1)] }, /NUL/);
    await refuses({ pairs: [pair.typed(Buffer.from([0x61, 0xff]), 4, u32(1))] }, /invalid UTF-8/);
    await refuses({ pairs: [pair.string('k', Buffer.from([0xc3, 0x28]))] }, /invalid UTF-8/);
    const start = performance.now();
    const many = new Bytes().raw(Buffer.from('GGUF')).u32(3).u64(0).u64(200_000);
    const body = Buffer.alloc(200_000 * 20);
    for (let i = 0; i < 200_000; i += 1) {
      body.writeUInt32LE(7, i * 20);
      body.write(String(i).padStart(7, '0'), i * 20 + 8, 'latin1');
      body.writeUInt32LE(7, i * 20 + 15);
      body[i * 20 + 19] = 1;
    }
    expect((await readGguf(write(many.raw(body).build()))).metadata.size).toBe(200_000);
    expect(performance.now() - start).toBeLessThan(10_000);
  });

  it('GG-15', async () => {
    const scores = (items: number, count: number, bytes: number) =>
      modelPairs('llama', [pair.array('tokenizer.ggml.scores', items, count, new Uint8Array(bytes))]);
    await expect(open(scores(0, 4, 4))).rejects.toThrow(
      /scores has the wrong type; expected array of float32; found array of uint8/,
    );
    await expect(open(scores(6, 3, 12))).rejects.toThrow(/length differs from the tokens/);
    expect((await open(scores(6, 4, 16))).kind).toBe('gguf');
  });

  it('GG-17', async () => {
    for (const key of ['eos', 'bos', 'unknown']) {
      for (const id of [0xffff_ffff, 4]) {
        await expect(open(modelPairs('llama', [pair.u32(`tokenizer.ggml.${key}_token_id`, id)]))).rejects.toThrow(
          VerdantError,
        );
      }
    }
    const stops = [pair.u32('tokenizer.ggml.eos_token_id', 1), pair.u32('tokenizer.ggml.eot_token_id', 3)];
    const checkpoint = await open(
      modelPairs('llama', [...stops, pair.u32('tokenizer.ggml.padding_token_id', 0xffff_ffff)]),
    );
    const defaults = readGenerationConfig(checkpoint, readConfig(checkpoint));
    expect([defaults.eosTokenIds, defaults.padTokenId]).toEqual([[1, 3], undefined]);
  });

  it('GG-18', async () => {
    const layers = (value: number) => modelPairs().map((p, i) => (i === 1 ? pair.u32('llama.block_count', value) : p));
    for (const value of [0, 1025, 2 ** 31]) await expect(open(layers(value))).rejects.toThrow(/llama.block_count/);
    const perLayer = (...values: number[]) =>
      modelPairs('llama', [
        pair.array('llama.attention.head_count_kv', 4, values.length, Buffer.concat(values.map(u32))),
      ]);
    await expect(open(perLayer(1))).rejects.toThrow(/expected 2 numbers/);
    await expect(open(perLayer(1, 0))).rejects.toThrow(/numbers from 1/);
    await expect(open(perLayer(1, 2))).rejects.toThrow(UnsupportedError);
    expect(readConfig(await open(perLayer(1, 1))).int('num_key_value_heads')).toBe(1);
  });

  it('GG-19', async () => {
    const heads = (value: number) =>
      modelPairs().map((p, i) => (i === 5 ? pair.u32('llama.attention.head_count', value) : p));
    for (const value of [0, 3]) await expect(open(heads(value))).rejects.toThrow(/head_count/);
    await expect(open(modelPairs('llama', [pair.u32('llama.attention.head_count_kv', 0)]))).rejects.toThrow(
      /head_count_kv/,
    );
    await expect(open(modelPairs('qwen2', [pair.u32('qwen2.expert_count', 8)]))).rejects.toThrow(UnsupportedError);
    const experts = (count: number, used: number) =>
      open(modelPairs('llama', [pair.u32('llama.expert_count', count), pair.u32('llama.expert_used_count', used)]));
    await expect(experts(8, 0)).rejects.toThrow(/llama.expert_used_count; expected from 1 to 8/);
    await expect(experts(8, 9)).rejects.toThrow(/expert_used_count/);
    expect((await experts(8, 2)).config).toMatchObject({ model_type: 'mixtral', num_experts_per_tok: 2 });
    await expect(open(modelPairs('llama', [pair.u32('llama.expert_count', 8)]))).rejects.toThrow(CorruptFileError);
    const kv = readConfig.bind(
      undefined,
      await open(modelPairs('llama', [pair.u32('llama.attention.head_count_kv', 3)])),
    );
    expect(kv).toThrow(/divisor of num_attention_heads/);
  });

  it('GG-21', async () => {
    await refusesTensors(
      [
        { name: 'x', dims: [8] },
        { name: 'x', dims: [8], offset: 32 },
      ],
      /tensor x: the tensor occurs twice/,
      64,
    );
    await refusesTensors([{ name: 'n'.repeat(64), dims: [8] }], /length of a tensor name/, 64);
    await refusesTensors([{ name: '', dims: [8] }], /tensor name is empty/, 64);
    expect(
      (await read({ tensors: [{ name: 'n'.repeat(63), dims: [8] }], data: new Uint8Array(32) })).tensors.size,
    ).toBe(1);
  });

  const tiny = gguf({
    pairs: modelPairs('llama', [pair.bool('tokenizer.ggml.add_bos_token', 1)]),
    tensors: [
      { name: 'token_embd.weight', dims: [8, 4] },
      { name: 'n', dims: [8], offset: 128 },
    ],
    data: new Uint8Array(160),
  });

  it('GG-22 a file cut at any length', { timeout: 30_000 }, async () => {
    expect((await openCheckpoint(write(tiny))).tensors.size).toBe(2);
    for (let size = 0; size < tiny.length; size += 1) {
      await expect(readGguf(write(tiny.subarray(0, size))), `${size} bytes`).rejects.toThrow(CorruptFileError);
    }
  });

  it('GG-23', () => expect(open(modelPairs('llama', [pair.u32('split.count', 2)]))).rejects.toThrow(/split.count/));

  it('says what lies in place of weights', async () => {
    await refuses(Buffer.from('version https://git-lfs.github.com/spec/v1\n'), /Git LFS pointer/);
    await refuses(Buffer.from('<html>'), /web page/);
  });

  async function flips(
    whole: Buffer,
    bits: readonly number[],
    use: typeof readGguf | typeof openCheckpoint,
  ): Promise<void> {
    for (const bit of bits) {
      const bytes = Buffer.from(whole);
      bytes[bit >> 3] = (bytes[bit >> 3] as number) ^ (1 << (bit & 7));
      const result = await use(write(bytes)).catch((error: unknown) => error);
      if (result instanceof Error) expect(result, `bit ${bit}: ${result.stack}`).toBeInstanceOf(VerdantError);
      else {
        for (const { offset, bytes: size } of (result as Awaited<ReturnType<typeof readGguf>>).tensors.values()) {
          expect(offset + size, `bit ${bit}`).toBeLessThanOrEqual(whole.length);
        }
      }
    }
  }

  it('answers every flipped bit with a typed error or a consistent table', { timeout: 30_000 }, async () => {
    const pairs = [pair.u32('general.alignment', 32), pair.strings('s', ['a', 'b']), pair.bool('b', 1)];
    const small = gguf({ pairs, tensors: [{ name: 'x', dims: [8] }], data: new Uint8Array(32) });
    const all = Array.from({ length: (small.length - 32) * 8 }, (_, bit) => bit);
    await flips(small, all, readGguf);
    const some = Array.from({ length: tiny.length - 160 }, (_, byte) => byte * 8 + (byte % 8));
    await flips(tiny, some, openCheckpoint);
  });

  it('reads a 256k-token vocabulary without holding the event loop', async () => {
    const tokens = Buffer.alloc(256_000 * 16);
    for (let i = 0; i < 256_000; i += 1) {
      tokens.writeUInt32LE(8, i * 16);
      tokens.write(i.toString(16).padStart(8, 'x'), i * 16 + 8, 'latin1');
    }
    const file = write(gguf({ pairs: [pair.array('tokens', 8, 256_000, tokens)] }));
    const delay = monitorEventLoopDelay({ resolution: 1 });
    delay.enable();
    const start = performance.now();
    const result = await readGguf(file);
    const took = performance.now() - start;
    delay.disable();
    expect(result.strings('tokens')?.[255_999]).toBe('xxx3e7ff');
    expect(took).toBeLessThan(5000);
    expect(delay.max / 1e6).toBeLessThan(500);
  });
});
