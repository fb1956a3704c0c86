import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { writeSafetensors } from '../../lib/weights/write_safetensors.js';
import { fixture } from '../support/fixtures.js';
import { error, readTensors } from '../support/safetensors.js';
import { temporaryFolder, verdant } from './cli.js';

const cases = [
  ['models', 'llama'],
  ['models', 'gpt2_plain'],
  ['models', 'gemma3_text'],
  ['models', 'qwen2'],
  ['gguf', 'llama_q8_0'],
] as const;

const llama = fixture('models', 'llama').folder;
const inputs = join(llama, 'inputs.safetensors');

describe('verdant trace', () => {
  it.each(cases)('%s/%s: writes what transformers gives', async (kind, name) => {
    const f = fixture(kind, name);
    const model = kind === 'gguf' ? join(f.folder, 'model.gguf') : f.folder;
    const folder = temporaryFolder();
    const args = ['trace', model, '--inputs', join(f.folder, 'inputs.safetensors'), '--threads', '1'];
    const whole = verdant([...args, '--out', join(folder, 'out')]);
    const greedy = verdant([
      ...args,
      '--out',
      join(folder, 'ids'),
      '--max-new-tokens',
      String(f.case.max_new_tokens),
      '--num-beams',
      '1',
    ]);
    for (const made of await Promise.all([whole, greedy]))
      expect(made).toMatchObject({ code: 0, stdout: '', stderr: '' });

    const expected = await readTensors(join(f.folder, 'expected.safetensors'));
    const traced = await readTensors(join(folder, 'out'));
    expect([...traced.keys()].sort()).toEqual([...expected.keys()].sort());
    for (const [output, { shape, data }] of expected) {
      expect(traced.get(output)!.shape, output).toEqual(shape);
      expect(error(traced.get(output)!.data, data), output).toBeLessThan(1e-4);
    }
    const ids = await readTensors(join(folder, 'ids'));
    expect([...ids.keys()]).toEqual(['sequences']);
    expect(ids.get('sequences')).toEqual((await readTensors(join(f.folder, 'sequences.safetensors'))).get('sequences'));
    expect(readdirSync(folder).sort()).toEqual(['ids', 'out']);
  });

  it('takes in waveforms', async () => {
    const f = fixture('speech', 'wav2vec2_layer');
    const out = join(temporaryFolder(), 'out');
    const args = ['trace', f.folder, '--inputs', join(f.folder, 'inputs.safetensors'), '--out', out, '--threads', '1'];
    expect(await verdant(args)).toMatchObject({ code: 0, stdout: '', stderr: '' });
    const traced = await readTensors(out);
    for (const [output, { shape, data }] of await readTensors(join(f.folder, 'expected.safetensors'))) {
      expect(traced.get(output)!.shape, output).toEqual(shape);
      expect(error(traced.get(output)!.data, data), output).toBeLessThan(1e-4);
    }
    expect(await verdant([...args, '--max-new-tokens', '3'])).toMatchObject({ code: 1, stdout: '' });
    const text = await verdant(['trace', llama, '--inputs', join(f.folder, 'inputs.safetensors'), '--out', out]);
    expect(text).toMatchObject({ code: 1, stdout: '', stderr: expect.stringContaining('inputValues') });
  });

  it('writes sequences and scores of beams of an encoder-decoder', async () => {
    const seq2seq = fixture('seq2seq', 't5_gated');
    const folder = temporaryFolder();
    const out = join(folder, 'beams');
    const args = ['--inputs', join(seq2seq.folder, 'inputs.safetensors'), '--out', out];
    expect(
      await verdant(['trace', seq2seq.folder, ...args, '--max-new-tokens', '16', '--num-beams', '4']),
    ).toMatchObject({
      ...{ code: 0, stdout: '', stderr: '' },
    });
    const [found, expected] = [
      await readTensors(out),
      await readTensors(join(seq2seq.folder, 'sequences.safetensors')),
    ];
    expect([...found.keys()].sort()).toEqual(['sequences', 'sequences_scores']);
    expect([...found.get('sequences')!.data]).toEqual([...expected.get('beam_sequences')!.data]);
    expect(error(found.get('sequences_scores')!.data, expected.get('beam_scores')!.data)).toBeLessThan(1e-4);
  });

  it.each([
    [
      'no beams',
      ['--max-new-tokens', '2', '--num-beams', '0'],
      /^verdant: --num-beams must be at least 1; expected an integer from 1; found 0\n$/,
      1,
    ],
    ['no new tokens', ['--max-new-tokens', '0'], /^verdant: option maxTokens is not usable; expected at least 1/, 2],
    ['a device that is none', ['--device', 'cpu:mmx'], /^verdant: no device cpu:mmx; expected cpu/, 1],
    [
      'inputs that are absent',
      ['--inputs', 'nowhere.safetensors'],
      /^verdant: nowhere\.safetensors: cannot open the file; found ENOENT\n$/,
      1,
    ],
    [
      'outputs as inputs',
      ['--inputs', join(llama, 'expected.safetensors')],
      /inputs that this model does not take; expected input_ids, .*; found attentions\.0, /,
      1,
    ],
    [
      'a folder that is absent',
      ['--out', '/nowhere/out'],
      /^verdant: \/nowhere\/out: cannot write there; .*found ENOENT\n$/,
      1,
    ],
  ])('refuses %s', async (_what, more, message, code) => {
    const out = join(temporaryFolder(), 'out');
    const made = await verdant(['trace', llama, '--inputs', inputs, '--out', out, ...more]);
    expect(made.stderr).toMatch(message);
    expect(made).toMatchObject({ code, stdout: '' });
    expect(existsSync(out)).toBe(false);
  });

  it.each([
    [
      'an id beyond the vocabulary',
      { input_ids: [1n, 5n, 100000n] },
      /^verdant: input_ids\[0, 2\] is out of range; expected 0 to \d+; found 100000\n$/,
    ],
    [
      'an id beyond 2^53',
      { input_ids: [1n, 5n, 2n ** 53n] },
      /tensor input_ids: element 2 is too large; .*found 9007199254740992\n$/,
    ],
    [
      'a mask of other numbers',
      { input_ids: [1n, 5n, 6n], attention_mask: [1n, 1n, 2n] },
      /tensor attention_mask: unusable value; expected 0 or 1; found 2\n$/,
    ],
    [
      'a row without ids',
      { input_ids: [1n, 5n, 6n], attention_mask: [0n, 0n, 0n] },
      /^verdant: row 0 of the batch is wholly masked\n$/,
    ],
    ['no ids at all', { attention_mask: [1n] }, /the inputs lack input_ids/],
    ['a name that it does not know', { input_ids: [1n], token_types: [0n] }, /does not take; .*found token_types\n$/],
    ['segments of a decoder', { input_ids: [1n], token_type_ids: [0n] }, /^verdant: token_type_ids are for encoders/],
    ['inputs of another side', { input_ids: [1n], decoder_input_ids: [0n] }, /^verdant: .* for encoder-decoders/],
  ])('refuses %s', async (_what, tensors, message) => {
    const folder = temporaryFolder();
    const entries = Object.entries(tensors as Record<string, bigint[]>);
    const table = new Map(
      entries.map(([name, ids]) => [name, { shape: [1, ids.length], data: BigInt64Array.from(ids) }]),
    );
    await writeSafetensors(join(folder, 'in'), table);
    const made = await verdant(['trace', llama, '--inputs', join(folder, 'in'), '--out', join(folder, 'out')]);
    expect(made.stderr).toMatch(message);
    expect(made).toMatchObject({ code: 1, stdout: '' });
    expect(readdirSync(folder)).toEqual(['in']);
  });

  it('leaves an older result alone when it fails, and replaces it when it succeeds', async () => {
    const folder = temporaryFolder();
    const out = join(folder, 'out');
    writeFileSync(out, 'old');
    const args = ['trace', llama, '--inputs', inputs, '--out', out, '--max-new-tokens'];
    expect((await verdant([...args, '0'])).code).toBe(2);
    expect(readFileSync(out, 'utf8')).toBe('old');
    expect((await verdant([...args, '1'])).code).toBe(0);
    expect((await readTensors(out)).get('sequences')!.shape[0]).toBeGreaterThan(0);
  });
});
