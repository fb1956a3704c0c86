import type { Weight } from '../graph/graph.js';
import { type Dim, dim } from '../graph/shape.js';
import { type Activation, activation } from '../ops/elementwise.js';
import { linear } from '../ops/linear.js';
import { slice } from '../ops/slice.js';
import type { Rows } from './builder.js';
import type { EncoderBuilder, Sequences } from './encoder.js';
import { norm } from './norm.js';
import { project } from './project.js';
import type { Weights } from './weights.js';

export { norm } from './norm.js';

export interface MaskedLmNames {
  /** The linear layer before the vocabulary. */
  readonly dense: string;
  /** Default true. */
  readonly denseBias?: boolean;
  readonly norm: string;
  readonly normBias?: boolean;
  /** The vocabulary's weight where it is not tied, without `.weight`. */
  readonly decoder: string;
  /** Full names under which files keep the bias of the vocabulary; the first that is there counts; none: no bias. */
  readonly bias: readonly string[];
  readonly fn: Activation;
  readonly eps: number;
}

/** Masked language model: decoder(norm(fn(dense(x)))) of the rows that need logits → logits (logit_rows, vocab). */
export function maskedLmHead<V extends string, C extends string>(
  m: EncoderBuilder,
  x: Rows<string>,
  table: Weight<[V, C]>,
  names: MaskedLmNames,
): void {
  const w = m.weights;
  const rows = m.logitRowsOf(x); // (logit_rows, hidden)
  const dense = activation(project(w, names.dense, rows, table.dims[1], { bias: names.denseBias ?? true }), names.fn);
  const normed = norm(w, names.norm, dense, names.eps, names.normBias); // (logit_rows, cols of the table)
  const bias = names.bias.find((name) => w.has(name)) ?? names.bias[0];
  const tied = m.config.bool('tie_word_embeddings');
  const decoder = tied ? table : w.matrix(`${names.decoder}.weight`, table.dims[0], table.dims[1]);
  const logits = m.scoped(names.decoder, () =>
    linear(normed, decoder, bias === undefined ? undefined : w.vector(bias, table.dims[0])),
  );
  m.output('logits', logits);
}

/** Number of classes: the entries of id2label, else num_labels, else 2. */
export function labelsOf(m: EncoderBuilder): Dim<'labels'> {
  return dim('labels', m.labels.length);
}

/** A linear layer from x to the classes: logits (rows or seqs, labels). */
export function classifier(m: EncoderBuilder, x: Rows<string> | Sequences<string>, name = 'classifier'): void {
  m.output('logits', project(m.weights, name, x as Rows<string>, labelsOf(m), { bias: true }));
}

/** Where the answer begins and ends: start_logits and end_logits (rows, 1). */
export function answerHead(m: EncoderBuilder, x: Rows<string>, name = 'qa_outputs'): void {
  const both = project(m.weights, name, x, dim('ends', 2), { bias: true }); // (rows, 2)
  m.output('start_logits', slice(both, 0, dim('one', 1)));
  m.output('end_logits', slice(both, 1, dim('one', 1)));
}

/** fn(dense(first row)), then the classes: RoBERTa's and ELECTRA's sentence classifier. */
export function firstRowClassifier(m: EncoderBuilder, x: Rows<string>, fn: Activation): void {
  const w = m.weights.at('classifier');
  const first = m.first(x); // (seqs, hidden)
  const dense = activation(project(w, 'dense', first, x.dims[1], { bias: true }), fn);
  classifier(m, dense, 'classifier.out_proj');
}

/** tanh(dense(first row)) (seqs, hidden), for pooler_output and BERT's classifier. */
export function pooler<C extends string>(m: EncoderBuilder, w: Weights, x: Rows<C>): Sequences<C> {
  const dense = project(w.at('pooler'), 'dense', m.first(x), x.dims[1], { bias: true });
  return activation(dense, 'tanh');
}

/** What the classes of one encoder put on top of it; the other heads are alike in all of them. */
export interface HeadsOf {
  readonly maskedLm: () => void;
  readonly sequence: () => void;
  /** What token classification and question answering see; default: the encoder's rows. */
  readonly rows?: () => Rows<string>;
  /** The base model's weights, where it may have a pooler. */
  readonly pooler?: Weights;
  /** Name of the layer that finds answers; default qa_outputs. */
  readonly answer?: string;
}

/** Declares the outputs of the class that is built, from the encoder's rows x (rows, hidden). */
export function buildHead(m: EncoderBuilder, x: Rows<string>, heads: HeadsOf): void {
  const rows = heads.rows ?? (() => x);
  switch (m.head) {
    case 'masked_lm':
      heads.maskedLm();
      break;
    case 'sequence':
      heads.sequence();
      break;
    case 'tokens':
      classifier(m, rows());
      break;
    case 'answer':
      answerHead(m, rows(), heads.answer);
      break;
    case 'base':
      m.output('last_hidden_state', x);
      if (heads.pooler?.has('pooler.dense.weight') === true) m.output('pooler_output', pooler(m, heads.pooler, x));
  }
}
