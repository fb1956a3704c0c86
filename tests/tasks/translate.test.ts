/** translate(), summarize() and score() of encoder-decoders: what transformers makes of the same texts, and many texts at once. */
import { cpSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  AbortError,
  ContextOverflowError,
  DisposedError,
  InputError,
  OptionError,
  UnsupportedError,
} from '../../lib/errors.js';
import { load, type Seq2SeqModel, type TextOutcome } from '../../lib/index.js';
import { inOrder } from '../../lib/tasks/in_order.js';
import { TempFolder } from '../support/bytes.js';

interface Row {
  readonly text: string;
  readonly sequence: readonly number[];
  readonly written: string;
  readonly target: string;
  readonly labels: readonly number[];
  readonly logprobs: readonly number[];
}

interface Expected {
  readonly from: string | null;
  readonly to: string;
  readonly max_new_tokens: number;
  readonly rows: readonly Row[];
}

const fixtures = join(import.meta.dirname, '../fixtures/translate');
const temp = new TempFolder();
afterAll(() => temp.dispose());

const open = (path: string): Promise<Seq2SeqModel> =>
  load(path, { task: 'translate', threads: 1, maxSequences: 4, kvMemory: '8MiB' });

describe.each(readdirSync(fixtures))('%s', (name) => {
  const expected = JSON.parse(readFileSync(join(fixtures, name, 'expected.json'), 'utf8')) as Expected;
  const { rows, to } = expected;
  const languages = expected.from === null ? { to } : { from: expected.from, to };
  let model: Seq2SeqModel;
  beforeAll(async () => {
    model = await open(join(fixtures, name));
  });
  afterAll(() => model.dispose());

  // Transformers counts forced ids as written: the language at the start, the end at the greatest length.
  const skipped = name === 'm2m_100' || name === 'mbart50' ? 2 : 1;
  const forcedEnd = name.startsWith('mbart') ? 1 : 0;

  it('writes the ids and texts of generate(), one text, an array or an iterable', async () => {
    const options = { ...languages, greedy: true, maxTokens: expected.max_new_tokens - (skipped - 1) };
    for (const row of rows) {
      const { ids, text, finishReason } = await model.translate(row.text, options).result();
      const left = row.sequence.length - skipped - ids.length;
      expect(left).toBe(finishReason === 'length' ? forcedEnd : 0);
      expect([row.text, ...ids]).toEqual([row.text, ...row.sequence.slice(skipped, row.sequence.length - left)]);
      expect(text.trim()).toBe(row.written.trim());
    }
    const texts = rows.map((row) => row.text);
    const written = rows.map((row) => row.written.trim());
    expect((await model.translate(texts, options)).map((t) => t.trim())).toEqual(written);
    async function* source(): AsyncGenerator<string> {
      for (const text of texts) yield text;
    }
    const seen: string[] = [];
    for await (const outcome of model.translate(source(), options)) {
      expect(outcome.index).toBe(seen.length);
      seen.push(outcome.text!.trim());
    }
    expect(seen).toEqual(written);
  });

  it('score() is the log-probability of a target text', async () => {
    for (const row of rows) {
      const logprobs = await model.scoreTokens(row.text, row.target, languages);
      expect(logprobs).toHaveLength(row.labels.length);
      for (const [i, p] of row.logprobs.entries())
        expect(Math.abs(logprobs[i]! - p)).toBeLessThan(1e-4 * Math.abs(p) + 1e-5);
      const sum = row.logprobs.reduce((a, p) => a + p, 0);
      expect(Math.abs((await model.score(row.text, row.target, languages)) + sum)).toBeLessThan(1e-3);
    }
  });

  it('languages that it does not have', async () => {
    const wrong = expect(() => model.translate('The mole', { ...languages, to: `${to}x` }));
    wrong.toThrow(OptionError);
    expect(() => model.translate('The mole', { ...languages, to: `${to}x` })).toThrow(
      new RegExp(`\\b${to}\\b.*found .*${to}x`),
    );
    expect(() => model.translate('The mole', { to: 3 as unknown as string })).toThrow(OptionError);
    if (name === 'marian') expect(() => model.translate('a', { from: 'eng', to })).toThrow(/reads one language only/);
    if (name === 'm2m_100') expect(() => model.translate('a')).toThrow(/needs the language to translate to/);
    if (name === 'm2m_100') expect(() => model.translate('a', { to: 'dee' })).toThrow(/Nearest: de, /);
    if (name === 't5') expect(() => model.translate('a', { from: 'en' })).toThrow(/one pair.*en to de, en to fr/);
  });
});

