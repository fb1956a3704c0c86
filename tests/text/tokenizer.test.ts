/** Our own tiny tokenizers against Hugging Face's ids and texts; streaming; parts of different trust; broken files. */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { InputError, ModelNotFoundError, OptionError, TokenizerError, UnsupportedError } from '../../lib/errors.js';
import { cleanUpSpaces, DetokenizerStream, TokenTable, unfinishedTail } from '../../lib/text/detokenizer.js';
import { hasNestedRepetition } from '../../lib/text/patterns.js';
import type { TableData } from '../../lib/text/protocol.js';
import { textWorker } from '../../lib/text/text_worker.js';
import { loadTokenizer, type Tokenizer } from '../../lib/text/tokenizer.js';

const fixtures = join(import.meta.dirname, 'fixtures');
const names = ['byte_bpe', 'fallback_bpe', 'unigram', 'wordpiece'] as const;
const scratch = mkdtempSync(join(tmpdir(), 'verdant-text-'));
const opened: Tokenizer[] = [];

interface Case {
  readonly text: string;
  readonly ids: number[];
  readonly bare: number[];
  readonly decoded: string;
  readonly skipped: string;
}

async function open(folder: string): Promise<Tokenizer> {
  const tok = await loadTokenizer({ folder });
  opened.push(tok);
  return tok;
}

afterAll(() => {
  for (const tok of opened) tok.close();
  rmSync(scratch, { recursive: true });
});

function streamed(tok: Tokenizer, ids: ArrayLike<number>): string {
  const stream = tok.stream();
  return Array.from(ids, (id) => stream.push(id)).join('') + stream.flush();
}

describe.each(names)('%s', (name) => {
  const cases = JSON.parse(readFileSync(join(fixtures, name, 'expected.json'), 'utf8')) as Case[];

  it('gives the ids of Hugging Face tokenizers', async () => {
    const tok = await open(join(fixtures, name));
    for (const { text, ids, bare } of cases) {
      expect([text, Array.from(await tok.encode(text, { specialTokens: true }))]).toEqual([text, ids]);
      const without = await tok.encode(text, { specialTokens: true, addSpecial: false });
      expect([text, Array.from(without)]).toEqual([text, bare]);
    }
  });

  it('decodes as they do, and streams what it decodes', async () => {
    const tok = await open(join(fixtures, name));
    for (const { ids, decoded, skipped } of cases) {
      expect(tok.decode(ids)).toBe(decoded);
      expect(tok.decode(ids, { skipSpecial: true })).toBe(skipped);
      expect(streamed(tok, ids)).toBe(decoded);
    }
  });
});

