/** Two texts joined: ids, segments, offsets and truncation equal those of Hugging Face tokenizers; broken templates. */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { InputError, OptionError, TokenizerError, UnsupportedError } from '../../lib/errors.js';
import { loadTokenizer } from '../../lib/text/tokenizer.js';
import { type AlignedFixture, alignedFolder, plain, published, tiny, withTokenizer } from './aligned_fixtures.js';

const scratch = mkdtempSync(join(tmpdir(), 'verdant-pairs-'));
afterAll(() => rmSync(scratch, { recursive: true }));

async function check({ folder, cases }: AlignedFixture): Promise<void> {
  await withTokenizer(folder as string, async (tok) => {
    expect(cases.pair.length).toBeGreaterThan(40);
    for (const { first, second, error, ...rest } of cases.pair) {
      const { ids, typeIds, offsets, sequence, ...options } = rest;
      const pair = tok.encodePair(first, second, options);
      if (error === true) await expect(pair).rejects.toBeInstanceOf(InputError);
      else
        expect([first, second, options, plain(await pair)]).toEqual([
          first,
          second,
          options,
          { ids, typeIds, offsets, sequence },
        ]);
    }
  });
}

describe('pairs equal those of Hugging Face tokenizers', () => {
  it.each(tiny.map((one) => [one.name, one] as const))('%s', (_, one) => check(one));
});

describe.skipIf(published.some((one) => one.folder === undefined))('with published tokenizers', () => {
  it.each(published.map((one) => [one.name, one] as const))('%s', (_, one) => check(one));
});

const bert = join(alignedFolder, 'bert_uncased');

describe('arguments', () => {
  it('are checked', async () => {
    await withTokenizer(bert, async (tok) => {
      for (const maxLength of [0, -1, 1.5, Number.NaN, '8'])
        await expect(tok.encodePair('a', 'b', { maxLength } as never)).rejects.toBeInstanceOf(OptionError);
      await expect(tok.encodePair('a', 'b', { maxLength: 8, truncate: 'both' } as never)).rejects.toThrow(
        /longest, first/,
      );
      await expect(tok.encodePair('a', 'b', { truncate: 'first' })).rejects.toThrow(/maxLength/);
      await expect(tok.encodePair('a', 'b', { stride: 1 } as never)).rejects.toThrow(/unknown option stride/);
      await expect(tok.encodePair('a', 'b', null as never)).rejects.toBeInstanceOf(OptionError);
      await expect(tok.encodePair('a', undefined as never)).rejects.toBeInstanceOf(InputError);
      const half = 'a'.repeat(8 * 1024 * 1024 + 1);
      await expect(tok.encodePair(half, half)).rejects.toThrow(/pair is too long/);
    });
  });

  it('maxLength counts the special tokens, and may leave nothing else', async () => {
    await withTokenizer(bert, async (tok) => {
      await expect(tok.encodePair('a', 'b', { maxLength: 2 })).rejects.toThrow(/no room.*at least 3/);
      const { ids, sequence } = await tok.encodePair('a', 'b', { maxLength: 3 });
      expect(Array.from(sequence)).toEqual([-1, -1, -1]);
      expect(tok.decode(ids, { skipSpecial: true })).toBe('');
      const bare = await tok.encodePair('a', 'b', { maxLength: 2, addSpecial: false });
      expect(Array.from(bare.sequence)).toEqual([0, 1]);
    });
  });

  it('special tokens spelled in a text stay text', async () => {
    await withTokenizer(bert, async (tok) => {
      const sep = tok.tokenToId('[SEP]');
      const { ids } = await tok.encodePair('a [SEP] b', 'c');
      expect(ids.filter((id) => id === sep).length).toBe(2);
    });
  });
});

type Json = Record<string, unknown>;

function changed(change: (post: Json & { single: Json[]; pair: Json[] }) => unknown): string {
  const folder = mkdtempSync(join(scratch, 'bad-'));
  const json = JSON.parse(readFileSync(join(bert, 'tokenizer.json'), 'utf8'));
  const replaced = change(json.post_processor);
  if (typeof replaced === 'object' && replaced !== null && 'type' in replaced) json.post_processor = replaced;
  writeFileSync(join(folder, 'tokenizer.json'), JSON.stringify(json));
  return folder;
}

