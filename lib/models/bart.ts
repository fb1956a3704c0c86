import { type Dim, dim } from '../graph/shape.js';
import { floats } from '../graph/weight_expr.js';
import { bartCrossHeads, buildBart } from '../layers/bart.js';
import type { ModelBuilder } from '../layers/builder.js';
import { EncoderBuilder } from '../layers/encoder.js';
import { sinusoids, storedOrMade } from '../layers/sinusoids.js';
import type { Weights } from '../layers/weights.js';
import type { Architecture } from './architecture.js';

/** Learned positions whose table begins with two rows that no text reaches. */
const learned = (m: ModelBuilder, w: Weights, hidden: Dim<'hidden'>) => {
  const places = m.config.int('max_position_embeddings');
  const part = { begin: 2, of: places + 2 };
  return w.matrix('embed_positions.weight', dim('positions', places), hidden, { exact: true, part });
};

/** Sines and cosines, stored or not. */
const sinusoidal = (m: ModelBuilder, w: Weights, hidden: Dim<'hidden'>) =>
  storedOrMade(m, w, 'embed_positions.weight', hidden, m.config.int('max_position_embeddings'));

/** Positions count from the padding id + 1 on; the padding id's own row is zero (fairseq). */
const paddedSinusoids = (m: ModelBuilder, w: Weights, hidden: Dim<'hidden'>) => {
  const [places, size] = [m.config.int('max_position_embeddings'), hidden.size ?? 0];
  const padding = m.config.int('pad_token_id', { min: 0 });
  const encoder = m instanceof EncoderBuilder;
  const first = encoder ? 0 : padding + 1;
  const count = places + padding + 1 - first;
  const table = sinusoids(count, size, Math.floor(size / 2) - 1, first);
  if (encoder) {
    m.positionPadding = padding;
    table.fill(0, padding * size, (padding + 1) * size);
  }
  const rows = dim('positions', count);
  return m.graph.weight<['positions', 'hidden']>(`${w.prefix}.embed_positions`, floats(table, count), [rows, hidden]);
};

/** Tied tables under further names, and buffers. */
const ignored = [/embed_tokens\.weight$/, /^lm_head\.weight$/, /embed_positions\.weight$/, /\.version$/];

/** BartForConditionalGeneration: post-norm, learned positions, a norm over the embeddings (Lewis et al. 2020). */
export const bart: Architecture = {
  kind: 'seq2seq',
  classes: ['BartForConditionalGeneration'],
  modelType: 'bart',
  crossHeads: bartCrossHeads,
  build: (m) => buildBart(m, { preNorm: false, normEmbedding: true, positions: learned }),
  ignored,
};

/** MBartForConditionalGeneration: BART with norms before each part and after each side (Liu et al. 2020). */
export const mbart: Architecture = {
  kind: 'seq2seq',
  classes: ['MBartForConditionalGeneration'],
  modelType: 'mbart',
  crossHeads: bartCrossHeads,
  build: (m) => buildBart(m, { preNorm: true, normEmbedding: true, positions: learned }),
  ignored,
};

/** MarianMTModel: post-norm, sinusoids (Junczys-Dowmunt et al. 2018): the transformer of 2017. */
export const marian: Architecture = {
  kind: 'seq2seq',
  classes: ['MarianMTModel'],
  modelType: 'marian',
  crossHeads: bartCrossHeads,
  build: (m) => buildBart(m, { preNorm: false, normEmbedding: false, positions: sinusoidal, twoVocabularies: true }),
  ignored,
};

/** PegasusForConditionalGeneration: norms before each part and after each side, sinusoids (Zhang et al. 2020). */
export const pegasus: Architecture = {
  kind: 'seq2seq',
  classes: ['PegasusForConditionalGeneration'],
  modelType: 'pegasus',
  crossHeads: bartCrossHeads,
  build: (m) => buildBart(m, { preNorm: true, normEmbedding: false, positions: sinusoidal }),
  ignored,
};

/** M2M100ForConditionalGeneration, NLLB: mBART with sinusoids that skip padding (Fan et al. 2021). */
export const m2m100: Architecture = {
  kind: 'seq2seq',
  classes: ['M2M100ForConditionalGeneration'],
  modelType: 'm2m_100',
  crossHeads: bartCrossHeads,
  build: (m) => buildBart(m, { preNorm: true, normEmbedding: false, positions: paddedSinusoids }),
  ignored,
};
