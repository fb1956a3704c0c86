/** Offsets of tokens in the original text: equal to Hugging Face's, and where it is wrong, to the text. */
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { InputError, OptionError } from '../../lib/errors.js';
import { Aligned, Rewriter } from '../../lib/text/aligned.js';
import { loadTokenizer, type Tokenizer } from '../../lib/text/tokenizer.js';
import { type AlignedFixture, alignedFolder, plain, published, tiny, withTokenizer } from './aligned_fixtures.js';

const open = (name: string): Promise<Tokenizer> => loadTokenizer({ folder: join(alignedFolder, name) });

async function check({ folder, cases }: AlignedFixture): Promise<void> {
  await withTokenizer(folder as string, async (tok) => {
    expect(cases.single.length).toBeGreaterThan(25);
    for (const { text, addSpecial, ...want } of cases.single) {
      const got = await tok.encodeWithOffsets(text, { specialTokens: true, addSpecial });
      expect([text, plain(got)]).toEqual([text, want]);
      expect(Array.from(await tok.encode(text, { specialTokens: true, addSpecial }))).toEqual(want.ids);
    }
  });
}

describe('offsets equal those of Hugging Face tokenizers', () => {
  it.each(tiny.map((one) => [one.name, one] as const))('%s', (_, one) => check(one));
});

describe.skipIf(published.some((one) => one.folder === undefined))('with published tokenizers', () => {
  it.each(published.map((one) => [one.name, one] as const))('%s', (_, one) => check(one));
});

/** The stretches of the text that its tokens come from. */
async function stretches(tok: Tokenizer, text: string): Promise<string[]> {
  const { ids, offsets } = await tok.encodeWithOffsets(text, { addSpecial: false });
  return Array.from(ids, (_, i) => text.slice(offsets[2 * i], offsets[2 * i + 1]));
}

describe('offsets in the original text', () => {
  it('a map that takes out the first characters does not shift the rest', async () => {
    const tok = await open('unigram_precompiled');
    const [bare, behind] = [await stretches(tok, 'mole ﬁ'), await stretches(tok, '\u0001\u200bmole ﬁ')];
    expect(bare.length).toBeGreaterThan(2);
    expect(behind).toEqual(bare);
    expect(bare.at(-1)).toBe('ﬁ');
    tok.close();
  });

  it('a name behind emoji is cut out of a JavaScript string as it stands', async () => {
    const tok = await open('bert_uncased');
    const text = '🙂🚀 Der Maulwurf GRÄBT';
    const words = await stretches(tok, text);
    expect(words.join('').endsWith('MaulwurfGRÄBT')).toBe(true);
    tok.close();
  });

  it('lone surrogates take one unit', async () => {
    const tok = await open('byte_untrimmed');
    const { offsets } = await tok.encodeWithOffsets('\ud800x', { addSpecial: false });
    expect(Array.from(offsets.subarray(-2))).toEqual([1, 2]);
    expect(Array.from(offsets.subarray(0, 2))).toEqual([0, 1]);
    tok.close();
  });

  it('covers a long text in order, with every tokenizer', async () => {
    const text = 'The mole dug: 花园, e\u0301 🙂 half ½ \u0323\u0301.\n'.repeat(3000);
    for (const { folder } of tiny) {
      await withTokenizer(folder as string, async (tok) => {
        const { ids, offsets } = await tok.encodeWithOffsets(text, { addSpecial: false });
        expect(Array.from(ids)).toEqual(Array.from(await tok.encode(text, { addSpecial: false })));
        let previous = 0;
        for (let i = 0; i < ids.length; i += 1) {
          const [begin, end] = [offsets[2 * i] as number, offsets[2 * i + 1] as number];
          if (begin < previous || end < begin || end > text.length) expect([i, begin, end, previous]).toBe('in order');
          previous = begin;
        }
        expect(text.length - previous).toBeLessThan(8);
      });
    }
  });

  it('long runs of combining marks are no trap', async () => {
    const text = `a${'\u0301\u0323'.repeat(5000)}`;
    for (const name of ['bert_uncased', 'unigram_first', 'unigram_nfkc']) {
      const tok = await open(name);
      const start = performance.now();
      const { offsets } = await tok.encodeWithOffsets(text, { addSpecial: false });
      expect(offsets.length).toBeGreaterThan(0);
      expect(performance.now() - start).toBeLessThan(5000);
      tok.close();
    }
  });
});

describe('arguments', () => {
  it('are checked', async () => {
    const tok = await open('bert_cased');
    await expect(tok.encodeWithOffsets(5 as never)).rejects.toBeInstanceOf(InputError);
    await expect(tok.encodeWithOffsets('x', { maxLength: 5 } as never)).rejects.toBeInstanceOf(OptionError);
    await expect(tok.encodeWithOffsets('x', { addSpecial: 1 } as never)).rejects.toThrow(/true or false/);
    await expect(tok.encodeWithOffsets('a'.repeat(16 * 1024 * 1024 + 1))).rejects.toThrow(/too long/);
    tok.close();
    await expect(tok.encodeWithOffsets('x')).rejects.toThrow(/closed/);
  });

  it('special tokens in the text count only when asked for', async () => {
    const tok = await open('roberta');
    const mask = tok.tokenToId('<mask>') as number;
    const text = 'the <mask>.';
    const asked = await tok.encodeWithOffsets(text, { specialTokens: true });
    const at = asked.ids.indexOf(mask);
    expect(text.slice(asked.offsets[2 * at], asked.offsets[2 * at + 1])).toBe('<mask>');
    expect(asked.sequence[at]).toBe(0);
    expect((await tok.encodeWithOffsets(text)).ids.includes(mask)).toBe(false);
    tok.close();
  });
});

describe('Rewriter', () => {
  const spans = (text: Aligned): [string, number, number][] =>
    Array.from({ length: text.text.length }, (_, i) => [text.text[i] as string, text.begin(i), text.end(i)]);

  it('keeps, replaces, adds and skips characters of one or two units', () => {
    const out = new Rewriter(Aligned.original('a🙂bcd', 10));
    out.put('x', 1);
    out.keep(1);
    out.put('y', 0);
    out.put('🚀', 1);
    out.put('z', -1);
    out.put('w', 0);
    expect(spans(out.done())).toEqual([
      ['x', 10, 10],
      ['a', 10, 11],
      ['y', 11, 13],
      ['\ud83d', 11, 13],
      ['\ude80', 11, 13],
      ['z', 13, 14],
      ['w', 15, 16],
    ]);
  });
});
