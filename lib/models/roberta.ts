import { dim } from '../graph/shape.js';
import type { EncoderBuilder } from '../layers/encoder.js';
import { buildHead, firstRowClassifier, maskedLmHead } from '../layers/encoder_heads.js';
import type { Architecture } from './architecture.js';
import { bertEmbeddings, bertLayers } from './bert.js';

/** RoBERTa's masked language model, shared by its kin: dense, gelu, norm, tied vocabulary with a bias. */
export const robertaLmHead = {
  dense: 'lm_head.dense',
  norm: 'lm_head.layer_norm',
  decoder: 'lm_head.decoder',
  bias: ['lm_head.bias', 'lm_head.decoder.bias'],
  fn: 'gelu',
} as const;

/** RobertaModel and its heads: BERT's layers, positions counted from the padding id on (Liu et al. 2019). */
function build(m: EncoderBuilder): void {
  const c = m.config;
  c.only('is_decoder', false, 'an encoder');
  c.only('position_embedding_type', 'absolute', 'learned positions');
  m.positionPadding = c.int('pad_token_id', { min: 0 });
  const w = m.weights.atIfPresent('roberta');
  const { table, x: embedded } = bertEmbeddings(m, w.at('embeddings'), dim('hidden', c.int('hidden_size')));
  const x = bertLayers(m, w.at('encoder'), embedded); // (rows, hidden)
  buildHead(m, x, {
    maskedLm: () => maskedLmHead(m, x, table, { ...robertaLmHead, eps: c.num('layer_norm_eps') }),
    sequence: () => firstRowClassifier(m, x, 'tanh'),
    pooler: w,
  });
}

const heads = ['Model', 'ForMaskedLM', 'ForSequenceClassification', 'ForTokenClassification', 'ForQuestionAnswering'];
const ignored = [/embeddings\.position_ids$/, /^lm_head\.decoder\./, /(^|\.)pooler\./];

export const roberta: Architecture = {
  kind: 'encoder',
  classes: heads.map((head) => `Roberta${head}`),
  modelType: 'roberta',
  build,
  ignored,
};

/** XLM-R is RoBERTa with another vocabulary (Conneau et al. 2020). */
export const xlmRoberta: Architecture = {
  kind: 'encoder',
  classes: heads.map((head) => `XLMRoberta${head}`),
  modelType: 'xlm-roberta',
  build,
  ignored,
};