describe('streaming', () => {
  it('holds back unfinished characters and gives them out as U+FFFD at the end', async () => {
    const tok = await open(join(fixtures, 'fallback_bpe'));
    const byte = (b: number): number => tok.tokenToId(`<0x${b.toString(16).toUpperCase()}>`) as number;
    const stream = tok.stream();
    expect([0xf0, 0x9f, 0x99, 0x82].map((b) => stream.push(byte(b)))).toEqual(['', '', '', '🙂']);
    expect([0xe9, 0xbc].map((b) => stream.push(byte(b)))).toEqual(['', '']);
    expect(stream.flush()).toBe('\uFFFD');
    expect(tok.decode([byte(0xff), byte(0x41)])).toBe('\uFFFDA');
  });

  it('splits no UTF-8 sequence at any byte, valid or not', () => {
    const decode = (bytes: Uint8Array): string => new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes);
    let seed = 7;
    const random = (n: number): number => {
      seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
      return (seed >>> 8) % n;
    };
    const interesting = [0x41, 0x80, 0x9f, 0xa0, 0xbf, 0xc1, 0xc3, 0xe0, 0xe9, 0xed, 0xef, 0xf0, 0xf4, 0xf5, 0xff];
    for (let round = 0; round < 3000; round += 1) {
      const bytes = Uint8Array.from(
        { length: 1 + random(12) },
        () => interesting[random(interesting.length)] as number,
      );
      let out = '';
      let from = 0;
      for (let end = 1; end <= bytes.length; end += 1) {
        const part = bytes.subarray(from, end);
        const tail = unfinishedTail(part, part.length);
        out += decode(part.subarray(0, part.length - tail));
        from = end - tail;
      }
      out += decode(bytes.subarray(from));
      expect(out).toBe(decode(bytes));
    }
  });

  it('cleans up spaces in pieces as in the whole', () => {
    const words = [' ', "'", '.', ' .', " '", " n't", 's', " 's", 'x', ' word', ' !', "' ", '  ', ' ,', 've'];
    const bytes = words.map((word) => new TextEncoder().encode(word));
    const offsets = Uint32Array.from([
      0,
      ...bytes.map((_, i) => bytes.slice(0, i + 1).reduce((n, b) => n + b.length, 0)),
    ]);
    const blob = Uint8Array.from(bytes.flatMap((b) => [...b]));
    const data: TableData = {
      vocabSize: words.length,
      textBytes: blob,
      textOffsets: offsets,
      tokenBytes: blob,
      tokenOffsets: offsets,
      flags: new Uint8Array(words.length).fill(2),
      index: new Int32Array(16).fill(-1),
      rules: { stripLeading: 0, rawFirst: false, dropTrailingSpace: false, cleanUp: true },
    };
    for (let seed = 0; seed < 4000; seed += 1) {
      const ids = Array.from(
        { length: 10 },
        (_, i) => Math.floor(Math.abs(Math.sin(seed * 10 + i + 1) * 1e4)) % words.length,
      );
      const stream = new DetokenizerStream(new TokenTable(data), false);
      const text = ids.map((id) => stream.push(id)).join('') + stream.flush();
      expect(text).toBe(cleanUpSpaces(ids.map((id) => words[id]).join('')));
    }
  });

  it('rejects ids outside the vocabulary', async () => {
    const tok = await open(join(fixtures, 'byte_bpe'));
    for (const id of [-1, tok.vocabSize, 1.5, Number.NaN]) expect(() => tok.decode([id])).toThrow(InputError);
  });
});

describe('special tokens', () => {
  it('are recognised only where they are trusted', async () => {
    const tok = await open(join(fixtures, 'byte_bpe'));
    const end = tok.tokenToId('<|end|>') as number;
    const has = (ids: Int32Array): number => ids.filter((id) => id === end).length;
    expect(has(await tok.encode('a <|end|>'))).toBe(0);
    expect(has(await tok.encode('a <|end|>', { specialTokens: true }))).toBe(1);
    const part = (text: string, special: boolean): { text: string; special: boolean } => ({ text, special });
    expect(has(await tok.encodeSegments([part('<|end|>', true), part('<|end|>', false)]))).toBe(1);
    expect(has(await tok.encodeSegments([part('<|e', true), part('nd|>', false)]))).toBe(0);
    expect(has(await tok.encodeSegments([part('<|e', true), part('nd|>', true)]))).toBe(0);
  });

  it('harmless parts give the ids of the whole text', async () => {
    for (const name of names) {
      const tok = await open(join(fixtures, name));
      const parts = ['The mo', 'le dug', ' a tun', 'nel\n', '\nunder'].map((text, i) => ({
        text,
        special: i % 2 === 0,
      }));
      const whole = await tok.encode(parts.map((p) => p.text).join(''), { addSpecial: false });
      expect(Array.from(await tok.encodeSegments(parts))).toEqual(Array.from(whole));
    }
  });

  it('lone surrogates and NUL are ordinary input', async () => {
    const tok = await open(join(fixtures, 'byte_bpe'));
    expect(tok.decode(await tok.encode('a\ud800b\0c'), { skipSpecial: true })).toBe('a\uFFFDb\0c');
  });
});

type Json = Record<string, unknown>;

/** A copy of a fixture with its tokenizer.json changed. */
function changed(name: string, change: (json: Json & { model: Json; added_tokens: Json[] }) => void): string {
  const folder = mkdtempSync(join(scratch, 'bad-'));
  const json = JSON.parse(readFileSync(join(fixtures, name, 'tokenizer.json'), 'utf8'));
  change(json);
  writeFileSync(join(folder, 'tokenizer.json'), JSON.stringify(json));
  return folder;
}

