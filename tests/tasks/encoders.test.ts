/** Tasks of encoders: sentence vectors of sentence-transformers, and what the classes return put into words. */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import {
  AbortError,
  ContextOverflowError,
  DisposedError,
  InputError,
  OptionError,
  UnsupportedError,
} from '../../lib/errors.js';
import { load, type Task, type TaskModels } from '../../lib/tasks/load.js';
import { type EncoderTask, encoderTasks } from '../../lib/tasks/load_encoder.js';
import { groupEntities } from '../../lib/tasks/tokens.js';
import { expectSameBits } from '../support/compare.js';
import { fixture, readJson } from '../support/fixtures.js';
import { error, readTensors } from '../support/safetensors.js';

const top = mkdtempSync(join(tmpdir(), 'verdant-encoders-'));
afterAll(() => rmSync(top, { recursive: true, force: true }));

const sentence = (name: string): string => join(import.meta.dirname, '../fixtures/sentence_transformers', name);
let made = 0;

/** A copy of an encoder fixture with the words of the sentence fixtures, and its config changed. */
function withWords(name: string, patch: object = {}): string {
  const folder = join(top, `${name}${made++}`);
  cpSync(fixture('encoders', name).folder, folder, { recursive: true });
  for (const file of ['tokenizer.json', 'tokenizer_config.json', 'special_tokens_map.json', 'vocab.txt'])
    cpSync(join(sentence('cls_normalize'), file), join(folder, file));
  const config = { ...readJson(join(folder, 'config.json')), ...patch };
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
  return folder;
}

async function using<T extends Task, R>(path: string, task: T, body: (model: TaskModels[T]) => Promise<R>): Promise<R> {
  const model = await load(path, { task, device: 'cpu' });
  try {
    return await body(model);
  } finally {
    await model.dispose();
  }
}

const text = 'One mole of carbon dioxide!';
const question = 'is it a mole?';
const context = 'the American shrew mole digs in the garden and the creature roamed the forest';
/** softmax in double */
const shares = (x: ArrayLike<number>): number[] => {
  const e = Array.from(x, (v) => Math.exp(v));
  const sum = e.reduce((a, b) => a + b, 0);
  return e.map((v) => v / sum);
};

describe.each(['cls_normalize', 'mean_dense'])('embed: %s', (name) => {
  const facts = readJson(join(sentence(name), 'case.json')) as { texts: string[]; long_text: string };

  it('gives the vectors of sentence-transformers, long texts cut as there', async () => {
    const expected = await readTensors(join(sentence(name), 'expected.safetensors'));
    await using(sentence(name), 'embed', async (model) => {
      const { data, shape, truncated } = await model.embed(facts.texts);
      expect([...shape]).toEqual(expected.get('embeddings')!.shape);
      expect(error(data, expected.get('embeddings')!.data)).toBeLessThan(1e-4);
      expect(truncated).toEqual([]);
      const cut = await model.embed(facts.long_text);
      expect(cut.truncated).toEqual([0]);
      expect(cut.tokens).toEqual([expected.get('truncated_input_ids')!.data.length]);
      expect(error(cut.data, expected.get('truncated')!.data)).toBeLessThan(1e-4);
      await expect(model.embed([text, facts.long_text], { truncate: 'error' })).rejects.toThrow(ContextOverflowError);
    });
  });

  it('a text has the same bits alone, in a list, and beside other calls, on one and two threads', async () => {
    const many = Array.from({ length: 200 }, (_, i) => facts.texts.slice(0, 1 + (i % 4)).join(' '));
    const alone = await using(sentence(name), 'embed', async (model) => {
      const rows: Float32Array[] = [];
      for (const one of many.slice(0, 4)) rows.push((await model.embed(one)).data);
      return rows;
    });
    for (const threads of [1, 2]) {
      const model = await load(sentence(name), { task: 'embed', threads });
      const [all, beside] = await Promise.all([model.embed(many), model.embed([...many].reverse())]);
      const size = model.size;
      for (let i = 0; i < many.length; i++) {
        expectSameBits(all.data.slice(i * size, (i + 1) * size), alone[i % 4]!, `text ${i}`);
        const back = many.length - 1 - i;
        expectSameBits(beside.data.slice(back * size, (back + 1) * size), alone[i % 4]!, `text ${i} reversed`);
      }
      await model.dispose();
    }
  });
});

