import { dim } from '../graph/shape.js';
import type { EncoderBuilder } from '../layers/encoder.js';
import { buildHead, classifier, maskedLmHead, norm } from '../layers/encoder_heads.js';
import { project } from '../layers/project.js';
import { activation, add } from '../ops/index.js';
import type { Architecture } from './architecture.js';

const eps = 1e-12; // a constant of the class

/** DistilBertModel and its heads: BERT without segments and pooler (Sanh et al. 2019). */
function build(m: EncoderBuilder): void {
  const c = m.config;
  const [heads, headDim, bias] = [c.int('n_heads'), c.headDim(), { bias: true }];
  const hidden = dim('hidden', c.int('dim'));
  const ffn = dim('ffn', c.int('hidden_dim'));
  const [fn, layers] = [c.activation('activation'), c.int('n_layers')];
  const w = m.weights.atIfPresent('distilbert');
  const e = w.at('embeddings');
  const table = e.matrix('word_embeddings.weight', dim('vocab', c.int('vocab_size')), hidden);
  const places = dim('positions', c.int('max_position_embeddings'));
  const positions = m.embedPositions(e.matrix('position_embeddings.weight', places, hidden, { exact: true }));
  let x = norm(e, 'LayerNorm', add(m.embedTokens(table), positions), eps); // (rows, hidden)
  m.hidden(0, x);
  for (let i = 0; i < layers; i++) {
    const l = w.at(`transformer.layer.${i}`);
    x = m.scoped(`layer.${i}`, () => {
      const [a, f] = [l.at('attention'), l.at('ffn')];
      const [q, k, v] = (['q_lin', 'k_lin', 'v_lin'] as const).map((part) => project(a, part, x, hidden, bias));
      const y = m.attention(q!, k!, v!, { heads, kvHeads: heads, headDim }); // (rows, heads · head_dim)
      const attended = norm(l, 'sa_layer_norm', add(project(a, 'out_lin', y, hidden, bias), x), eps);
      const up = activation(project(f, 'lin1', attended, ffn, bias), fn); // (rows, ffn)
      return norm(l, 'output_layer_norm', add(project(f, 'lin2', up, hidden, bias), attended), eps);
    });
    m.hidden(i + 1, x);
  }
  buildHead(m, x, {
    maskedLm: () =>
      maskedLmHead(m, x, table, {
        dense: 'vocab_transform',
        norm: 'vocab_layer_norm',
        decoder: 'vocab_projector',
        bias: ['vocab_projector.bias'],
        fn,
        eps,
      }),
    sequence: () => {
      const first = activation(project(m.weights, 'pre_classifier', m.first(x), hidden, bias), 'relu');
      classifier(m, first);
    },
  });
}

export const distilbert: Architecture = {
  kind: 'encoder',
  classes: [
    'DistilBertModel',
    'DistilBertForMaskedLM',
    'DistilBertForSequenceClassification',
    'DistilBertForTokenClassification',
    'DistilBertForQuestionAnswering',
  ],
  modelType: 'distilbert',
  build,
  // Published files of the base model keep the head of the masked language model.
  ignored: [/embeddings\.position_ids$/, /^vocab_(transform|layer_norm|projector)\./],
};
