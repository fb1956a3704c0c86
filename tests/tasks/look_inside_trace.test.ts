/** `trace()` of loaded models of every kind, against what Hugging Face transformers gives. */
import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { InputError, OptionError } from '../../lib/errors.js';
import { load, type Task, type TaskOptions } from '../../lib/tasks/load.js';
import type { TraceTensor } from '../../lib/tasks/trace.js';
import { fixture } from '../support/fixtures.js';
import { type Array64, error, readTensors } from '../support/safetensors.js';

const tolerance = 1e-4;

interface Case {
  readonly folder: string;
  readonly expected: Map<string, Array64>;
  readonly inputs: Map<string, Array64>;
  /** Ids of the first row, without its padding at the end. */
  readonly ids: (name: string, mask: string) => number[];
}

async function caseOf(kind: 'models' | 'encoders' | 'seq2seq', name: string): Promise<Case> {
  const { folder } = fixture(kind, name);
  const inputs = await readTensors(join(folder, 'inputs.safetensors'));
  const ids = (what: string, mask: string): number[] => {
    const [, length] = inputs.get(what)!.shape as [number, number];
    const kept = inputs.get(mask)?.data.subarray(0, length) ?? new Float64Array(length).fill(1);
    const count = kept.reduce((a, b) => a + b, 0);
    if (kept.subarray(0, count).some((m) => m === 0)) throw new Error('the first row has holes');
    return [...inputs.get(what)!.data.subarray(0, count)];
  };
  return { folder, expected: await readTensors(join(folder, 'expected.safetensors')), inputs, ids };
}

/** The first row of the batch, cut to `rows` and, where it is a map, to `keys`. */
function firstRow({ shape, data }: Array64, rows: number, keys: number | undefined): Float64Array {
  const [, a, b, c] = shape as [number, number, number, number];
  if (shape.length < 4) return data.subarray(0, rows * (b ?? 1));
  const out: number[] = [];
  for (let h = 0; h < a; h++)
    for (let r = 0; r < rows; r++) out.push(...data.subarray((h * b + r) * c, (h * b + r) * c + keys!));
  return Float64Array.from(out);
}

describe.each(['gpt2', 'llama', 'gemma2', 'qwen3'])('decoder %s', (name) => {
  it('gives all maps, hidden states and logits', async () => {
    const { folder, expected, ids } = await caseOf('models', name);
    const model = await load(folder, { compute: 'f32' });
    const own = ids('input_ids', 'attention_mask');
    const trace = await model.trace(own, { attentions: true, hiddenStates: true });
    expect(trace.tokens).toBeUndefined();
    expect([...trace.ids]).toEqual(own);
    const n = own.length;
    const layers = [...expected.keys()].filter((k) => k.startsWith('attentions.')).length;
    expect(trace.attentions.size).toBe(layers);
    expect(trace.hiddenStates.size).toBe(layers + 1);
    for (const [i, map] of trace.attentions)
      expect(error(map.data, firstRow(expected.get(`attentions.${i}`)!, n, n))).toBeLessThan(tolerance);
    for (const [i, state] of trace.hiddenStates)
      expect(error(state.data, firstRow(expected.get(`hidden_states.${i}`)!, n, undefined))).toBeLessThan(tolerance);
    expect(error(trace.logits!.data, firstRow(expected.get('logits')!, n, undefined))).toBeLessThan(tolerance);
    // One head of one layer is that part of it.
    const one = await model.trace(own, { attentions: [1], heads: [2, 0], logits: false });
    const map = trace.attentions.get(1)!.data;
    expect(one.logits).toBeUndefined();
    expect(one.attentions.get(1)!.shape).toEqual([2, n, n]);
    expect([...one.attentions.get(1)!.data]).toEqual([
      ...map.subarray(0, n * n),
      ...map.subarray(2 * n * n, 3 * n * n),
    ]);
    await model.dispose();
  });
});

