/** pytorch_model.bin: the same tensors as safetensors, and nothing of a pickle is run. */
import { copyFileSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { CorruptFileError, UnsupportedError, VerdantError } from '../../lib/errors.js';
import { load, quantize } from '../../lib/index.js';
import { openCheckpoint } from '../../lib/weights/checkpoint.js';
import { readSafetensors } from '../../lib/weights/safetensors.js';
import { readTorchFile } from '../../lib/weights/torch_file.js';
import type { TensorEntry } from '../../lib/weights/types.js';
import { Bytes, TempFolder } from '../support/bytes.js';
import { Random } from '../support/random.js';

const temp = new TempFolder();
afterAll(() => temp.dispose());
const fixtures = join(import.meta.dirname, '../fixtures/pickles');
const at = (name: string): string => join(fixtures, name);

function bytesOf(entry: TensorEntry): Buffer {
  if (entry.data !== undefined) return Buffer.from(entry.data);
  return readFileSync(entry.file).subarray(entry.offset, entry.offset + entry.bytes);
}

describe('state dicts of torch.save', () => {
  const kinds = ['zip', 'zip_protocol4', 'zip_protocol5', 'legacy', 'legacy_protocol4'];
  it.each(kinds)('%s: every dtype, shared storages, offsets and strides, as safetensors has them', async (kind) => {
    const expected = await readSafetensors(at('expected.safetensors'));
    const { tensors } = await readTorchFile(at(`${kind}.bin`));
    expect([...tensors.keys()].sort()).toEqual([...expected.tensors.keys()].sort());
    for (const [name, want] of expected.tensors) {
      const found = tensors.get(name)!;
      expect([name, found.dtype, found.shape, found.bytes]).toEqual([name, want.dtype, want.shape, want.bytes]);
      expect(bytesOf(found).equals(bytesOf(want))).toBe(true);
    }
    const copied = [...tensors.values()].filter((t) => t.data !== undefined).map((t) => t.name);
    expect(copied.sort()).toEqual(['column', 'one_wide', 'permuted', 'steps', 'transposed']);
    expect(tensors.get('tied')!.offset).toBe(tensors.get('base')!.offset);
    expect(tensors.get('rows')!.offset).toBe(tensors.get('base')!.offset + 2 * 5 * 4);
  });

  it('a dtype without a storage class of its own', async () => {
    const { tensors } = await readTorchFile(at('untyped.bin'));
    expect(tensors.get('u16')).toMatchObject({ dtype: 'u16', shape: [2], bytes: 4 });
    expect(bytesOf(tensors.get('u16')!).toString('hex')).toBe('0100ffff');
  });

  it('what is not a state dict is refused by name', async () => {
    await expect(readTorchFile(at('script.bin'))).rejects.toThrow(/TorchScript archive holds a program/);
    await expect(readTorchFile(at('compressed.bin'))).rejects.toThrow(/an entry of the archive is compressed/);
    const tar = Buffer.alloc(1024);
    tar.write('ustar', 257, 'latin1');
    await expect(readTorchFile(temp.write('old.bin', tar))).rejects.toThrow(/tar archive of torch before 0\.2/);
    await expect(readTorchFile(temp.write('page.bin', '<!doctype html>'))).rejects.toThrow(/this is a web page/);
    await expect(readTorchFile(temp.write('none.bin', new Uint8Array()))).rejects.toThrow(CorruptFileError);
  });
});

/** A legacy file whose state is the given pickle. */
function legacy(state: Uint8Array): Buffer {
  const magic = Buffer.from('80028a0a6cfc9c46f9206aa850192e', 'hex');
  const version = Buffer.from('80024de9032e', 'hex');
  return Buffer.concat([magic, version, Buffer.from('80027d2e', 'hex'), state, Buffer.from('80025d2e', 'hex')]);
}

const text = (value: string): Uint8Array => new Bytes().u8(0x58).u32(value.length).raw(Buffer.from(value)).build();
const pickle = (...parts: Uint8Array[]): Buffer => Buffer.concat([Buffer.from([0x80, 2]), ...parts, Buffer.from('.')]);
const op = (hex: string): Uint8Array => Buffer.from(hex, 'hex');

async function refusal(state: Uint8Array): Promise<VerdantError> {
  const error = await readTorchFile(temp.write('pytorch_model.bin', legacy(state))).then(
    () => undefined,
    (cause: unknown) => cause,
  );
  expect(error).toBeInstanceOf(VerdantError);
  expect((error as Error).message).toContain('pytorch_model.bin');
  return error as VerdantError;
}

describe('pickles that want more than tensors', () => {
  it.each([
    ['posix.system', 'cposix\nsystem\n'],
    ['builtins.eval', 'cbuiltins\neval\n'],
    ['torch.load', 'ctorch\nload\n'],
    ['torch.hub.load', 'ctorch.hub\nload\n'],
    ['torch.constructor', 'ctorch\nconstructor\n'],
    ['torch._utils._rebuild_tensor_v2.__globals__', 'ctorch._utils\n_rebuild_tensor_v2.__globals__\n'],
    ['collections.Counter', 'ccollections\nCounter\n'],
  ])('%s is refused by name and place, and never called', async (name, global) => {
    const call = pickle(Buffer.from(global), op('28'), text('touch /nowhere'), op('7452'));
    const error = await refusal(call);
    expect(error).toBeInstanceOf(UnsupportedError);
    expect(error.message).toContain(`the pickle names ${name}`);
    // 15 + 6 + 4 bytes of pickles come before, and the protocol's two.
    expect(error.message).toContain('(byte 27)');
  });

  it('a global put together on the stack, as protocol 4 does', async () => {
    const state = pickle(op('8c05'), Buffer.from('posix'), op('8c06'), Buffer.from('system'), op('93'));
    expect((await refusal(state)).message).toContain('the pickle names posix.system');
  });

  it.each([
    ['INST', '28690a', /opcode 0x69/],
    ['OBJ', '28636f', /ends early|names/],
    ['NEWOBJ', '81', /opcode 0x81/],
    ['EXT1', '8201', /opcode 0x82/],
    ['PERSID', '50310a', /opcode 0x50/],
    ['a text integer', '49310a', /opcode 0x49/],
    ['BUILD of a dict', '7d7d62', /sets attributes/],
    ['a call of nothing', '4b014b0152', /a call needs a global and a tuple/],
    ['an empty stack', '30', /the stack is empty/],
    ['a missing mark', '74', /no mark/],
    ['a mark as a value', '2885', /a mark/],
    ['an absent memo', '6805', /memo has no such value/],
    ['items of a number', '4b01285d75', /no dict/],
    ['two results', '4e4e', /does not end with one value/],
    ['no result', '', /does not end with one value/],
    ['a list instead of a dict', '5d', /something else than a state dict/],
    ['a length of 2^64 - 1', '8dffffffffffffffff', /a length is out of range/],
    ['a length of 2 GiB', '58ffffff7f', /ends early/],
    ['an integer of 4 GiB', '8bffffffff', /an integer is too long/],
    ['text that is not UTF-8', '5801000000ff', /not UTF-8/],
  ])('%s', async (_, hex, message) => {
    expect((await refusal(pickle(op(hex)))).message).toMatch(message);
  });

  it('a dict of other things than tensors, and a nested one', async () => {
    expect((await refusal(pickle(op('7d'), text('epoch'), op('4b0373')))).message).toMatch(/found epoch: number/);
    expect((await refusal(pickle(op('7d'), text('state_dict'), op('7d73')))).message).toMatch(/state_dict: object/);
  });

  it('protocols 0, 1 and 6', async () => {
    expect((await refusal(op('80062e'))).message).toMatch(/pickle protocol.*found 6/);
    expect((await refusal(op('80012e'))).message).toMatch(/pickle protocol.*found 1/);
    expect((await refusal(op('5d2e'))).message).toMatch(/not a pickle of protocol 2/);
  });

  it('depth, memo, stack and opcodes have bounds', async () => {
    // A million nested lists are one value each: nothing walks them.
    const nested = Buffer.concat([Buffer.alloc(1_000_000, 0x5d), Buffer.alloc(999_999, 0x61)]);
    expect((await refusal(pickle(nested))).message).toMatch(/something else than a state dict/);
    expect((await refusal(pickle(Buffer.alloc(1_100_000, 0x4e)))).message).toMatch(/values on the stack/);
    expect((await refusal(pickle(op('4e'), Buffer.alloc(1_100_000, 0x94)))).message).toMatch(/values in the memo/);
    const many = Buffer.alloc(4_400_000, Buffer.from('4e30', 'hex'));
    expect((await refusal(pickle(many))).message).toMatch(/more than 4194304 opcodes/);
    // A list that holds itself.
    expect((await refusal(pickle(op('5d945d9468006168016161')))).message).toMatch(/something else|no list|memo/);
  });
});

describe('tensors that lie about their storage', () => {
  /** A state dict with one tensor of a storage of 4 floats. */
  function tensor(offset: number, size: string, stride: string): Buffer {
    const storage = [text('storage'), Buffer.from('ctorch\nFloatStorage\n'), text('0'), text('cpu'), op('4b04')];
    return pickle(
      ...[op('7d'), text('w'), Buffer.from('ctorch._utils\n_rebuild_tensor_v2\n'), op('2828'), ...storage, op('7451')],
      ...[op(`4b${offset.toString(16).padStart(2, '0')}`), op(size), op(stride)],
      ...[op('89'), Buffer.from('ccollections\nOrderedDict\n'), op('2952745273')],
    );
  }
  it.each([
    ['too many elements', 0, '4b0585', '4b0185', /leaves storage 0/],
    ['an offset past the end', 4, '4b0185', '4b0185', /leaves storage 0/],
    ['strides past the end', 0, '4b024b0286', '4b034b0186', /leaves storage 0/],
    ['a negative size', 0, '4affffffff85', '4b0185', /size and stride/],
    ['a negative stride', 0, '4b0285', '4affffffff85', /size and stride/],
    ['sizes and strides of other ranks', 0, '4b0285', '4b014b0186', /size and stride/],
    ['2^52 elements by stride 0', 0, '8a0700000000000010', '4b0085', /leaves storage|size and stride|_rebuild/],
    ['elements that share memory', 0, '4b044b0286', '4b014b0086', /share memory|not in the file/],
    ['no storage in the file', 0, '4b0285', '4b0185', /its storage is not in the file/],
  ])('%s', async (_, offset, size, stride, message) => {
    expect((await refusal(tensor(offset, size, stride))).message).toMatch(message);
  });
});

describe('a folder with pytorch_model.bin', () => {
  function folder(name: string, from: readonly string[], kind = 'seq2seq'): string {
    const made = join(temp.path, name);
    mkdirSync(made);
    const model = join(import.meta.dirname, '../fixtures', kind, name);
    for (const file of ['config.json', 'generation_config.json'])
      if (existsSync(join(model, file))) copyFileSync(join(model, file), join(made, file));
    for (const file of from) symlinkSync(join(fixtures, name, file), join(made, file));
    return made;
  }

  async function sameText(pickled: string, name: string): Promise<void> {
    const ids = [5, 9, 17, 4, 2];
    const texts = await Promise.all(
      [pickled, join(import.meta.dirname, '../fixtures/seq2seq', name)].map(async (path) => {
        await using model = await load(path, { threads: 1 });
        const options = { maxTokens: 8, greedy: true, logprobs: true };
        return await model.generate(ids, options).result();
      }),
    );
    expect(texts[0]!.ids).toEqual(texts[1]!.ids);
    expect(texts[0]!.logprobs).toEqual(texts[1]!.logprobs);
  }

  it('loads with the bits of safetensors, tied names included', async () => {
    const made = folder('marian_two_vocabs', ['pytorch_model.bin']);
    expect((await openCheckpoint(made)).kind).toBe('pytorch');
    await sameText(made, 'marian_two_vocabs');
    await sameText(join(made, 'pytorch_model.bin'), 'marian_two_vocabs');
  });

  it('quantize() writes the same file, strided tensors included', async () => {
    const made = folder('mistral_full', ['pytorch_model.bin'], 'models');
    const { tensors } = await openCheckpoint(made);
    expect([...tensors.values()].filter((t) => t.data !== undefined).length).toBeGreaterThan(5);
    const written = await Promise.all(
      [made, join(import.meta.dirname, '../fixtures/models/mistral_full')].map(async (path, i) => {
        const { path: file } = await quantize(path, join(temp.path, `${i}.gguf`), { type: 'q8_0' });
        return readFileSync(file);
      }),
    );
    expect(written[0]!.equals(written[1]!)).toBe(true);
  });

  it('in shards; safetensors win where both exist', async () => {
    const shards = [1, 2].map((i) => `pytorch_model-0000${i}-of-00002.bin`);
    const index = 'pytorch_model.bin.index.json';
    // Copies: a link out of the folder is refused.
    const made = folder('bart', []);
    for (const file of [index, ...shards]) copyFileSync(join(fixtures, 'bart', file), join(made, file));
    expect((await openCheckpoint(made)).files).toHaveLength(2);
    await sameText(made, 'bart');
    const map = JSON.parse(readFileSync(at(`bart/${index}`), 'utf8')) as { weight_map: Record<string, string> };
    const [first] = Object.keys(map.weight_map);
    writeFileSync(join(made, index), JSON.stringify({ weight_map: { ...map.weight_map, [first!]: '../x.bin' } }));
    await expect(openCheckpoint(made)).rejects.toThrow(/bad file name in weight_map/);
    copyFileSync(
      join(import.meta.dirname, '../fixtures/seq2seq/bart/model.safetensors'),
      join(made, 'model.safetensors'),
    );
    expect((await openCheckpoint(made)).kind).toBe('safetensors');
  });
});

describe('broken files', () => {
  const random = new Random(11);
  const kinds = ['zip', 'zip_protocol5', 'legacy', 'legacy_protocol4', 'untyped'];

  /** Tensors that lie in the file, or a typed error; both within a second. */
  async function survives(bytes: Uint8Array): Promise<void> {
    const file = temp.write('mutated.bin', bytes);
    const since = performance.now();
    try {
      const { tensors } = await readTorchFile(file);
      for (const t of tensors.values()) {
        expect(t.offset + (t.data === undefined ? t.bytes : 0)).toBeLessThanOrEqual(bytes.length);
        expect(t.data?.length ?? t.bytes).toBe(t.bytes);
      }
    } catch (error) {
      if (!(error instanceof VerdantError)) throw error;
    }
    expect(performance.now() - since).toBeLessThan(1000);
  }

  it.each(kinds)('%s, cut off anywhere', async (kind) => {
    const whole = readFileSync(at(`${kind}.bin`));
    for (let length = 0; length < whole.length; length += random.integer(1, 60)) {
      const file = temp.write('cut.bin', whole.subarray(0, length));
      await expect(readTorchFile(file)).rejects.toThrow(VerdantError);
    }
  });

  it.each(kinds)('%s, with bytes changed', async (kind) => {
    const whole = readFileSync(at(`${kind}.bin`));
    for (let run = 0; run < 200; run += 1) {
      const bytes = Buffer.from(whole);
      for (let n = random.integer(1, 5); n > 0; n -= 1) {
        // Half of the changes hit the end, where a zip archive has its directory.
        const back =
          random.next() < 0.5 ? random.integer(1, Math.min(600, whole.length)) : random.integer(1, whole.length);
        bytes[whole.length - back] = random.integer(0, 256);
      }
      await survives(bytes);
    }
  });

  it.each(kinds)('%s, with a stretch taken out, doubled or zeroed', async (kind) => {
    const whole = readFileSync(at(`${kind}.bin`));
    for (let run = 0; run < 90; run += 1) {
      const begin = random.integer(0, whole.length);
      const end = Math.min(whole.length, begin + random.integer(1, 300));
      const middle = [Buffer.alloc(0), Buffer.concat([whole.subarray(begin, end), whole.subarray(begin, end)])];
      middle.push(Buffer.alloc(end - begin));
      await survives(Buffer.concat([whole.subarray(0, begin), middle[run % 3]!, whole.subarray(end)]));
    }
  });
});
