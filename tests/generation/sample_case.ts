/** Runs the `sample` op on many draws: history is written by `token_write`, parameters by `SampleTables`. */

import type { GenerateOptions } from '../../lib/generation/options.js';
import { type ResolvedOptions, resolveOptions } from '../../lib/generation/options.js';
import {
  type SampleRow,
  SampleTables,
  sampleIntegerColumns,
  sampleNumberColumns,
} from '../../lib/generation/tables.js';
import type { GenerationDefaults } from '../../lib/weights/generation_config.js';
import { type OpInput, runOps } from '../support/run_op.js';

const kPage = 32;

export const noDefaults: GenerationDefaults = {
  eosTokenIds: [],
  bosTokenId: undefined,
  padTokenId: undefined,
  decoderStartTokenId: undefined,
  doSample: undefined,
  temperature: undefined,
  topK: undefined,
  topP: undefined,
  minP: undefined,
  typicalP: undefined,
  epsilonCutoff: undefined,
  etaCutoff: undefined,
  repetitionPenalty: undefined,
  noRepeatNgramSize: undefined,
  badWordsIds: undefined,
  maxNewTokens: undefined,
  maxLength: undefined,
  minNewTokens: undefined,
  minLength: undefined,
  suppressTokens: undefined,
  beginSuppressTokens: undefined,
  forcedBosTokenId: undefined,
  forcedEosTokenIds: undefined,
  numBeams: undefined,
  numReturnSequences: undefined,
  lengthPenalty: undefined,
  earlyStopping: undefined,
  other: {},
};

export interface Draw extends Omit<SampleRow, 'options'> {
  readonly options: ResolvedOptions;
  readonly logits: Float32Array;
  /** Index into `histories`. */
  readonly history: number;
  readonly allowed?: readonly number[];
}

export interface Drawn {
  readonly ids: Int32Array;
  readonly logprobs: Float32Array;
  readonly topIds: Int32Array;
  readonly topLogprobs: Float32Array;
  readonly mu: Float32Array;
}

export function resolved(
  options: GenerateOptions,
  vocab: number,
  eosIds: readonly number[] = [],
  breakerIds: readonly number[] = [],
): ResolvedOptions {
  return resolveOptions(options, noDefaults, { vocab, eosIds, contextLeft: 4096, promptLength: 1, breakerIds });
}

const i32 = (shape: readonly number[], data: Int32Array): OpInput => ({ dtype: 'i32', shape, data });
const f32 = (shape: readonly number[], data: Float32Array): OpInput => ({ dtype: 'f32', shape, data });

/** Blocks of the sequences are interleaved, last first, so that the table matters. */
function layOut(histories: readonly (readonly number[])[]) {
  const columns = Math.max(1, ...histories.map((h) => Math.ceil(h.length / kPage)));
  const blocks = columns * histories.length;
  const table = Int32Array.from({ length: blocks }, (_, i) => {
    const [seq, column] = [Math.floor(i / columns), i % columns];
    return blocks - 1 - (column * histories.length + seq);
  });
  return { blocks, columns, table };
}

export async function runSample(
  draws: readonly Draw[],
  histories: readonly (readonly number[])[],
  device?: string,
  threads?: number,
): Promise<Drawn> {
  const vocab = draws[0]!.logits.length;
  const { blocks, columns, table } = layOut(histories);
  const tables = new SampleTables();
  tables.fill(draws);
  const logits = new Float32Array(draws.length * vocab);
  for (const [i, d] of draws.entries()) logits.set(d.logits, i * vocab);
  const ids = histories.flat();
  const positions = histories.flatMap((h) => h.map((_, i) => i));
  const seqs = histories.flatMap((h, s) => h.map(() => s));
  const tokens: OpInput = { state: 'tokens', dtype: 'i32', shape: [blocks, kPage] };
  const tableInput = i32([histories.length, columns], table);
  const ints = (list: readonly number[]): OpInput => i32([list.length], Int32Array.from(list));
  const lists = Object.fromEntries(
    Object.entries(tables.inputs).map(([name, data]): [string, OpInput] => {
      const width = { numbers: sampleNumberColumns.length, integers: sampleIntegerColumns.length }[name];
      const shape = width === undefined ? [data.length] : [draws.length, width];
      return [name, data instanceof Float32Array ? f32(shape, data) : i32(shape, data)];
    }),
  );
  const words = Math.ceil(vocab / 32);
  const allowed = draws.some((d) => d.allowed !== undefined)
    ? { allowed: i32([draws.length, words], Int32Array.from(draws.flatMap((d) => bits(d.allowed, words)))) }
    : {};
  const last = histories.map((h, s) => positions.findIndex((_, i) => seqs[i] === s) + h.length - 1);
  const top = tables.dims.top;
  const n = draws.length;
  const out = await runOps(
    [
      {
        op: 'token_write',
        inputs: { ids: ints(ids), tokens, table: tableInput, kv_positions: ints(positions), seq_ids: ints(seqs) },
      },
      {
        op: 'sample',
        inputs: {
          logits: f32([n, vocab], logits),
          rows: ints(draws.map((d) => last[d.history]!)),
          kv_positions: ints(positions),
          seq_ids: ints(seqs),
          tokens,
          table: tableInput,
          ...lists,
          ...allowed,
        },
        outputs: [
          { dtype: 'i32', shape: [n] },
          { dtype: 'f32', shape: [n] },
          { dtype: 'i32', shape: [n, top] },
          { dtype: 'f32', shape: [n, top] },
          { dtype: 'f32', shape: [n] },
        ],
      },
    ],
    device,
    threads,
  );
  return {
    ids: out.ids!.data as Int32Array,
    logprobs: out.logprobs!.data as Float32Array,
    topIds: out.top_ids!.data as Int32Array,
    topLogprobs: out.top_logprobs!.data as Float32Array,
    mu: out.mu!.data as Float32Array,
  };
}

function bits(allowed: readonly number[] | undefined, words: number): number[] {
  const row = new Int32Array(words).fill(allowed === undefined ? -1 : 0);
  for (const id of allowed ?? []) row[id >> 5]! |= 1 << (id & 31);
  return [...row];
}