const encoders: readonly [string, Task][] = [
  ['bert', 'embed'],
  ['bert_sequence', 'classify'],
  ['bert_tokens', 'tokens'],
  ['bert_answer', 'answer'],
  ['bert_masked_lm', 'fillMask'],
  ['modernbert_masked_lm', 'fillMask'],
  ['roberta_masked_lm', 'fillMask'],
  ['mpnet', 'embed'],
];

describe.each(encoders)('encoder %s for %s', (name, task) => {
  it('gives all maps, hidden states and what its class returns', async () => {
    const { folder, expected, inputs, ids } = await caseOf('encoders', name);
    const model = await load(folder, { task, compute: 'f32' } as TaskOptions<'embed'>);
    const inputIds = ids('input_ids', 'attention_mask');
    const n = inputIds.length;
    const tokenTypeIds = inputs.has('token_type_ids')
      ? [...inputs.get('token_type_ids')!.data.subarray(0, n)]
      : undefined;
    const trace = await model.trace({ inputIds, tokenTypeIds }, { attentions: true, hiddenStates: true });
    const layers = [...expected.keys()].filter((k) => k.startsWith('attentions.')).length;
    expect([trace.attentions.size, trace.hiddenStates.size]).toEqual([layers, layers + 1]);
    for (const [i, map] of trace.attentions) {
      expect(map.shape.slice(1)).toEqual([n, n]);
      expect(error(map.data, firstRow(expected.get(`attentions.${i}`)!, n, n))).toBeLessThan(tolerance);
    }
    for (const [i, state] of trace.hiddenStates)
      expect(error(state.data, firstRow(expected.get(`hidden_states.${i}`)!, n, undefined))).toBeLessThan(tolerance);
    for (const [output, { data, shape }] of Object.entries(trace.outputs)) {
      const reference = expected.get(output);
      if (task === 'embed') expect([output, shape]).toEqual(['sentence_embedding', [model.size]]);
      else
        expect(
          error(
            data,
            task === 'classify' ? reference!.data.subarray(0, data.length) : firstRow(reference!, n, undefined),
          ),
        ).toBeLessThan(tolerance);
    }
    const heads = await model.trace({ inputIds }, { attentions: [0], heads: [1], outputs: false });
    expect(heads.attentions.get(0)!.shape).toEqual([1, n, n]);
    expect(heads.outputs).toEqual({});
    await expect(model.trace({ inputIds }, { attentions: [layers] })).rejects.toThrow(OptionError);
    await expect(model.trace({ inputIds }, { attentions: [0], heads: [99] })).rejects.toThrow(OptionError);
    await expect(model.trace({ inputIds }, { outputs: false })).rejects.toThrow(/nothing to trace/);
    await expect(model.trace(undefined as never)).rejects.toThrow(InputError);
    await expect(model.trace({ inputIds }, { logits: true } as never)).rejects.toThrow(/unknown name logits/);
    await model.dispose();
  });
});