describe('post-processors', () => {
  const sequence = (id: string, type: unknown = 0): Json => ({ Sequence: { id, type_id: type } });
  const broken: [string, (post: Json & { single: Json[]; pair: Json[] }) => unknown, RegExp][] = [
    ['pair missing', (p) => delete (p as Json).pair, /pair must be a list/],
    ['single missing', (p) => delete (p as Json).single, /single must be a list/],
    ['single without A', (p) => p.single.splice(1, 1), /name sequence A once/],
    ['single with A twice', (p) => p.single.push(sequence('A')), /name sequence A once/],
    ['single with B', (p) => p.single.push(sequence('B')), /another sequence than A/],
    ['pair with A twice', (p) => p.pair.push(sequence('A')), /twice/],
    ['pair with C', (p) => p.pair.push(sequence('C')), /another sequence than A or B/],
    ['no segment', (p) => p.pair.push({ SpecialToken: { id: '[SEP]' } }), /type_id/],
    ['a fractional segment', (p) => p.pair.splice(1, 1, sequence('A', 0.5)), /type_id/],
    ['a negative segment', (p) => p.pair.splice(1, 1, sequence('A', -1)), /type_id/],
    ['an unknown item', (p) => p.pair.push({ Mystery: {} }), /unknown item/],
    ['a special token without ids', (p) => p.pair.push({ SpecialToken: { id: '[X]', type_id: 0 } }), /does not define/],
    [
      'a wild id in the pair',
      (p) => {
        (p.special_tokens as Record<string, Json>)['[X]'] = { id: '[X]', ids: [9999], tokens: ['[X]'] };
        p.pair.push({ SpecialToken: { id: '[X]', type_id: 0 } });
      },
      /id that no token has/,
    ],
    ['trim_offsets of another kind', () => ({ type: 'ByteLevel', trim_offsets: 1 }), /trim_offsets/],
  ];
  it.each(broken)('%s is refused', async (_, change, message) => {
    const attempt = loadTokenizer({ folder: changed(change) });
    await expect(attempt).rejects.toThrow(message);
    await expect(attempt).rejects.toBeInstanceOf(TokenizerError);
  });

  it('a pair template without B is refused when a pair comes, not before', async () => {
    await withTokenizer(
      changed((p) => p.pair.splice(3, 1)),
      async (tok) => {
        expect((await tok.encode('the mole')).length).toBeGreaterThan(2);
        await expect(tok.encodePair('a', 'b')).rejects.toThrow(/does not say how a pair/);
      },
    );
  });

  it('a Sequence in which two steps add tokens is refused', async () => {
    const folder = changed((p) => ({ type: 'Sequence', processors: [p, { ...p }] }));
    await expect(loadTokenizer({ folder })).rejects.toBeInstanceOf(UnsupportedError);
  });

  it('BOS and EOS by tokenizer_config.json stand around each text', async () => {
    const folder = join(scratch, 'llama');
    cpSync(join(alignedFolder, 'fallback_bpe'), folder, { recursive: true });
    const config = { tokenizer_class: 'LlamaTokenizer', add_bos_token: true, add_eos_token: false, bos_token: '<s>' };
    writeFileSync(join(folder, 'tokenizer_config.json'), JSON.stringify(config));
    await withTokenizer(folder, async (tok) => {
      const { ids, typeIds, sequence } = await tok.encodePair('a', 'b');
      const second = sequence.lastIndexOf(-1);
      expect([ids[0], ids[second]]).toEqual([tok.bosId, tok.bosId]);
      expect([typeIds[0], typeIds[second], typeIds.at(-1), sequence.at(-1)]).toEqual([0, 1, 1, 1]);
    });
  });

  it('vocab.txt joins as BERT, vocab.json and merges.txt as RoBERTa', async () => {
    const words = join(scratch, 'words');
    const vocab = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', 'mole', 'dug'];
    cpSync(bert, words, { recursive: true });
    rmSync(join(words, 'tokenizer.json'));
    writeFileSync(join(words, 'vocab.txt'), `${vocab.join('\n')}\n`);
    await withTokenizer(words, async (tok) => {
      const got = plain(await tok.encodePair('Mole', 'dug'));
      expect([got.ids, got.typeIds]).toEqual([
        [2, 5, 3, 6, 3],
        [0, 0, 0, 1, 1],
      ]);
    });
    const bytes = join(scratch, 'bytes');
    cpSync(join(alignedFolder, 'roberta'), bytes, { recursive: true });
    const { model } = JSON.parse(readFileSync(join(bytes, 'tokenizer.json'), 'utf8'));
    rmSync(join(bytes, 'tokenizer.json'));
    writeFileSync(
      join(bytes, 'vocab.json'),
      JSON.stringify({ ...model.vocab, '<mask>': Object.keys(model.vocab).length }),
    );
    writeFileSync(
      join(bytes, 'merges.txt'),
      model.merges.map((m: string | string[]) => (typeof m === 'string' ? m : m.join(' '))).join('\n'),
    );
    writeFileSync(join(bytes, 'config.json'), JSON.stringify({ model_type: 'roberta' }));
    await withTokenizer(bytes, async (tok) => {
      const expected =
        tiny.find((one) => one.name === 'roberta')?.cases.pair.filter((one) => one.maxLength === undefined) ?? [];
      expect(expected.length).toBeGreaterThan(5);
      for (const { first, second, addSpecial, ...want } of expected)
        expect(plain(await tok.encodePair(first, second, { addSpecial }))).toEqual(want);
    });
  });

  it('a GGUF file of another kind than BERT does not say how pairs are joined', async () => {
    const gguf = new Map<string, unknown>([
      ['tokenizer.ggml.model', 'bert'],
      ['tokenizer.ggml.tokens', ['[UNK]', '[CLS]', '[SEP]', '▁mole', 's']],
      ['tokenizer.ggml.token_type', [3, 3, 3, 1, 1]],
      ['tokenizer.ggml.cls_token_id', 1],
      ['tokenizer.ggml.seperator_token_id', 2],
    ]);
    const words = await loadTokenizer({ gguf });
    const { ids, typeIds } = await words.encodePair('mole', 'moles');
    expect([Array.from(ids), Array.from(typeIds)]).toEqual([
      [1, 3, 2, 3, 4, 2],
      [0, 0, 0, 1, 1, 1],
    ]);
    words.close();
    gguf.set('tokenizer.ggml.model', 'gpt2').set('tokenizer.ggml.pre', 'gpt-2').set('tokenizer.ggml.merges', []);
    const bytes = await loadTokenizer({ gguf });
    await expect(bytes.encodePair('s', 's')).rejects.toThrow(/does not say how a pair/);
    bytes.close();
  });
});
