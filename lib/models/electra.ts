import { dim } from '../graph/shape.js';
import type { EncoderBuilder } from '../layers/encoder.js';
import { buildHead, firstRowClassifier, maskedLmHead } from '../layers/encoder_heads.js';
import { project } from '../layers/project.js';
import type { Architecture } from './architecture.js';
import { bertEmbeddings, bertLayers } from './bert.js';

/** ElectraModel and its heads: BERT's layers over embeddings that may be narrower (Clark et al. 2020). */
function build(m: EncoderBuilder): void {
  const c = m.config;
  c.only('is_decoder', false, 'an encoder');
  c.only('position_embedding_type', 'absolute', 'learned positions');
  const w = m.weights.atIfPresent('electra');
  const [narrow, wide] = [c.int('embedding_size'), c.int('hidden_size')];
  const hidden = dim('hidden', wide);
  const { table, x: embedded } = bertEmbeddings(
    m,
    w.at('embeddings'),
    narrow === wide ? hidden : dim('embedding', narrow),
  );
  const start = narrow === wide ? embedded : project(w, 'embeddings_project', embedded, hidden, { bias: true });
  const x = bertLayers(m, w.at('encoder'), start); // (rows, hidden)
  buildHead(m, x, {
    maskedLm: () =>
      maskedLmHead(m, x, table, {
        dense: 'generator_predictions.dense',
        norm: 'generator_predictions.LayerNorm',
        decoder: 'generator_lm_head',
        bias: ['generator_lm_head.bias'],
        fn: 'gelu',
        eps: c.num('layer_norm_eps'),
      }),
    sequence: () => firstRowClassifier(m, x, 'gelu'),
  });
}

export const electra: Architecture = {
  kind: 'encoder',
  classes: [
    'ElectraModel',
    'ElectraForMaskedLM',
    'ElectraForSequenceClassification',
    'ElectraForTokenClassification',
    'ElectraForQuestionAnswering',
  ],
  modelType: 'electra',
  build,
  // Published discriminators hold ElectraForPreTraining's head.
  ignored: [/embeddings\.position_ids$/, /^discriminator_predictions\./, /^generator_lm_head\.weight$/],
};
