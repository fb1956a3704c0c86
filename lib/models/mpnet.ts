import { dim } from '../graph/shape.js';
import type { EncoderBuilder } from '../layers/encoder.js';
import { buildHead, firstRowClassifier, maskedLmHead, norm } from '../layers/encoder_heads.js';
import { project } from '../layers/project.js';
import { relativeBias } from '../layers/relative.js';
import { activation, add } from '../ops/index.js';
import type { Architecture } from './architecture.js';
import { robertaLmHead } from './roberta.js';

/** MPNetModel and its heads: BERT's layers with T5's relative positions in every layer (Song et al. 2020). */
function build(m: EncoderBuilder): void {
  const c = m.config;
  const [heads, headDim, eps] = [c.int('num_attention_heads'), c.headDim(), c.num('layer_norm_eps')];
  const hidden = dim('hidden', c.int('hidden_size'));
  const ffn = dim('ffn', c.int('intermediate_size'));
  const [fn, layers, bias] = [c.activation(), c.int('num_hidden_layers'), { bias: true }];
  m.positionPadding = 1; // a constant of the class
  const w = m.weights.atIfPresent('mpnet');
  const e = w.at('embeddings');
  const table = e.matrix('word_embeddings.weight', dim('vocab', c.int('vocab_size')), hidden);
  const places = dim('positions', c.int('max_position_embeddings'));
  const positions = m.embedPositions(e.matrix('position_embeddings.weight', places, hidden, { exact: true }));
  let x = norm(e, 'LayerNorm', add(m.embedTokens(table), positions), eps); // (rows, hidden)
  // The class gives its function neither the number of buckets nor the distance: 32 and 128.
  c.only('relative_attention_num_buckets', 32, 'what the class computes with');
  const relative = relativeBias(w.at('encoder'), 'relative_attention_bias', dim(`heads${heads}`, heads), {
    buckets: 32,
    maxDistance: 128,
    bidirectional: true,
  });
  m.hidden(0, x);
  for (let i = 0; i < layers; i++) {
    const l = w.at(`encoder.layer.${i}`);
    x = m.scoped(`layer.${i}`, () => {
      const a = l.at('attention.attn');
      const [q, k, v] = (['q', 'k', 'v'] as const).map((part) => project(a, part, x, hidden, bias));
      const y = m.attention(q!, k!, v!, { heads, kvHeads: heads, headDim, relative }); // (rows, heads · head_dim)
      const attended = norm(l.at('attention'), 'LayerNorm', add(project(a, 'o', y, hidden, bias), x), eps);
      const up = activation(project(l.at('intermediate'), 'dense', attended, ffn, bias), fn); // (rows, ffn)
      return norm(l.at('output'), 'LayerNorm', add(project(l.at('output'), 'dense', up, hidden, bias), attended), eps);
    });
    m.hidden(i + 1, x);
  }
  buildHead(m, x, {
    maskedLm: () => maskedLmHead(m, x, table, { ...robertaLmHead, eps }),
    sequence: () => firstRowClassifier(m, x, 'tanh'),
    pooler: w,
  });
}

export const mpnet: Architecture = {
  kind: 'encoder',
  classes: [
    'MPNetModel',
    'MPNetForMaskedLM',
    'MPNetForSequenceClassification',
    'MPNetForTokenClassification',
    'MPNetForQuestionAnswering',
  ],
  modelType: 'mpnet',
  build,
  ignored: [/embeddings\.position_ids$/, /^lm_head\.decoder\./, /(^|\.)pooler\./],
};
