import type { InputArray } from '../runtime/native.js';
import type { BlockCopy } from './kv_blocks.js';

/** Rows of one sequence in a step. */
export interface StepRows {
  /** Ids of these rows. */
  readonly ids: ArrayLike<number>;
  /** Index in the cache of the first of them. */
  readonly from: number;
  /** Model positions; default: the same as in the cache. */
  readonly positions?: ArrayLike<number>;
  /** Length that each row's rope angles are computed for. */
  readonly ropeLength: number;
  readonly blocks: readonly number[];
  /** Which of these rows need logits, by index within them; one may be named several times. */
  readonly logits: readonly number[];
}

/** The arrays and dims of one step over a ragged batch, by the names that DecoderBuilder declares. */
export interface StepArrays {
  readonly dims: Record<string, number>;
  readonly inputs: Record<string, InputArray>;
}

/**
 * Packs sequences one after another, without padding. `groups`: names of the cache groups, which share block numbers.
 * `leastColumns`: width of the block tables at least; native wants it to span every position that k steps could reach.
 */
export function packStep(
  sequences: readonly StepRows[],
  copies: readonly BlockCopy[],
  groups: readonly string[],
  leastColumns = 1,
): StepArrays {
  const rows = sequences.reduce((n, s) => n + s.ids.length, 0);
  const logitRows = sequences.reduce((n, s) => n + s.logits.length, 0);
  const columns = sequences.reduce((n, s) => Math.max(n, s.blocks.length), leastColumns);
  const [ids, positions, kvPositions, seqIds, ropeLengths] = [0, 1, 2, 3, 4].map(() => new Int32Array(rows)) as [
    Int32Array,
    Int32Array,
    Int32Array,
    Int32Array,
    Int32Array,
  ];
  const starts = new Int32Array(sequences.length + 1);
  const logits = new Int32Array(logitRows);
  const table = new Int32Array(sequences.length * columns);
  let [row, logit] = [0, 0];
  for (const [s, sequence] of sequences.entries()) {
    for (const l of sequence.logits) logits[logit++] = row + l;
    table.set(sequence.blocks, s * columns);
    for (let i = 0; i < sequence.ids.length; i++, row++) {
      ids[row] = sequence.ids[i]!;
      kvPositions[row] = sequence.from + i;
      positions[row] = sequence.positions?.[i] ?? sequence.from + i;
      seqIds[row] = s;
      ropeLengths[row] = sequence.ropeLength;
    }
    starts[s + 1] = row;
  }
  const dims: Record<string, number> = {
    rows,
    seqs: sequences.length,
    seq_bounds: sequences.length + 1,
    logit_rows: logitRows,
  };
  const inputs: Record<string, InputArray> = {
    input_ids: ids,
    positions,
    kv_positions: kvPositions,
    seq_ids: seqIds,
    rope_lengths: ropeLengths,
    starts,
    logit_rows: logits,
  };
  const pairs = Int32Array.from(copies.flatMap((c) => [c.source, c.target]));
  for (const group of groups) {
    dims[`${group}_columns`] = columns;
    dims[`${group}_copies`] = copies.length;
    inputs[`table_${group}`] = table;
    inputs[`copies_${group}`] = pairs;
  }
  return { dims, inputs };
}
