import { dim } from '../graph/shape.js';
import { alibiSlopes } from '../layers/alibi.js';
import type { DecoderBuilder } from '../layers/decoder.js';
import { languageHead, tokenTables } from '../layers/language_head.js';
import { plainMlp } from '../layers/mlp.js';
import { norm } from '../layers/norm.js';
import { project } from '../layers/project.js';
import { add } from '../ops/index.js';
import type { Architecture } from './architecture.js';

/** BloomForCausalLM: linear biases in place of positions, normed embeddings, q, k, v fused head by head (BigScience 2022). */
function build(m: DecoderBuilder): void {
  const c = m.config;
  if (c.int('pretraining_tp') > 1) c.only('slow_but_exact', false, 'the sliced products leave out biases');
  const [heads, layers, eps] = [c.int('num_attention_heads'), c.int('num_hidden_layers'), c.num('layer_norm_epsilon')];
  const width = c.int('hidden_size');
  const [hidden, ffn] = [dim('hidden', width), dim('ffn', 4 * width)];
  const vocab = dim('vocab', c.int('vocab_size'));
  const headDim = width / heads;
  const shape = { heads, kvHeads: heads, headDim, alibi: alibiSlopes(heads) };
  const postNorm = c.bool('apply_residual_connection_post_layernorm');
  const part = (index: number) => ({ bias: true, perHead: { index, of: 3, heads, headDim } });

  const w = m.weights.atIfPresent('transformer');
  const { table, head } = tokenTables(m, w, 'word_embeddings.weight', vocab, hidden);
  let x = norm(w, 'word_embeddings_layernorm', m.embedTokens(table), eps); // (rows, hidden)
  m.hidden(0, x);
  for (let i = 0; i < layers; i++) {
    const l = w.at(`h.${i}`);
    x = m.scoped(`h.${i}`, () => {
      const a = l.at('self_attention');
      const h = norm(l, 'input_layernorm', x, eps);
      const q = project(a, 'query_key_value', h, hidden, part(0)); // (rows, heads · head_dim)
      const k = project(a, 'query_key_value', h, hidden, part(1)); // (rows, heads · head_dim)
      const v = project(a, 'query_key_value', h, hidden, part(2)); // (rows, heads · head_dim)
      const y = m.attention(q, k, v, shape);
      const attended = add(postNorm ? h : x, project(a, 'dense', y, hidden, { bias: true })); // (rows, hidden)

      const n = norm(l, 'post_attention_layernorm', attended, eps);
      const f = plainMlp(l.at('mlp'), ['dense_h_to_4h', 'dense_4h_to_h'], n, ffn, 'gelu_tanh'); // (rows, hidden)
      return add(postNorm ? n : attended, f);
    });
    if (i + 1 < layers) m.hidden(i + 1, x);
  }
  const last = norm(w, 'ln_f', x, eps);
  m.hidden(layers, last);
  languageHead(m, last, head); // (logit_rows, vocab)
}

export const bloom: Architecture = {
  classes: ['BloomForCausalLM'],
  modelType: 'bloom',
  build,
};
