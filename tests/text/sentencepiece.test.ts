/** SentencePiece model files: ids and texts of transformers and sentencepiece, broken files refused. */
import { cpSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { TokenizerError, UnsupportedError, VerdantError } from '../../lib/errors.js';
import { translationPlan } from '../../lib/tasks/languages.js';
import { specFromFolder } from '../../lib/text/from_folder.js';
import { readSentencePiece } from '../../lib/text/sentencepiece.js';
import { loadTokenizer, type Tokenizer } from '../../lib/text/tokenizer.js';
import { TempFolder } from '../support/bytes.js';
import { Random } from '../support/random.js';

interface Case {
  readonly text: string;
  readonly ids: readonly number[];
  readonly decoded: string;
}

interface NllbCase {
  readonly from: string;
  readonly id: number;
  readonly text: string;
  readonly ids: readonly number[];
}

const folder = join(import.meta.dirname, 'fixtures/spm');
const temp = new TempFolder();
afterAll(() => temp.dispose());
const read = (name: string): unknown => JSON.parse(readFileSync(join(folder, name), 'utf8'));

async function withTokenizer<T>(path: string, use: (tokenizer: Tokenizer) => Promise<T>): Promise<T> {
  const tokenizer = await loadTokenizer({ folder: path });
  try {
    return await use(tokenizer);
  } finally {
    tokenizer.close();
  }
}

describe.each(readdirSync(folder))('%s', (name) => {
  const { cases, specials } = read(`${name}/vectors.json`) as { cases: Case[]; specials: number[] };

  it('ids of texts, and texts of ids', () =>
    withTokenizer(join(folder, name), async (tokenizer) => {
      for (const { text, ids, decoded } of cases) {
        // transformers finds the special tokens that a text spells out.
        expect([text, ...(await tokenizer.encode(text, { specialTokens: true }))]).toEqual([text, ...ids]);
        // About spaces at the ends the classes differ among themselves.
        expect([text, tokenizer.decode(ids, { skipSpecial: true }).trim()]).toEqual([text, decoded.trim()]);
      }
      const special = (id: number): boolean => tokenizer.specialIds.includes(id);
      // <pad> of the other vocabulary; a user-defined symbol, which the class lists but does not leave out.
      const other: Readonly<Record<string, number>> = { marian_separate: 1, t5: 1 };
      expect(specials.filter((id) => !special(id))).toHaveLength(other[name] ?? 0);
    }));

  const targets = existsSync(join(folder, name, 'target_vectors.json'));
  it.runIf(targets)('texts of the target language', () =>
    withTokenizer(join(folder, name), async (tokenizer) => {
      for (const { text, ids, decoded } of read(`${name}/target_vectors.json`) as Case[]) {
        expect([text, ...(await tokenizer.encode(text, { target: true }))]).toEqual([text, ...ids]);
        expect(tokenizer.decode(ids, { skipSpecial: true })).toBe(decoded);
      }
    }),
  );
});

describe('languages', () => {
  const languages = (name: string) => withTokenizer(join(folder, name), async (t) => t.languages);
  it('are known by family, with their place and the one that is meant where nothing is said', async () => {
    expect(await languages('t5')).toBeUndefined();
    expect(await languages('marian')).toEqual({
      place: 'target',
      writes: 'forced',
      ids: new Map([
        ['deu', 2],
        ['fra', 3],
      ]),
      source: undefined,
    });
    const m2m = await languages('m2m_100');
    expect([m2m!.place, m2m!.source, m2m!.ids.size]).toEqual(['before', 'de', 100]);
    const mbart = await languages('mbart');
    expect([mbart!.place, mbart!.writes, mbart!.source, mbart!.ids.size]).toEqual(['after', 'start', 'de_DE', 25]);
    const mbart50 = await languages('mbart50');
    expect([mbart50!.place, mbart50!.writes, mbart50!.source, mbart50!.ids.size]).toEqual([
      'before',
      'forced',
      'ro_RO',
      52,
    ]);
  });
});

describe('NLLB with tokenizer.json', () => {
  const nllb = join(import.meta.dirname, 'fixtures/nllb');
  const model = { config: {}, configFile: 'config.json', startId: 2, hasForced: false };

  it('marks texts as the class does for each source language', () =>
    withTokenizer(nllb, async (tokenizer) => {
      const { languages } = tokenizer;
      expect(languages).toMatchObject({ place: 'before', writes: 'forced', source: 'deu_Latn' });
      const vectors = JSON.parse(readFileSync(join(nllb, 'vectors.json'), 'utf8')) as NllbCase[];
      for (const { from, id, text, ids } of vectors) {
        expect(languages!.ids.get(from)).toBe(id);
        const plan = translationPlan({ ...model, tokenizer }, { from, to: 'deu_Latn' })!;
        expect([...(await plan.encode(text))]).toEqual(ids);
        const target = languages!.ids.get('deu_Latn')!;
        expect([...plan.start!.ids]).toEqual([2, target]);
        expect([...(await plan.encodeTarget(text))]).toEqual([target, ...ids.slice(1)]);
      }
      expect(() => translationPlan({ ...model, tokenizer }, { to: 'zh' })).toThrow(/Nearest: zho_Hans/);
    }));
});

describe('files that cannot be used', () => {
  function copy(name: string, patch: Readonly<Record<string, string | Uint8Array>>): string {
    const to = join(temp.path, `${name}_${Math.random()}`);
    cpSync(join(folder, name), to, { recursive: true });
    for (const [file, content] of Object.entries(patch)) writeFileSync(join(to, file), content);
    return to;
  }

  it('a family without a known numbering, a vocabulary without its unknown token, an unknown source language', () => {
    const llama = copy('t5', { 'tokenizer_config.json': '{"tokenizer_class":"LlamaTokenizer"}' });
    expect(() => specFromFolder(llama)).toThrow(UnsupportedError);
    expect(() => specFromFolder(llama)).toThrow(/how llama numbers the pieces.*tokenizer\.json/);
    expect(() => specFromFolder(copy('marian', { 'vocab.json': '{"</s>":0,"a":1}' }))).toThrow(/lacks the unk_token/);
    const m2m = copy('m2m_100', { 'tokenizer_config.json': '{"tokenizer_class":"M2M100Tokenizer","src_lang":"xx"}' });
    expect(() => specFromFolder(m2m)).toThrow(/src_lang is no language of it.*found xx/);
    const wrong = '{"tokenizer_class":"M2M100Tokenizer","language_codes":"x"}';
    expect(() => specFromFolder(copy('m2m_100', { 'tokenizer_config.json': wrong }))).toThrow(/expected m2m100, wmt21/);
    const count = '{"tokenizer_class":"T5Tokenizer","extra_ids":1e9}';
    expect(() => specFromFolder(copy('t5', { 'tokenizer_config.json': count }))).toThrow(/extra_ids/);
  });

  it('cut off or changed anywhere: a typed error or a model', () => {
    const random = new Random(4);
    for (const file of ['marian/source.spm', 'm2m_100/sentencepiece.bpe.model', 't5_bytes/spiece.model']) {
      const whole = readFileSync(join(folder, file));
      for (let run = 0; run < 400; run += 1) {
        const bytes = Buffer.from(run % 2 === 0 ? whole : whole.subarray(0, random.integer(0, whole.length)));
        for (let n = random.integer(0, 4); n > 0 && bytes.length > 0; n -= 1) {
          bytes[random.integer(0, bytes.length)] = random.integer(0, 256);
        }
        try {
          readSentencePiece(bytes, 'x.model');
        } catch (error) {
          if (!(error instanceof TokenizerError)) throw error;
          expect(error.message).toContain('x.model');
        }
      }
    }
    expect(() => readSentencePiece(new Uint8Array(), 'x.model')).toThrow(/lacks a model type or an unknown piece/);
    // A piece of 2^63 bytes.
    const huge = Buffer.from('0affffffffffffffff7f', 'hex');
    expect(() => readSentencePiece(huge, 'x.model')).toThrow(/not a SentencePiece model, or broken; found byte/);
  });

  it('broken tables encode to something or are refused, never crash', async () => {
    const random = new Random(8);
    const whole = readFileSync(join(folder, 't5/spiece.model'));
    for (let run = 0; run < 40; run += 1) {
      const bytes = Buffer.from(whole);
      for (let n = 0; n < 3; n += 1) bytes[whole.length - random.integer(1, 900)] = random.integer(0, 256);
      const path = copy('t5', { 'spiece.model': bytes });
      try {
        await withTokenizer(path, (t) => t.encode('a\u0301 bc… 鼹鼠 [MARK] '.repeat(5)));
      } catch (error) {
        if (!(error instanceof VerdantError)) throw error;
      }
    }
  });
});