describe('heads put into words', () => {
  it('classify: id2label, softmax, pairs, lists, sigmoid where classes do not exclude each other', async () => {
    await using(withWords('bert_sequence'), 'classify', async (model) => {
      expect(model.labels).toEqual(['tower', 'mole', 'creature']);
      const { ids, typeIds } = await model.tokenizer!.encodePair(text, question);
      const { logits } = await model.forward({ inputIds: ids, tokenTypeIds: typeIds });
      expect(logits!.shape).toEqual([3]);
      const found = await model.classify({ text, pair: question });
      const expected = shares(logits!.data);
      expect(found.map((c) => c.score)).toEqual([...found.map((c) => c.score)].sort((a, b) => b - a));
      for (const c of found) {
        expect(c.label).toBe(model.labels[c.index]);
        expect(c.score).toBeCloseTo(expected[c.index]!, 6);
      }
      const list = await model.classify([text, { text, pair: question }]);
      expect(list[1]).toEqual(found);
      expect(list[0]).toEqual(await model.classify(text));
      expect(list[0]).not.toEqual(list[1]);
      expect(await model.classify(text, { top: 1 })).toEqual(list[0]!.slice(0, 1));
      const long = `${context} `.repeat(20);
      const all = await model.tokenizer!.encode(long);
      const cut = Int32Array.from([...all.subarray(0, model.maxLength - 1), all.at(-1)!]);
      const own = shares((await model.forward({ inputIds: cut })).logits!.data);
      for (const c of await model.classify(long)) expect(c.score).toBeCloseTo(own[c.index]!, 6);
      const refused = expect(model.classify(long, { truncate: 'error' })).rejects;
      await refused.toThrow(ContextOverflowError);
    });
    await using(
      withWords('bert_sequence', { problem_type: 'multi_label_classification' }),
      'classify',
      async (model) => {
        const scores = await model.classify(text);
        const logits = await model.classify(text, { scores: 'logits' });
        for (const [i, c] of scores.entries()) expect(c.score).toBeCloseTo(1 / (1 + Math.exp(-logits[i]!.score)), 6);
      },
    );
  });

  it('rerank: one class, best first; more classes are refused', async () => {
    await expect(load(withWords('bert_sequence'), { task: 'rerank' })).rejects.toThrow(UnsupportedError);
    const folder = withWords('bert_sequence', { id2label: { 0: 'score' } });
    await expect(load(folder, { task: 'rerank' })).rejects.toThrow(/classifier/); // the file has three
  });

  it('fillMask: the likeliest words of each gap, from the logits of its place', async () => {
    await using(withWords('bert_masked_lm'), 'fillMask', async (model) => {
      const gaps = await model.fillMask('the [MASK] dug a [MASK] in the garden', { top: 3 });
      expect(gaps.map((g) => g.length)).toEqual([3, 3]);
      const tokenizer = model.tokenizer!;
      const ids = await tokenizer.encode('the [MASK] dug a [MASK] in the garden', { specialTokens: true });
      const { logits } = await model.forward({ inputIds: ids });
      const mask = tokenizer.tokenToId('[MASK]')!;
      const rows = [...ids.keys()].filter((i) => ids[i] === mask);
      for (const [g, row] of rows.entries()) {
        const vocab = logits!.shape[1]!;
        const scores = shares(logits!.data.subarray(row * vocab, (row + 1) * vocab));
        const best = [...scores.keys()].sort((a, b) => scores[b]! - scores[a]!).slice(0, 3);
        expect(gaps[g]!.map((c) => c.id)).toEqual(best);
        for (const c of gaps[g]!) expect(c.score).toBeCloseTo(scores[c.id]!, 6);
      }
      await expect(model.fillMask('no gap')).rejects.toThrow(InputError);
      await expect(model.fillMask('[MASK]', { top: 0 })).rejects.toThrow(OptionError);
    });
  });

  it('tokens: classes of pieces of the text, at their places', async () => {
    await using(withWords('bert_tokens'), 'tokens', async (model) => {
      const pieces = await model.tokens(context, { aggregate: 'none' });
      const { ids } = await model.tokenizer!.encodeWithOffsets(context);
      expect(pieces.length).toBe(ids.length - 2);
      const { logits } = await model.forward({ inputIds: ids });
      for (const [i, piece] of pieces.entries()) {
        const scores = shares(logits!.data.subarray((i + 1) * 3, (i + 2) * 3));
        expect(piece.score).toBeCloseTo(Math.max(...scores), 6);
        expect(piece.label).toBe(model.labels[scores.indexOf(Math.max(...scores))]);
        expect(context.slice(piece.start, piece.end)).toBe(piece.text);
      }
      const grouped = await model.tokens(context);
      expect(grouped.length).toBeLessThanOrEqual(pieces.length);
      for (const [i, g] of grouped.entries()) if (i > 0) expect(g.label).not.toBe(grouped[i - 1]!.label);
    });
  });

  it('tokens: words have one class where that is asked for; a long text is cut before its last special token', async () => {
    await using(withWords('bert_tokens'), 'tokens', async (model) => {
      const sentence = 'mole digging creatures unmodels'; // words of several tokens
      const { ids, offsets } = await model.tokenizer!.encodeWithOffsets(sentence);
      const { logits } = await model.forward({ inputIds: ids });
      const rows = [...ids.keys()].slice(1, -1);
      const scores = rows.map((i) => shares(logits!.data.subarray(i * 3, (i + 1) * 3)));
      const words = sentence.split(' ').map((word) => {
        const start = sentence.indexOf(word);
        return rows.flatMap((i, t) => (offsets[2 * i]! >= start && offsets[2 * i]! < start + word.length ? [t] : []));
      });
      expect(Math.max(...words.map((w) => w.length))).toBeGreaterThan(1);
      const best = (of: readonly number[]): readonly [number, number] => [of.indexOf(Math.max(...of)), Math.max(...of)];
      const rules = {
        first: (w: readonly number[]) => best(scores[w[0]!]!),
        max: (w: readonly number[]) => w.map((t) => best(scores[t]!)).reduce((a, b) => (b[1] > a[1] ? b : a)),
        average: (w: readonly number[]) =>
          best([0, 1, 2].map((c) => w.reduce((sum, t) => sum + scores[t]![c]!, 0) / w.length)),
      };
      for (const [aggregate, rule] of Object.entries(rules)) {
        const expected: { label: string; scores: number[] }[] = [];
        for (const [index, score] of words.map(rule)) {
          const label = model.labels[index]!;
          if (expected.at(-1)?.label === label) expected.at(-1)!.scores.push(score);
          else expected.push({ label, scores: [score] });
        }
        const found = await model.tokens(sentence, { aggregate: aggregate as 'first' });
        expect([aggregate, ...found.map((f) => f.label)]).toEqual([aggregate, ...expected.map((e) => e.label)]);
        for (const [i, e] of expected.entries())
          expect(found[i]!.score).toBeCloseTo(e.scores.reduce((a, b) => a + b) / e.scores.length, 6);
      }
      await expect(model.tokens(sentence, { aggregate: 'last' as never })).rejects.toThrow(
        /simple, none, first, average/,
      );
      const long = `${context} `.repeat(20);
      const all = (await model.tokenizer!.encodeWithOffsets(long)).ids;
      const cut = Int32Array.from([...all.subarray(0, model.maxLength - 1), all.at(-1)!]);
      const own = (await model.forward({ inputIds: cut })).logits!.data;
      const pieces = await model.tokens(long, { aggregate: 'none' });
      expect(pieces).toHaveLength(model.maxLength - 2);
      for (const [i, piece] of pieces.entries())
        expect(piece.score).toBeCloseTo(Math.max(...shares(own.subarray((i + 1) * 3, (i + 2) * 3))), 6);
      await expect(model.tokens(long, { truncate: 'error' })).rejects.toThrow(ContextOverflowError);
    });
  });

  it('entities: B- begins a new one, I- goes on, other classes too', () => {
    const piece = (label: string, start: number) => ({ label, score: 0.5, start, end: start + 1 });
    const made = groupEntities(
      ['B-PER', 'I-PER', 'B-PER', 'O', 'I-LOC', 'I-LOC', 'LOC', 'E-LOC', 'B-A-B', 'I-A-B'].map(piece),
    );
    expect(made.map((g) => [g.label, g.start, g.end])).toEqual([
      ['PER', 0, 2],
      ['PER', 2, 3],
      ['O', 3, 4],
      ['LOC', 4, 7],
      ['LOC', 7, 8],
      ['A-B', 8, 10],
    ]);
  });

  it('answer: the best span of the context, read in windows where it is long', async () => {
    await using(withWords('bert_answer'), 'answer', async (model) => {
      const [best, ...others] = await model.answer(question, context, { top: 3, maxTokens: 4 });
      expect(others.length).toBe(2);
      const { ids, typeIds, offsets, sequence } = await model.tokenizer!.encodePair(question, context);
      const { start_logits: s, end_logits: e } = await model.forward({ inputIds: ids, tokenTypeIds: typeIds });
      const places = [...ids.keys()].filter((i) => sequence[i] === 1);
      const [begins, ends] = [s!, e!].map((t) => shares(places.map((i) => t.data[i]!)));
      let score = 0;
      let span = [0, 0];
      for (let a = 0; a < places.length; a++)
        for (let b = a; b < Math.min(places.length, a + 4); b++)
          if (begins![a]! * ends![b]! > score) {
            score = begins![a]! * ends![b]!;
            span = [offsets[2 * places[a]!]!, offsets[2 * places[b]! + 1]!];
          }
      expect(best!.score).toBeCloseTo(score, 6);
      expect([best!.start, best!.end]).toEqual(span);
      expect(best!.text).toBe(context.slice(...(span as [number, number])));
      const long = `${context} `.repeat(8);
      const far = await model.answer(question, long, { overlap: 4 });
      expect(far).toHaveLength(1);
      expect(long.slice(far[0]!.start, far[0]!.end)).toBe(far[0]!.text);
    });
  });
});