describe.each(['marian', 'pegasus', 't5_gated', 'mt5'])('encoder-decoder %s', (name) => {
  it('gives both sides, and who looks where in the text', async () => {
    const { folder, expected, ids } = await caseOf('seq2seq', name);
    const model = await load(folder, { compute: 'f32' });
    const source = ids('input_ids', 'attention_mask');
    const written = ids('decoder_input_ids', 'decoder_attention_mask');
    const trace = await model.trace(source, {
      ...{ attentions: true, hiddenStates: true, crossAttentions: true },
      ...{ encoderAttentions: true, encoderHiddenStates: true, target: written.slice(1) },
    });
    expect([...trace.ids]).toEqual(written);
    expect([...trace.source!.ids]).toEqual(source);
    const [n, m] = [written.length, source.length];
    const near = (found: TraceTensor, of: string, rows: number, keys?: number): void => {
      const scale = error(found.data, firstRow(expected.get(of)!, rows, keys));
      expect(scale, of).toBeLessThan(tolerance);
    };
    near(trace.logits!, 'logits', n);
    for (const [i, x] of trace.attentions) near(x, `decoder_attentions.${i}`, n, n);
    for (const [i, x] of trace.hiddenStates) near(x, `decoder_hidden_states.${i}`, n);
    for (const [i, x] of trace.crossAttentions) near(x, `cross_attentions.${i}`, n, m);
    for (const [i, x] of trace.source!.attentions) near(x, `encoder_attentions.${i}`, m, m);
    for (const [i, x] of trace.source!.hiddenStates) near(x, `encoder_hidden_states.${i}`, m);
    const layers = (kind: string): number => [...expected.keys()].filter((k) => k.startsWith(`${kind}.`)).length;
    expect(trace.attentions.size).toBe(layers('decoder_attentions'));
    expect(trace.hiddenStates.size).toBe(layers('decoder_hidden_states'));
    expect(trace.crossAttentions.size).toBe(layers('cross_attentions'));
    expect(trace.source!.attentions.size).toBe(layers('encoder_attentions'));
    expect(trace.source!.hiddenStates.size).toBe(layers('encoder_hidden_states'));
    expect(model.host.engine.load.textBlocksUsed).toBe(0);
    expect(model.host.engine.load.blocksUsed).toBe(0);

    // What generate() shows is the same; and only the head that is asked for.
    const options = { greedy: true, maxTokens: 4, ignoreEos: true } as const;
    const shown = { attentions: [0], crossAttentions: [1], heads: [1], hiddenStates: [1] };
    const result = await model.generate(source, { ...options, trace: shown }).result();
    const whole = await model.trace(source, { ...shown, target: result.ids.slice(0, -1) });
    const begin = whole.ids.length - result.ids.length;
    expect(result.traces!.map((t) => [t.from, t.rows])).toEqual(result.ids.map((_, i) => [begin + i, 1]));
    for (const step of result.traces!) {
      const cross = step.crossAttentions.get(1)!;
      expect(cross.shape).toEqual([1, 1, m]);
      const all = whole.crossAttentions.get(1)!.data;
      expect([...cross.data]).toEqual([...all.subarray(step.from * m, (step.from + 1) * m)]);
      const at = step.from * whole.ids.length;
      const own = whole.attentions.get(0)!.data.subarray(at, at + step.from + 1);
      expect([...step.attentions.get(0)!.data]).toEqual([...own]);
    }
    // Without its heads' sight of the text, it writes something else.
    const heads = Array.from({ length: trace.crossAttentions.get(0)!.shape[0]! }, (_, h) => h);
    const maskHeads = [0, 1].map((layer) => ({ layer, heads, attention: 'cross' as const }));
    const blind = await model.trace(source, { target: written.slice(1), maskHeads });
    expect(error(blind.logits!.data, trace.logits!.data)).toBeGreaterThan(1e-3);
    await model.dispose();
  });
});

it('texts of a model with a vocabulary for each side', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'verdant-look-'));
  const { folder: model } = fixture('seq2seq', 'marian_two_vocabs');
  const words = join(import.meta.dirname, '../text/fixtures/spm/marian_separate');
  for (const from of [words, model])
    for (const name of readdirSync(from)) copyFileSync(join(from, name), join(folder, name));
  const marian = await load(folder);
  const { text, ids } = JSON.parse(readFileSync(join(words, 'target_vectors.json'), 'utf8'))[1];
  expect(ids.length).toBeGreaterThan(3);
  const trace = await marian.trace('a text', { target: text, crossAttentions: [0], heads: [0] });
  // The vectors end with </s>.
  expect([...trace.ids.subarray(1)]).toEqual(ids.slice(0, -1));
  expect(trace.tokens).toEqual(Array.from(trace.ids, (id) => marian.tokenizer!.idToToken(id) ?? ''));
  expect(trace.source!.tokens).toBeUndefined();
  const near = await marian.neighbours(trace.source!.ids[0]!, { count: 2 });
  expect(near.map((n) => n.token)).toEqual([undefined, undefined]);
  await marian.dispose();
  rmSync(folder, { recursive: true });
});
