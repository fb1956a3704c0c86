import { dim } from '../graph/shape.js';
import type { EncoderBuilder } from '../layers/encoder.js';
import { buildHead, classifier, maskedLmHead, norm } from '../layers/encoder_heads.js';
import { project } from '../layers/project.js';
import { activation, add, gated, rope } from '../ops/index.js';
import type { Architecture } from './architecture.js';

/** ModernBertModel and its heads: pre-norm, rotary, local and global attention, GeGLU (Warner et al. 2024). */
function build(m: EncoderBuilder): void {
  const c = m.config;
  const [heads, headDim, layers] = [c.int('num_attention_heads'), c.headDim(), c.int('num_hidden_layers')];
  const [eps, normBias] = [c.num('norm_eps'), c.bool('norm_bias')];
  const [width, size] = [c.int('hidden_size'), c.int('intermediate_size')];
  const [hidden, ffn] = [dim('hidden', width), dim('ffn', size)];
  const [bias, mlpBias] = [c.bool('attention_bias'), c.bool('mlp_bias')];
  const fn = c.activation('hidden_activation');
  const types = c.layerTypes();
  const window = Math.floor(c.int('local_attention') / 2) + 1;
  const w = m.weights.atIfPresent('model');
  const table = w.matrix('embeddings.tok_embeddings.weight', dim('vocab', c.int('vocab_size')), hidden);
  let x = norm(w.at('embeddings'), 'norm', m.embedTokens(table), eps, normBias); // (rows, hidden)
  const turns = {
    full_attention: m.ropeTable(c.rope('full_attention'), headDim, 'rope'), // (rows, 2 · rope half)
    sliding_attention: m.ropeTable(c.rope('sliding_attention'), headDim, 'rope_local'),
  };
  m.hidden(0, x);
  for (let i = 0; i < layers; i++) {
    const l = w.at(`layers.${i}`);
    x = m.scoped(`layers.${i}`, () => {
      const h = i === 0 ? x : norm(l, 'attn_norm', x, eps, normBias);
      const part = (n: number) => ({ bias, part: { begin: n * width, of: 3 * width } });
      const [q, k, v] = [0, 1, 2].map((n) => project(l.at('attn'), 'Wqkv', h, hidden, part(n)));
      const type = types[i]!;
      const local = type === 'sliding_attention' ? { window } : {};
      const [turnedQ, turnedK] = [rope(q!, turns[type], headDim), rope(k!, turns[type], headDim)];
      const y = m.attention(turnedQ, turnedK, v!, { heads, kvHeads: heads, headDim, ...local });
      const attended = add(x, project(l.at('attn'), 'Wo', y, hidden, { bias }));
      const n = norm(l, 'mlp_norm', attended, eps, normBias);
      const [up, gate] = [0, 1].map((p) =>
        project(l.at('mlp'), 'Wi', n, ffn, { bias: mlpBias, part: { begin: p * size, of: 2 * size } }),
      ); // (rows, ffn)
      return add(attended, project(l.at('mlp'), 'Wo', gated(up!, gate!, fn), hidden, { bias: mlpBias }));
    });
    if (i + 1 < layers) m.hidden(i + 1, x);
  }
  const last = norm(w, 'final_norm', x, eps, normBias);
  m.hidden(layers, last);

  const [headFn, headBias] = [c.activation('classifier_activation'), c.bool('classifier_bias')];
  const head = (rows: typeof last): typeof last =>
    norm(
      m.weights.at('head'),
      'norm',
      activation(project(m.weights.at('head'), 'dense', rows, hidden, { bias: headBias }), headFn),
      eps,
      normBias,
    );
  buildHead(m, last, {
    maskedLm: () =>
      maskedLmHead(m, last, table, {
        dense: 'head.dense',
        denseBias: headBias,
        norm: 'head.norm',
        normBias,
        decoder: 'decoder',
        bias: c.bool('decoder_bias') ? ['decoder.bias'] : [],
        fn: headFn,
        eps,
      }),
    sequence: () => {
      const mean = c.oneOf('classifier_pooling', ['cls', 'mean']) === 'mean';
      const pooled = mean ? m.pool(last, 'mean') : m.first(last); // (seqs, hidden)
      classifier(m, head(pooled as unknown as typeof last));
    },
    rows: () => head(last),
    answer: 'classifier',
  });
}

export const modernbert: Architecture = {
  kind: 'encoder',
  classes: [
    'ModernBertModel',
    'ModernBertForMaskedLM',
    'ModernBertForSequenceClassification',
    'ModernBertForTokenClassification',
    'ModernBertForQuestionAnswering',
  ],
  modelType: 'modernbert',
  build,
  ignored: [/^decoder\.weight$/],
};