describe('what cannot be done is refused by name', () => {
  it('tasks that the class has no head for; encoders without a task; options of generation', async () => {
    const folder = withWords('bert_sequence');
    for (const task of encoderTasks.filter((t): t is EncoderTask => t !== 'embed' && t !== 'classify'))
      await expect(load(folder, { task }), task).rejects.toThrow(UnsupportedError);
    await expect(load(folder)).rejects.toThrow(/an encoder continues no text/);
    await expect(load(folder, { task: 'classify', kvType: 'q8' })).rejects.toThrow(OptionError);
    await expect(load(folder, { task: 'nothing' as never })).rejects.toThrow(OptionError);
    await expect(load(undefined as never, { task: 'embed' })).rejects.toThrow(UnsupportedError);
  });

  it('a head beside the base model is left alone when embeddings are asked for', async () => {
    await using(withWords('bert_sequence'), 'embed', async (model) => {
      const { data, shape } = await model.embed([text, question]);
      expect([...shape]).toEqual([
        2,
        readJson(join(fixture('encoders', 'bert_sequence').folder, 'config.json')).hidden_size,
      ]);
      for (const row of [0, 1]) {
        const length = Math.hypot(...data.subarray(row * shape[1], (row + 1) * shape[1]));
        expect(length).toBeCloseTo(1, 5);
      }
    });
  });

  it('bad arguments, aborts and calls after the end', async () => {
    const model = await load(sentence('mean_dense'), { task: 'embed' });
    for (const bad of [[], [1], undefined, {}] as never[]) await expect(model.embed(bad)).rejects.toThrow(InputError);
    await expect(model.embed(text, { prompt: 'query' })).rejects.toThrow(OptionError);
    await expect(model.embed(text, { truncate: 'no' as never })).rejects.toThrow(OptionError);
    await expect(model.embed(text, { nothing: 1 } as never)).rejects.toThrow(OptionError);
    const own = new AbortController();
    own.abort(new Error('enough'));
    await expect(model.embed(text, { signal: own.signal })).rejects.toThrow(AbortError);
    await expect(model.forward({ inputIds: [1, 9999] })).rejects.toThrow(InputError);
    await expect(model.forward({ inputIds: Array(1000).fill(1) })).rejects.toThrow(ContextOverflowError);
    await model.dispose();
    await expect(model.embed(text)).rejects.toThrow(DisposedError);
    await expect(model.forward({ inputIds: [1] })).rejects.toThrow(DisposedError);
  });

  it('broken modules', async () => {
    const broken = (file: string, content: unknown): string => {
      const folder = join(top, `broken${made++}`);
      cpSync(sentence('mean_dense'), folder, { recursive: true });
      writeFileSync(join(folder, file), typeof content === 'string' ? content : JSON.stringify(content));
      return folder;
    };
    const modules = JSON.parse(readFileSync(join(sentence('mean_dense'), 'modules.json'), 'utf8'));
    for (const [file, content, message] of [
      ['modules.json', '{', /no JSON/],
      ['modules.json', [], /modules/],
      ['modules.json', [{ ...modules[0] }, { ...modules[1], path: '../x' }], /path/],
      ['modules.json', [modules[0], { ...modules[1], type: 'x.LSTM' }], /not supported/],
      ['modules.json', [modules[0]], /Pooling/],
      ['1_Pooling/config.json', {}, /pooling/],
      ['1_Pooling/config.json', { pooling_mode: 'median' }, /weightedmean/],
      ['1_Pooling/config.json', { pooling_mode: [] }, /pooling_mode/],
      ['1_Pooling/config.json', { pooling_mode: ['mean', 1] }, /pooling_mode/],
      ['2_Dense/config.json', { in_features: 20, out_features: 14, bias: true }, /shape/],
      ['2_Dense/config.json', { out_features: 13, activation_function: 'x.Mish' }, /activation_function/],
      ['sentence_bert_config.json', { max_seq_length: 0 }, /max_seq_length/],
    ] as const)
      await expect(load(broken(file, content), { task: 'embed' }), `${file} ${message}`).rejects.toThrow(message);
  });
});
