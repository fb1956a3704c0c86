import { describe, expect, it } from 'vitest';
import { KvBlocks } from '../../lib/engine/kv_blocks.js';
import { planStep, stepsPerCall } from '../../lib/engine/scheduler.js';
import { Sequence } from '../../lib/engine/sequence.js';
import { packStep } from '../../lib/engine/step_inputs.js';
import { type ResolvedOptions, resolveOptions } from '../../lib/generation/options.js';

const none = { eosTokenIds: [], other: {} } as never;
const context = { vocab: 100, eosIds: [], contextLeft: 10_000, promptLength: 1 };
const sink = { token: () => false, finish: () => undefined, fail: () => undefined };

/** A sequence with a prompt of `prompt` ids, of which `cached` are in the cache, and `made` new ones. */
function sequence(prompt: number, cached: number, made = 0, more: Partial<ResolvedOptions> = {}): Sequence {
  const options = { ...resolveOptions({ maxTokens: 20 }, none, context), ...more };
  const ids = Array.from({ length: prompt }, (_, i) => i);
  const table = new KvBlocks(64).open(prompt + 20)!;
  const s = new Sequence({ prompt: Int32Array.from(ids), options, sink }, 0, table, ids, cached);
  for (let i = 0; i < made; i++) s.ids.push(i);
  return s;
}
const rows = (sequences: Sequence[], budget: number, chunk: number): [number, number, boolean][] =>
  planStep(sequences, budget, chunk).map((s) => [sequences.indexOf(s.sequence), s.rows, s.samples]);

describe('planStep', () => {
  it('gives decoding sequences their row first, then prompts in order', () => {
    const all = [sequence(10, 0), sequence(5, 5, 1), sequence(8, 0), sequence(3, 5, 3)];
    expect(rows(all, 100, 100)).toEqual([
      [1, 1, true],
      [3, 1, true],
      [0, 10, true],
      [2, 8, true],
    ]);
  });

  it('divides prompts into chunks and samples with the last one', () => {
    expect(rows([sequence(10, 0)], 100, 4)).toEqual([[0, 4, false]]);
    expect(rows([sequence(10, 4)], 100, 4)).toEqual([[0, 4, false]]);
    expect(rows([sequence(10, 8)], 100, 4)).toEqual([[0, 2, true]]);
    expect(rows([sequence(1, 0)], 100, 4)).toEqual([[0, 1, true]]);
  });

  it('never plans more rows than the step has, and skips what gets none', () => {
    const all = [sequence(10, 0), sequence(10, 0), sequence(4, 4, 1), sequence(4, 4, 1)];
    expect(rows(all, 7, 100)).toEqual([
      [2, 1, true],
      [3, 1, true],
      [0, 5, false],
    ]);
    expect(rows(all, 1, 100)).toEqual([[2, 1, true]]);
  });

  it('takes a sequence whose keys must be made anew as a prompt', () => {
    const s = sequence(6, 0, 3);
    expect(s.decoding).toBe(false);
    expect(rows([s], 100, 5)).toEqual([[0, 5, false]]);
  });
});

describe('stepsPerCall', () => {
  const shares = (...all: Sequence[]) => planStep(all, 100, 100);
  it('takes several steps when all sequences decode and nobody waits', () => {
    expect(stepsPerCall(shares(sequence(5, 5, 1), sequence(9, 9, 1)), 0, 8, undefined)).toBe(8);
    expect(stepsPerCall(shares(sequence(5, 5, 1)), 1, 8, undefined)).toBe(1);
    expect(stepsPerCall(shares(sequence(5, 5, 1), sequence(9, 0)), 0, 8, undefined)).toBe(1);
  });

  it('takes no more than the longest has left', () => {
    expect(stepsPerCall(shares(sequence(5, 22, 18), sequence(9, 26, 18)), 0, 8, undefined)).toBe(2);
    expect(stepsPerCall(shares(sequence(5, 22, 18), sequence(9, 23, 15)), 0, 8, undefined)).toBe(5);
    expect(stepsPerCall(shares(sequence(5, 24, 20)), 0, 8, undefined)).toBe(1);
  });

  it('takes single steps for what JavaScript must see in between', () => {
    const processor = sequence(5, 5, 1, { logitsProcessor: () => undefined });
    expect(stepsPerCall(shares(sequence(5, 5, 1), processor), 0, 8, undefined)).toBe(1);
    expect(stepsPerCall(shares(sequence(5, 5, 1, { mirostat: { tau: 5, eta: 0.1 } })), 0, 8, undefined)).toBe(1);
  });

  it('stops before the rope angles change', () => {
    expect(stepsPerCall(shares(sequence(5, 5, 1)), 0, 8, 8)).toBe(3); // lengths 6, 7, 8
    expect(stepsPerCall(shares(sequence(7, 7, 1)), 0, 8, 8)).toBe(1);
    expect(stepsPerCall(shares(sequence(9, 9, 1)), 0, 8, 8)).toBe(8); // made with the long angles from the start
  });
});

describe('packStep', () => {
  it('lays sequences one after another', () => {
    const { dims, inputs } = packStep(
      [
        { ids: [7, 8, 9], from: 4, ropeLength: 7, blocks: [3, 1], logits: [2, 2] },
        { ids: [5], from: 0, positions: [11], ropeLength: 12, blocks: [2], logits: [0] },
        { ids: [6, 6], from: 0, ropeLength: 2, blocks: [0], logits: [] },
      ],
      [{ source: 5, target: 6 }],
      ['kv0', 'tokens'],
    );
    expect(dims).toEqual({
      rows: 6,
      seqs: 3,
      seq_bounds: 4,
      logit_rows: 3,
      kv0_columns: 2,
      kv0_copies: 1,
      tokens_columns: 2,
      tokens_copies: 1,
    });
    const plain = Object.fromEntries(Object.entries(inputs).map(([k, v]) => [k, Array.from(v)]));
    const [table, copies] = [
      [3, 1, 2, 0, 0, 0],
      [5, 6],
    ];
    expect(plain).toEqual({
      input_ids: [7, 8, 9, 5, 6, 6],
      positions: [4, 5, 6, 11, 0, 1],
      kv_positions: [4, 5, 6, 0, 0, 1],
      seq_ids: [0, 0, 0, 1, 2, 2],
      rope_lengths: [7, 7, 7, 12, 2, 2],
      starts: [0, 3, 4, 6],
      logit_rows: [2, 2, 3],
      table_kv0: table,
      copies_kv0: copies,
      table_tokens: table,
      copies_tokens: copies,
    });
  });

  it('makes tables as wide as asked', () => {
    const { dims, inputs } = packStep(
      [{ ids: [1], from: 31, ropeLength: 32, blocks: [4], logits: [0] }],
      [],
      ['kv0'],
      2,
    );
    expect(dims.kv0_columns).toBe(2);
    expect(Array.from(inputs.table_kv0!)).toEqual([4, 0]);
  });
});
