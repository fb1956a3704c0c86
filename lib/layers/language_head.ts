import type { Tensor, Weight } from '../graph/graph.js';
import type { Dim } from '../graph/shape.js';
import { softcap } from '../ops/elementwise.js';
import { linear } from '../ops/linear.js';
import type { DecoderBuilder } from './decoder.js';
import type { Weights } from './weights.js';

/** The token table, and the head that turns hidden states into logits: both (vocab, hidden), one weight where tied. */
export interface TokenTables<V extends string, H extends string> {
  readonly table: Weight<[V, H]>;
  readonly head: Weight<[V, H]>;
}

export interface HeadOptions<V extends string> {
  /** Logits l become cap · tanh(l / cap). */
  readonly cap?: number | undefined;
  /** (vocab), added to the logits. */
  readonly bias?: Weight<[V]> | undefined;
}

/**
 * Reads the table under `name` of the base model's cursor `w` and the head as lm_head.weight, or the name given. As in
 * transformers, a tied checkpoint may hold either of the two, and one that holds both is not tied, whatever its config
 * says.
 */
export function tokenTables<V extends string, H extends string>(
  m: DecoderBuilder,
  w: Weights,
  name: string,
  vocab: Dim<V>,
  hidden: Dim<H>,
  headName = 'lm_head.weight',
): TokenTables<V, H> {
  const tied = m.config.bool('tie_word_embeddings');
  const random = m.weights.source.kind === 'random';
  const stored = !tied || (!random && m.weights.has(headName));
  if (!stored) {
    const table = w.matrix(name, vocab, hidden);
    return { table, head: table };
  }
  const head = m.weights.matrix(headName, vocab, hidden);
  return { table: tied && !w.has(name) ? head : w.matrix(name, vocab, hidden), head };
}

/** Declares logits of the rows that need them: x (rows, hidden) → (logit_rows, vocab). */
export function languageHead<V extends string, H extends string>(
  m: DecoderBuilder,
  x: Tensor<['rows', H], 'f32'>,
  head: Weight<[V, H]>,
  options: HeadOptions<V> = {},
): void {
  const { cap, bias } = options;
  const rows = m.logitRowsOf(x); // (logit_rows, hidden)
  const logits = m.scoped('lm_head', () => linear(rows, head, bias)); // (logit_rows, vocab)
  m.logits(cap === undefined ? logits : m.scoped('lm_head', () => softcap(logits, cap)));
}
