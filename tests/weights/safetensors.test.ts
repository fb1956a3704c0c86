import { mkdirSync, rmSync, symlinkSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { CorruptFileError, ModelNotFoundError, UnsupportedError, VerdantError } from '../../lib/errors.js';
import { openCheckpoint } from '../../lib/weights/checkpoint.js';
import { readSafetensors } from '../../lib/weights/safetensors.js';
import { safetensors, TempFolder } from '../support/bytes.js';

const temp = new TempFolder();
afterAll(() => temp.dispose());

const entry = (dtype: string, shape: string, begin: number | string, end: number | string) =>
  `{"dtype":"${dtype}","shape":${shape},"data_offsets":[${begin},${end}]}`;
const good = `{"__metadata__":{"format":"pt"},"a":${entry('F32', '[2,2]', 0, 16)},"b":${entry('U8', '[3]', 16, 19)}}`;

function read(bytes: Uint8Array) {
  return readSafetensors(temp.write('t.safetensors', bytes));
}

async function refuses(bytes: Uint8Array, message: RegExp): Promise<void> {
  const error = await read(bytes).then(
    () => undefined,
    (cause: unknown) => cause,
  );
  expect(error).toBeInstanceOf(CorruptFileError);
  expect((error as Error).message).toMatch(message);
  expect((error as Error).message).toContain('t.safetensors');
}

const refusesHeader = (header: string, message: RegExp, data = 0) =>
  refuses(safetensors(header, new Uint8Array(data)), message);

describe('safetensors headers', () => {
  it('reads a well-formed file, offsets absolute', async () => {
    const file = await read(safetensors(good, new Uint8Array(19)));
    const data = 8 + good.length;
    expect(file.metadata.get('format')).toBe('pt');
    expect(file.tensors.get('a')).toMatchObject({ dtype: 'f32', shape: [2, 2], offset: data, bytes: 16 });
    expect(file.tensors.get('b')).toMatchObject({ dtype: 'u8', shape: [3], offset: data + 16, bytes: 3 });
    expect((await read(safetensors(`${good}   `, new Uint8Array(19)))).tensors.size).toBe(2);
    expect((await read(safetensors('{}'))).tensors.size).toBe(0);
  });

  it('ST-01', async () => {
    for (let size = 0; size < 8; size += 1) await refuses(new Uint8Array(size), /too short/);
  });

  it('ST-02', async () => {
    for (const length of [100_000_001n, 2n ** 63n, 2n ** 64n - 1n]) {
      await refuses(safetensors(good, new Uint8Array(19), length), /bad header length/);
    }
    const file = temp.write('sparse.safetensors', safetensors('{', undefined, 100_000_001n));
    truncateSync(file, 200_000_000);
    await expect(readSafetensors(file)).rejects.toThrow(/expected at most 100000000 bytes/);
    rmSync(file);
  });

  it('ST-03', () => refuses(safetensors(good, new Uint8Array(19), 1000n), /bad header length.*found 1000/));

  it('ST-04', async () => {
    await refuses(
      Buffer.from('version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n'),
      /Git LFS pointer/,
    );
    await refuses(Buffer.from('<!DOCTYPE html><html></html>'), /web page/);
    await refuses(Buffer.from('{"error":"Repository not found"}'), /error message/);
  });

  it('ST-05', async () => {
    for (const start of [' ', '\ufeff', '\0']) await refusesHeader(start + good, /does not start with \{/, 19);
    for (const end of ['x', '\0', '\n', '{}']) await refusesHeader(good + end, /padded/, 19);
    const broken = Buffer.from(`{"\u00e9":${entry('U8', '[0]', 0, 0)}}`);
    broken[2] = 0xff;
    await refuses(safetensors(broken), /invalid UTF-8/);
    await refusesHeader('{"a"', /malformed/);
  });

  it('ST-06', async () => {
    const a = entry('U8', '[1]', 0, 1);
    await refusesHeader(`{"a":${a},"a":${a}}`, /tensor a: the tensor occurs twice/, 1);
    await refusesHeader(`{"a":${a},"\\u0061":${a}}`, /occurs twice/, 1);
    await refusesHeader(
      '{"a":{"dtype":"U8","dtype":"I8","shape":[1],"data_offsets":[0,1]}}',
      /"dtype" occurs twice/,
      1,
    );
    for (const value of ['1', '{}', 'null', '[]', 'true']) {
      await refusesHeader(`{"__metadata__":{"k":${value}}}`, /not a string/);
    }
    await refusesHeader('{"__metadata__":{"k":"1","k":"2"}}', /metadata key "k" occurs twice/);
    await refusesHeader('{"__metadata__":{},"__metadata__":{}}', /occurs twice/);
  });

  it('ST-07', { timeout: 30_000 }, async () => {
    const names = Array.from({ length: 100_000 }, (_, index) => `"t${index}":${entry('F32', '[200,200]', 0, 160_000)}`);
    await refuses(safetensors(`{${names.join(',')}}`, new Uint8Array(160_000)), /overlaps t0/);
    const many = Array.from({ length: 262_145 }, (_, index) => `"${index}":${entry('U8', '[0]', 0, 0)}`);
    await refuses(safetensors(`{${many.join(',')}}`), /more than 262144 tensors/);
  });

  it('ST-08', async () => {
    await refusesHeader(`{"a":${entry('U8', '[1]', 0, 1)},"b":${entry('U8', '[1]', 2, 3)}}`, /gap/, 3);
    await refusesHeader(`{"a":${entry('U8', '[2]', 0, 2)},"b":${entry('U8', '[2]', 1, 3)}}`, /overlaps/, 3);
    await refusesHeader(good, /bytes after the last tensor/, 20);
    await refusesHeader('{}', /bytes after the last tensor/, 1);
    const empty = `{"a":${entry('U8', '[4]', 0, 4)},"e":${entry('U8', '[0]', 2, 2)}}`;
    await refusesHeader(empty, /tensor e: overlaps/, 4);
  });

  it('ST-09', async () => {
    const offsets = (text: string) => `{"a":{"dtype":"U8","shape":[8],"data_offsets":${text}}}`;
    for (const text of [
      '[8,0]',
      '[-1,7]',
      '[0,1.5]',
      '[0,1e3]',
      '["0","8"]',
      '[0,8,8]',
      '[0]',
      '[00,8]',
      'null',
      '8',
    ]) {
      await expect(read(safetensors(offsets(text), new Uint8Array(8))), text).rejects.toThrow(CorruptFileError);
    }
    await refusesHeader(offsets('[0,9007199254740993]'), /too large/, 8);
    await refusesHeader(offsets('[0,18446744073709551615]'), /too large/, 8);
  });

  it('ST-10', async () => {
    await refusesHeader(`{"a":${entry('U8', '[4294967296,4294967296,2]', 0, 8)}}`, /shape too large/, 8);
    await refusesHeader(`{"a":${entry('U8', '[9223372036854775808,4,0]', 0, 0)}}`, /too large/);
    await refusesHeader(`{"a":${entry('U8', '[0,4294967296,4294967296]', 0, 0)}}`, /shape too large/);
    await refusesHeader(`{"a":${entry('F64', '[1125899906842624]', 0, 8)}}`, /shape too large/, 8);
    await refusesHeader(`{"a":${entry('U8', `[${Array(10_000).fill(1)}]`, 0, 1)}}`, /more than 16 numbers/, 1);
    const legal = `{"e":${entry('F32', '[3,0]', 0, 0)},"s":${entry('F32', '[]', 0, 4)},"z":${entry('F16', '[0]', 4, 4)}}`;
    const { tensors } = await read(safetensors(legal, new Uint8Array(4)));
    expect([...tensors.values()].map(({ shape, bytes }) => [shape, bytes])).toEqual([
      [[3, 0], 0],
      [[], 4],
      [[0], 0],
    ]);
  });

  it('ST-11', async () => {
    for (const type of ['f32', 'Q4', '__proto__', 'toString', '']) {
      await refusesHeader(`{"a":${entry(type, '[1]', 0, 4)}}`, /unknown dtype/, 4);
    }
    await refusesHeader(`{"a":${entry('F4', '[3]', 0, 1)}}`, /whole bytes/, 1);
    expect((await read(safetensors(`{"a":${entry('F4', '[4]', 0, 2)}}`, new Uint8Array(2)))).tensors.size).toBe(1);
  });

  it('ST-12', () =>
    refusesHeader(`{"a":${entry('F32', '[2]', 0, 7)}}`, /do not fit F32 \[2\]; expected 8; found 7/, 7));

  it('ST-13', () => refusesHeader(good, /tensor b: data_offsets outside of the file/, 18));

  it('ST-17', async () => {
    const { tensors } = await read(
      safetensors(`{"a":${entry('U8', '[1]', 0, 1)},"b":${entry('F32', '[1]', 1, 5)}}`, new Uint8Array(5)),
    );
    expect(tensors.get('b')?.bytes).toBe(4);
  });

  it('refuses a file cut at any length', async () => {
    const whole = safetensors(good, new Uint8Array(19));
    for (let size = 0; size < whole.length; size += 1) {
      await expect(read(whole.subarray(0, size)), `${size} bytes`).rejects.toThrow(CorruptFileError);
    }
  });

  it('answers every flipped bit with a typed error or a consistent table', async () => {
    const whole = safetensors(good, new Uint8Array(19));
    for (let bit = 0; bit < (8 + good.length) * 8; bit += 1) {
      const bytes = Buffer.from(whole);
      bytes[bit >> 3] = (bytes[bit >> 3] as number) ^ (1 << (bit & 7));
      const result = await read(bytes).catch((error: unknown) => error);
      if (result instanceof Error) {
        expect(result, `bit ${bit}`).toBeInstanceOf(VerdantError);
        continue;
      }
      const { tensors } = result as Awaited<ReturnType<typeof read>>;
      const total = [...tensors.values()].reduce((sum, { bytes: size }) => sum + size, 0);
      expect(total, `bit ${bit}`).toBe(19);
    }
  });

  it('reads 100,000 tensors in linear time without holding the event loop', { timeout: 30_000 }, async () => {
    const names = Array.from({ length: 100_000 }, (_, i) => `"layer.${i}.weight":${entry('U8', '[1]', i, i + 1)}`);
    const file = temp.write('many.safetensors', safetensors(`{${names.reverse().join(',')}}`, new Uint8Array(100_000)));
    const delay = monitorEventLoopDelay({ resolution: 1 });
    delay.enable();
    const start = performance.now();
    expect((await readSafetensors(file)).tensors.size).toBe(100_000);
    expect(performance.now() - start).toBeLessThan(10_000);
    delay.disable();
    expect(delay.max / 1e6).toBeLessThan(500);
  });
});

describe('sharded checkpoints', () => {
  let folder = '';
  let count = 0;
  beforeEach(() => {
    folder = `shards${count++}`;
    mkdirSync(join(temp.path, folder));
    temp.write(join(folder, 'config.json'), '{"model_type":"llama"}');
    temp.write(join(folder, '1.safetensors'), safetensors(`{"a":${entry('U8', '[1]', 0, 1)}}`, new Uint8Array(1)));
    temp.write(join(folder, '2.safetensors'), safetensors(`{"b":${entry('U8', '[2]', 0, 2)}}`, new Uint8Array(2)));
  });

  function open(map: string) {
    temp.write(join(folder, 'model.safetensors.index.json'), `{"metadata":{"total_size":3},"weight_map":${map}}`);
    return openCheckpoint(join(temp.path, folder));
  }

  it('reads all shards', async () => {
    const checkpoint = await open('{"a":"1.safetensors","b":"2.safetensors"}');
    expect([...checkpoint.tensors.keys()]).toEqual(['a', 'b']);
    expect(checkpoint.files.map(({ size }) => size)).toHaveLength(2);
  });

  it('ST-13 a short shard fails the whole checkpoint', async () => {
    const shard = join(temp.path, folder, '2.safetensors');
    temp.write(join(folder, '2.safetensors'), safetensors(`{"b":${entry('U8', '[2]', 0, 2)}}`, new Uint8Array(1)));
    await expect(open('{"a":"1.safetensors","b":"2.safetensors"}')).rejects.toThrow(shard);
  });

  it('ST-15', async () => {
    const names = [
      '../x.safetensors',
      '/etc/passwd',
      'C:\\\\x.safetensors',
      'a/../../b.safetensors',
      'x\\u0000.safetensors',
    ];
    for (const name of [...names, '..', '', 'a.bin', `${'n'.repeat(10_000_000)}.safetensors`]) {
      await expect(open(`{"a":"${name}","b":"2.safetensors"}`)).rejects.toThrow(/bad file name in weight_map/);
    }
    symlinkSync(temp.write('outside.safetensors', 'x'), join(temp.path, folder, 'link.safetensors'));
    await expect(open('{"a":"link.safetensors","b":"2.safetensors"}')).rejects.toThrow(/leads out of the model folder/);
    await expect(open('{"a":"1.safetensors","a":"2.safetensors"}')).rejects.toThrow(/occurs twice/);
    mkdirSync(join(temp.path, folder, 'd.safetensors'));
    await expect(open('{"a":"d.safetensors"}')).rejects.toThrow(/not a regular file|cannot open/);
  });

  it("ST-15 the hub cache's own links are followed", async () => {
    const snapshot = join(temp.path, `cache${count}`, 'snapshots', 'abc');
    const blobs = join(temp.path, `cache${count}`, 'blobs');
    mkdirSync(snapshot, { recursive: true });
    mkdirSync(blobs);
    const put = (name: string, content: string | Uint8Array) => {
      temp.write(join(`cache${count}`, 'blobs', `hash-${name}`), content);
      symlinkSync(join('..', '..', 'blobs', `hash-${name}`), join(snapshot, name));
    };
    put('config.json', '{"model_type":"llama"}');
    put('model.safetensors.index.json', '{"weight_map":{"a":"1.safetensors"}}');
    put('1.safetensors', safetensors(`{"a":${entry('U8', '[1]', 0, 1)}}`, new Uint8Array(1)));
    expect((await openCheckpoint(snapshot)).tensors.size).toBe(1);
  });

  it('ST-16', async () => {
    await expect(open('{"a":"1.safetensors","b":"2.safetensors","c":"2.safetensors"}')).rejects.toThrow(
      /tensor c.*2\.safetensors/,
    );
    await expect(open('{"a":"1.safetensors"}').then((c) => c.tensors.size)).resolves.toBe(1);
    await expect(open('{"b":"1.safetensors","a":"2.safetensors"}')).rejects.toThrow(/index puts it in/);
    temp.write(join(folder, '2.safetensors'), safetensors(`{"a":${entry('U8', '[2]', 0, 2)}}`, new Uint8Array(2)));
    await expect(open('{"a":"1.safetensors","b":"2.safetensors"}')).rejects.toThrow(/also in 1\.safetensors/);
    const two = `{"b":${entry('U8', '[1]', 0, 1)},"extra":${entry('U8', '[1]', 1, 2)}}`;
    temp.write(join(folder, '2.safetensors'), safetensors(two, new Uint8Array(2)));
    await expect(open('{"a":"1.safetensors","b":"2.safetensors"}')).rejects.toThrow(/tensor extra: not listed/);
    rmSync(join(temp.path, folder, '2.safetensors'));
    await expect(open('{"a":"1.safetensors","b":"2.safetensors"}')).rejects.toThrow(ModelNotFoundError);
  });
});

describe('openCheckpoint', () => {
  it('names what is missing', async () => {
    await expect(openCheckpoint(join(temp.path, 'nowhere'))).rejects.toThrow(ModelNotFoundError);
    await expect(openCheckpoint('')).rejects.toThrow(ModelNotFoundError);
    await expect(openCheckpoint('a\0b')).rejects.toThrow(ModelNotFoundError);
    const empty = join(temp.path, 'empty');
    mkdirSync(empty);
    await expect(openCheckpoint(empty)).rejects.toThrow(/no weights in the folder/);
    temp.write('empty/flax_model.msgpack', 'x');
    await expect(openCheckpoint(empty)).rejects.toThrow(/no weights in the folder/);
    temp.write('empty/model.safetensors', safetensors('{}'));
    await expect(openCheckpoint(empty)).rejects.toThrow(/config.json is missing/);
    await expect(openCheckpoint(temp.write('model.onnx', 'x'))).rejects.toThrow(UnsupportedError);
    await expect(openCheckpoint(temp.write('m-00001-of-00002.safetensors', 'x'))).rejects.toThrow(/one shard/);
  });
});
