import { type Dim, dim } from '../graph/shape.js';
import type { Rows } from '../layers/builder.js';
import type { EncoderBuilder } from '../layers/encoder.js';
import { buildHead, classifier, maskedLmHead, norm, pooler } from '../layers/encoder_heads.js';
import { project } from '../layers/project.js';
import type { Weights } from '../layers/weights.js';
import { activation, add } from '../ops/index.js';
import type { Architecture } from './architecture.js';

/**
 * Word, segment and learned position embeddings, normed: (rows) → (rows, cols of the table). Also gives the word table, which
 * the masked language model shares.
 */
export function bertEmbeddings<C extends string>(m: EncoderBuilder, w: Weights, cols: Dim<C>) {
  const c = m.config;
  const vocab = dim('vocab', c.int('vocab_size'));
  const table = w.matrix('word_embeddings.weight', vocab, cols);
  const words = m.embedTokens(table);
  const types = w.matrix('token_type_embeddings.weight', dim('segments', c.int('type_vocab_size')), cols, {
    exact: true,
  });
  const places = dim('positions', c.int('max_position_embeddings'));
  const positions = m.embedPositions(w.matrix('position_embeddings.weight', places, cols, { exact: true }));
  const sum = add(add(words, m.embedTokenTypes(types)), positions); // (rows, cols)
  return { table, x: norm(w, 'LayerNorm', sum, c.num('layer_norm_eps')) };
}

/** Post-norm layers (Vaswani et al. 2017, BertLayer): (rows, hidden) → (rows, hidden), hidden states recorded. */
export function bertLayers<C extends string>(m: EncoderBuilder, w: Weights, start: Rows<C>): Rows<C> {
  const c = m.config;
  const [heads, headDim, eps] = [c.int('num_attention_heads'), c.headDim(), c.num('layer_norm_eps')];
  const ffn = dim('ffn', c.int('intermediate_size'));
  const [fn, layers, bias] = [c.activation(), c.int('num_hidden_layers'), { bias: true }];
  let x = start;
  m.hidden(0, x);
  for (let i = 0; i < layers; i++) {
    const l = w.at(`layer.${i}`);
    x = m.scoped(`layer.${i}`, () => {
      const a = l.at('attention.self');
      const [q, k, v] = (['query', 'key', 'value'] as const).map((part) => project(a, part, x, x.dims[1], bias));
      const y = m.attention(q!, k!, v!, { heads, kvHeads: heads, headDim }); // (rows, heads · head_dim)
      const o = l.at('attention.output');
      const attended = norm(o, 'LayerNorm', add(project(o, 'dense', y, x.dims[1], bias), x), eps);
      const up = activation(project(l.at('intermediate'), 'dense', attended, ffn, bias), fn); // (rows, ffn)
      const down = l.at('output');
      return norm(down, 'LayerNorm', add(project(down, 'dense', up, x.dims[1], bias), attended), eps);
    });
    m.hidden(i + 1, x);
  }
  return x;
}

/** BertModel and its heads: post-norm, learned positions, two segments (Devlin et al. 2019). */
function build(m: EncoderBuilder): void {
  const c = m.config;
  c.only('is_decoder', false, 'an encoder');
  c.only('position_embedding_type', 'absolute', 'learned positions');
  const w = m.weights.atIfPresent('bert');
  const { table, x: embedded } = bertEmbeddings(m, w.at('embeddings'), dim('hidden', c.int('hidden_size')));
  const x = bertLayers(m, w.at('encoder'), embedded); // (rows, hidden)
  buildHead(m, x, {
    maskedLm: () =>
      maskedLmHead(m, x, table, {
        dense: 'cls.predictions.transform.dense',
        norm: 'cls.predictions.transform.LayerNorm',
        decoder: 'cls.predictions.decoder',
        bias: ['cls.predictions.bias', 'cls.predictions.decoder.bias'],
        fn: c.activation(),
        eps: c.num('layer_norm_eps'),
      }),
    sequence: () => classifier(m, pooler(m, w, x)),
    pooler: w,
  });
}

export const bert: Architecture = {
  kind: 'encoder',
  classes: [
    'BertModel',
    'BertForMaskedLM',
    'BertForSequenceClassification',
    'BertForTokenClassification',
    'BertForQuestionAnswering',
  ],
  modelType: 'bert',
  build,
  // Published files hold BertForPreTraining: its next-sentence head and pooler go unused by the other classes.
  ignored: [/^cls\.seq_relationship\./, /^cls\.predictions\.decoder\./, /embeddings\.position_ids$/, /(^|\.)pooler\./],
};
