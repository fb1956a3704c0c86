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

/**
 * Reads the table under `name` of the base model's cursor `w` and the head as lm_head.weight. As in transformers, a tied
 * checkpoint may hold either of the two, and one that holds both is not tied, whatever its config says.
 */
export function tokenTables<V extends string, H extends string>(
  m: DecoderBuilder,
  w: Weights,
  name: string,
  vocab: Dim<V>,
  hidden: Dim<H>,
): TokenTables<V, H> {
  const tied = m.config.bool('tie_word_embeddings');
  const random = m.weights.source.kind === 'random';
  const stored = !tied || (!random && m.weights.has('lm_head.weight'));
  if (!stored) {
    const table = w.matrix(name, vocab, hidden);
    return { table, head: table };
  }
  const head = m.weights.matrix('lm_head.weight', vocab, hidden);
  return { table: tied && !w.has(name) ? head : w.matrix(name, vocab, hidden), head };
}

/** Declares logits of the rows that need them: x (rows, hidden) → (logit_rows, vocab), capped where `cap` is given. */
export function languageHead<V extends string, H extends string>(
  m: DecoderBuilder,
  x: Tensor<['rows', H], 'f32'>,
  head: Weight<[V, H]>,
  cap?: number,
): void {
  const rows = m.logitRowsOf(x); // (logit_rows, hidden)
  const logits = m.scoped('lm_head', () => linear(rows, head)); // (logit_rows, vocab)
  m.logits(cap === undefined ? logits : m.scoped('lm_head', () => softcap(logits, cap)));
}