describe('broken files end in typed errors', () => {
  const vocab = (json: { model: Json }): Record<string, unknown> => json.model.vocab as Record<string, unknown>;
  const broken: [string, string, (json: Json & { model: Json; added_tokens: Json[] }) => void, RegExp][] = [
    ['id −1', 'byte_bpe', (j) => Object.assign(vocab(j), { zz: -1 }), /unusable id/],
    ['a huge id', 'byte_bpe', (j) => Object.assign(vocab(j), { zz: 2147483647 }), /unusable id/],
    ['a fractional id', 'byte_bpe', (j) => Object.assign(vocab(j), { zz: 1.5 }), /unusable id/],
    ['a repeated id', 'byte_bpe', (j) => Object.assign(vocab(j), { zz: 5 }), /share one id/],
    ['an unknown merge', 'byte_bpe', (j) => (j.model.merges as unknown[]).push(['qq', 'zz']), /lacks/],
    ['a merge of three', 'byte_bpe', (j) => (j.model.merges as unknown[]).push(['a', 'b', 'c']), /pair/],
    ['merges missing', 'byte_bpe', (j) => delete j.model.merges, /merges|supported/],
    [
      'a post-processor without its token',
      'byte_bpe',
      (j) => ((j.post_processor as Json).special_tokens = {}),
      /post-processor/,
    ],
    [
      'a post-processor with a wild id',
      'wordpiece',
      (j) => ((j.post_processor as Json) = { type: 'BertProcessing', sep: ['x', 99999], cls: ['y', 2] }),
      /id that no token has/,
    ],
    ['stride ≥ max_length', 'wordpiece', (j) => (j.truncation = { max_length: 4, stride: 4 }), /stride/],
    ['FixedLength 0', 'byte_bpe', (j) => (j.pre_tokenizer = { type: 'FixedLength', length: 0 }), /FixedLength/],
    [
      'a broken charsmap',
      'unigram',
      (j) => (j.normalizer = { type: 'Precompiled', precompiled_charsmap: 'AAAA/w==' }),
      /charsmap/,
    ],
    [
      'an exponential pattern',
      'byte_bpe',
      (j) => (j.pre_tokenizer = { type: 'Split', pattern: { Regex: '(a+)+b' }, behavior: 'Isolated' }),
      /exponential/,
    ],
    [
      'an added token with another id',
      'byte_bpe',
      (j) => j.added_tokens.push({ id: 3, content: '<|end|>', special: true }),
      /contradicts/,
    ],
    ['unk_token missing', 'wordpiece', (j) => (j.model.unk_token = 'nope'), /unk_token/],
    ['unk_id out of range', 'unigram', (j) => (j.model.unk_id = 9999), /unk_id/],
    ['a score that is no number', 'unigram', (j) => (j.model.vocab as unknown[]).push(['zz', null]), /vocab\[/],
  ];
  it.each(broken)('%s', async (_, name, change, message) => {
    const attempt = loadTokenizer({ folder: changed(name, change) });
    await expect(attempt).rejects.toThrow(message);
    await expect(attempt).rejects.toBeInstanceOf(TokenizerError);
  });

  it('kinds that are not supported, folders without files, wrong arguments', async () => {
    const decoder = changed('byte_bpe', (j) => (j.decoder = { type: 'CTC' }));
    await expect(loadTokenizer({ folder: decoder })).rejects.toBeInstanceOf(UnsupportedError);
    await expect(loadTokenizer({ folder: join(scratch, 'none') })).rejects.toBeInstanceOf(ModelNotFoundError);
    await expect(loadTokenizer({} as never)).rejects.toBeInstanceOf(InputError);
    const truncated = join(scratch, 'cut');
    cpSync(join(fixtures, 'byte_bpe'), truncated, { recursive: true });
    writeFileSync(join(truncated, 'tokenizer.json'), '{"model": {');
    await expect(loadTokenizer({ folder: truncated })).rejects.toThrow(/tokenizer\.json.*not valid JSON/);
    const tok = await open(join(fixtures, 'byte_bpe'));
    await expect(tok.encode('a', { special: true } as never)).rejects.toBeInstanceOf(OptionError);
    await expect(tok.encode(7 as never)).rejects.toBeInstanceOf(InputError);
  });

  it('an unknown GGUF pre-tokenizer is named', async () => {
    const gguf = new Map<string, unknown>([
      ['tokenizer.ggml.model', 'gpt2'],
      ['tokenizer.ggml.pre', 'mystery'],
      ['tokenizer.ggml.tokens', ['a', 'b']],
      ['tokenizer.ggml.merges', []],
    ]);
    await expect(loadTokenizer({ gguf })).rejects.toThrow(/mystery/);
    gguf.set('tokenizer.ggml.pre', 'gpt-2').set('tokenizer.ggml.bos_token_id', 9);
    await expect(loadTokenizer({ gguf })).rejects.toThrow(/out of range/);
  });

  it('nested repetition is told from harmless patterns', () => {
    for (const bad of ['(a+)+', '(?:a*)*b', '((a+))+', '(a|b+)+', '(?:x{2,})*'])
      expect(hasNestedRepetition(bad)).toBe(true);
    for (const good of ['(?:ab)+', '\\s+(?!\\S)|\\s+', '[^\\r\\n\\p{L}]?\\p{L}+', '(a+)?', '[(a+)]+']) {
      expect(hasNestedRepetition(good)).toBe(false);
    }
  });
});

describe('config files beside tokenizer.json', () => {
  it('add tokens, name special tokens, ask for clean-up, and bring chat templates in the documented order', async () => {
    const folder = join(scratch, 'configured');
    mkdirSync(folder);
    cpSync(join(fixtures, 'byte_bpe', 'tokenizer.json'), join(folder, 'tokenizer.json'));
    const config = {
      eos_token: { content: '<|end|>' },
      added_tokens_decoder: {
        500: { content: '<|extra|>', special: true },
        501: { content: '<think>', special: false },
      },
      clean_up_tokenization_spaces: true,
      chat_template: [
        { name: 'default', template: 'from config' },
        { name: 'tool_use', template: 'tools' },
      ],
    };
    writeFileSync(join(folder, 'tokenizer_config.json'), JSON.stringify(config));
    writeFileSync(join(folder, 'chat_template.jinja'), 'from file');
    const tok = await open(folder);
    expect(tok.vocabSize).toBe(502);
    expect(tok.eosIds).toEqual([tok.tokenToId('<|end|>')]);
    expect(tok.chatTemplates.map((t) => [t.name, t.template, t.origin])).toEqual([
      ['default', 'from file', 'chat_template.jinja'],
      ['tool_use', 'tools', 'tokenizer_config.json'],
    ]);
    expect(tok.idToToken(499)).toBeUndefined();
    expect(tok.specialIds).toContain(500);
    expect(Array.from(await tok.encode('<think><|extra|>', { addSpecial: false }))).toContain(501);
    expect(Array.from(await tok.encode('<think><|extra|>', { addSpecial: false }))).not.toContain(500);
    expect(tok.decode(await tok.encode('yes .', { addSpecial: false }))).toBe('yes.');
  });
});

describe('arguments that no thread can be sent', () => {
  it('are refused, and requests behind them still answer', async () => {
    const worker = textWorker();
    const { handle } = await worker.load({ folder: join(fixtures, 'byte_bpe') });
    const unclonable = worker.encode(handle, [{ text: 'x', special: (() => 1) as never }], true, false);
    await expect(unclonable).rejects.toThrow(InputError);
    expect((await worker.encode(handle, [{ text: 'x', special: false }], true, false)).length).toBeGreaterThan(0);
    worker.unload(handle);
  });
  it('encode and decode check their options', async () => {
    const tokenizer = await loadTokenizer({ folder: join(fixtures, 'byte_bpe') });
    await expect(tokenizer.encode('x', null as never)).rejects.toThrow(OptionError);
    await expect(tokenizer.encode('x', { addSpecial: 1 } as never)).rejects.toThrow(
      /addSpecial; expected true or false/,
    );
    expect(() => tokenizer.decode(5 as never)).toThrow(InputError);
    expect(() => tokenizer.decode([1], { skip: true } as never)).toThrow(OptionError);
    tokenizer.close();
  });
});