describe('summarize()', () => {
  it("puts T5's words before the text", async () => {
    await using model = await load(join(fixtures, 't5'), { task: 'summarize', threads: 1 });
    const options = { greedy: true, maxTokens: 9 };
    const [short] = await model.summarize(['the garden'], options);
    expect(short).toBe(await model.generate('A model: the garden', options).text());
    expect(short).not.toBe(await model.generate('the garden', options).text());
  });

  it('refuses a decoder', async () => {
    await expect(load(join(fixtures, '../models/qwen2'), { task: 'summarize' })).rejects.toThrow(UnsupportedError);
    await expect(load(join(fixtures, '../models/qwen2'), { task: 'translate' })).rejects.toThrow(
      /needs an encoder-decoder/,
    );
  });
});

describe('many texts', () => {
  let model: Seq2SeqModel;
  beforeAll(async () => {
    model = await open(join(fixtures, 't5'));
  });
  afterAll(() => model.dispose());
  const options = { from: 'en', to: 'de', greedy: true, maxTokens: 6 };

  it('reads ahead no further than twice the sequences that run, and stays in order', async () => {
    let [read, told, most] = [0, 0, 0];
    async function* source(): AsyncGenerator<string> {
      for (; read < 40; read++) {
        most = Math.max(most, read + 1 - told);
        yield `the mole ${'dug '.repeat(1 + ((read * 7) % 11))}`;
      }
    }
    const seen: number[] = [];
    for await (const outcome of model.translate(source(), options)) {
      seen.push(outcome.index);
      told++;
    }
    expect(seen).toEqual(Array.from({ length: 40 }, (_, i) => i));
    // Eight under way, one being yielded, one asked for.
    expect(most).toBeGreaterThan(4);
    expect(most).toBeLessThanOrEqual(10);
  });

  it('a text that fails is an outcome of its own; an array throws it', async () => {
    const texts = ['the mole', '', 'tunnel', 'mole '.repeat(20_000), 7 as unknown as string, 'garden'];
    const outcomes: TextOutcome[] = [];
    for await (const outcome of model.translate(new Set(texts), options)) outcomes.push(outcome);
    expect(outcomes.map((o) => o.input)).toEqual(texts);
    const errors = outcomes.map((o) => o.error?.constructor);
    expect(errors).toEqual([undefined, InputError, undefined, ContextOverflowError, InputError, undefined]);
    await expect(model.translate(texts.slice(0, 3), options)).rejects.toThrow(InputError);
    expect(await model.translate([], options)).toEqual([]);
    expect(() => model.translate(3 as unknown as string)).toThrow(OptionError); // no languages, before all else
    expect(() => model.translate(3 as unknown as string, options)).toThrow(InputError);
    expect(() => model.translate(['a'], { ...options, signal: {} as AbortSignal })).toThrow(OptionError);
  });

  it('score() refuses targets that are no ids, and a model that was disposed', async () => {
    const languages = { from: 'en', to: 'de' };
    for (const target of [undefined, null, 5, [1.5], ['5'], [Number.NaN], []])
      await expect(model.score('the mole', target as unknown as string, languages)).rejects.toThrow(InputError);
    const other = await open(join(fixtures, 't5'));
    await other.dispose();
    for (const call of [
      () => other.score('the mole', 'a', languages),
      () => other.lens('the mole'),
      () => other.trace('the mole', { attentions: true }),
    ])
      await expect(call()).rejects.toThrow(DisposedError);
  });

  it('bad options are an error of the call', async () => {
    const outcomes = model.translate(new Set(['a', 'b']), { ...options, temperature: -1 });
    await expect(outcomes.next()).rejects.toThrow(OptionError);
    await expect(model.translate(['a', 'b'], { ...options, temperature: -1 })).rejects.toThrow(OptionError);
  });

  it("an abort ends it at once, also while the source is silent; the source's own error comes after what it gave", async () => {
    const controller = new AbortController();
    async function* silent(): AsyncGenerator<string> {
      yield 'the mole';
      await new Promise(() => undefined);
    }
    const outcomes = model.translate(silent(), { ...options, signal: controller.signal });
    expect((await outcomes.next()).value).toMatchObject({ index: 0 });
    const waiting = outcomes.next();
    controller.abort();
    await expect(waiting).rejects.toThrow(AbortError);
    const aborted = model.translate(['a', 'b'], { ...options, signal: controller.signal });
    await expect(aborted).rejects.toThrow(AbortError);
    function* broken(): Generator<string> {
      yield 'the mole';
      throw new Error('no more');
    }
    const some = model.translate(broken(), options);
    expect((await some.next()).value).toMatchObject({ index: 0, input: 'the mole' });
    await expect(some.next()).rejects.toThrow('no more');
  });

  it('leaving the loop cancels what runs and ends the source', async () => {
    let ended = false;
    function* source(): Generator<string> {
      try {
        for (;;) yield 'the mole dug a tunnel';
      } finally {
        ended = true;
      }
    }
    for await (const _ of model.translate(source(), options)) break;
    expect(ended).toBe(true);
    ended = false;
    const controller = new AbortController();
    const aborted = async (): Promise<void> => {
      for await (const _ of model.translate(source(), { ...options, signal: controller.signal })) controller.abort();
    };
    await expect(aborted()).rejects.toThrow(AbortError);
    expect(ended).toBe(true);
    expect((await model.translate('the mole', options).result()).ids.length).toBeGreaterThan(0);
    expect(model.host.engine.pool).toBeDefined();
  });

  it('a source whose return() throws ends like one whose return() rejects', async () => {
    const source: Iterable<string> = {
      [Symbol.iterator]: () => ({
        next: () => ({ value: 'the mole', done: false }),
        return: () => {
          throw new Error('will not close');
        },
      }),
    };
    for await (const { index } of model.translate(source, options)) if (index === 2) break;
  });

  it('one signal for many texts is listened to once', async () => {
    const controller = new AbortController();
    let listeners = 0;
    const add = controller.signal.addEventListener.bind(controller.signal);
    controller.signal.addEventListener = (...args: Parameters<typeof add>) => {
      listeners++;
      add(...args);
    };
    const texts = Array.from({ length: 12 }, () => 'the mole');
    await Promise.all(texts.map((text) => model.translate(text, { ...options, signal: controller.signal }).text()));
    expect(listeners).toBe(1);
    const waiting = texts.map((text) =>
      model.translate(text, { ...options, maxTokens: 500, signal: controller.signal }).text(),
    );
    controller.abort();
    for (const text of waiting) await expect(text).rejects.toThrow(AbortError);
    expect(listeners).toBe(2);
    await expect(model.translate('the mole', { ...options, signal: controller.signal }).text()).rejects.toThrow(
      AbortError,
    );
  });

  it('a slow consumer finds results ready: the line is filled meanwhile', async () => {
    const begun: number[] = [];
    const line = inOrder(
      Array.from({ length: 9 }, (_, i) => [i]),
      3,
      (input) => {
        begun.push((input as number[])[0]!);
        return model.generate('the mole', { greedy: true, maxTokens: 2 });
      },
    );
    await line.next();
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(begun).toEqual([0, 1, 2, 3]);
    await line.return();
  });
});

describe('a checkpoint without languages', () => {
  it('translates what it was trained for, and takes no codes', async () => {
    const folder = join(temp.path, 'plain');
    cpSync(join(fixtures, 't5'), folder, { recursive: true });
    const config = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8')) as Record<string, unknown>;
    writeFileSync(join(folder, 'config.json'), JSON.stringify({ ...config, task_specific_params: undefined }));
    await using model = await open(folder);
    const options = { greedy: true, maxTokens: 5 };
    expect(await model.translate('the mole', options).text()).toBe(await model.generate('the mole', options).text());
    expect(() => model.translate('the mole', { to: 'de' })).toThrow(/no language codes/);
  });
});
