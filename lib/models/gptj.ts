import { dim } from '../graph/shape.js';
import type { DecoderBuilder } from '../layers/decoder.js';
import { languageHead, tokenTables } from '../layers/language_head.js';
import { plainMlp } from '../layers/mlp.js';
import { norm } from '../layers/norm.js';
import { project } from '../layers/project.js';
import { add, rope } from '../ops/index.js';
import type { DecoderArchitecture } from './architecture.js';

/** GPTJForCausalLM: neighbouring pairs of a head's first entries turn, attention and MLP side by side (Wang & Komatsuzaki 2021). */
function build(m: DecoderBuilder): void {
  const c = m.config;
  const [heads, headDim, eps] = [c.int('num_attention_heads'), c.headDim(), c.num('layer_norm_epsilon')];
  const hidden = dim('hidden', c.int('hidden_size'));
  const ffn = dim('ffn', c.int('n_inner'));
  const vocab = dim('vocab', c.int('vocab_size'));
  const [fn, layers] = [c.activation('activation_function'), c.int('num_hidden_layers')];
  const rotary = c.int('rotary_dim', { min: 2, max: headDim });
  if (rotary % 2 !== 0) c.problem('rotary_dim', 'an even number', rotary);

  const w = m.weights.atIfPresent('transformer');
  const { table, head } = tokenTables(m, w, 'wte.weight', vocab, hidden);
  let x = m.embedTokens(table); // (rows, hidden)
  const turns = m.ropeTable({ type: 'default', theta: 10_000, partialRotaryFactor: 1 }, rotary - (rotary % 2)); // (rows, rotary_dim)
  m.hidden(0, x);
  for (let i = 0; i < layers; i++) {
    const l = w.at(`h.${i}`);
    x = m.scoped(`h.${i}`, () => {
      const a = l.at('attn');
      const h = norm(l, 'ln_1', x, eps);
      const q = rope(project(a, 'q_proj', h, hidden), turns, headDim, true); // (rows, heads · head_dim)
      const k = rope(project(a, 'k_proj', h, hidden), turns, headDim, true); // (rows, heads · head_dim)
      const v = project(a, 'v_proj', h, hidden); // (rows, heads · head_dim)
      const y = m.attention(q, k, v, { heads, kvHeads: heads, headDim });
      const attended = add(x, project(a, 'out_proj', y, hidden)); // (rows, hidden)
      return add(attended, plainMlp(l.at('mlp'), ['fc_in', 'fc_out'], h, ffn, fn));
    });
    if (i + 1 < layers) m.hidden(i + 1, x);
  }
  const last = norm(w, 'ln_f', x, eps);
  m.hidden(layers, last);
  languageHead(m, last, head, { bias: m.weights.vector('lm_head.bias', vocab) }); // (logit_rows, vocab)
}

export const gptj: DecoderArchitecture = {
  classes: ['GPTJForCausalLM'],
  modelType: 'gptj',
  build,
  ignored: [/\.attn\.(bias|masked_bias|embed_positions)$/],
};
