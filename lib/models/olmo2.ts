import { dim } from '../graph/shape.js';
import type { DecoderBuilder } from '../layers/decoder.js';
import { languageHead, tokenTables } from '../layers/language_head.js';
import { gatedMlp } from '../layers/mlp.js';
import { project } from '../layers/project.js';
import { add, rmsNorm, rope } from '../ops/index.js';
import { type Architecture, sandwichGgufNames } from './architecture.js';

/** Olmo2ForCausalLM: norms only behind each block, q and k normed over all heads at once (OLMo Team 2024). */
function build(m: DecoderBuilder): void {
  const c = m.config;
  const [heads, kvHeads, headDim] = [c.int('num_attention_heads'), c.int('num_key_value_heads'), c.headDim()];
  const hidden = dim('hidden', c.int('hidden_size'));
  const ffn = dim('ffn', c.int('intermediate_size'));
  const vocab = dim('vocab', c.int('vocab_size'));
  const qDim = dim('q', heads * headDim);
  const kvDim = dim('kv', kvHeads * headDim);
  const [fn, norm, layers] = [c.activation(), { eps: c.num('rms_norm_eps') }, c.int('num_hidden_layers')];
  const bias = c.bool('attention_bias');

  const w = m.weights.atIfPresent('model');
  const { table, head } = tokenTables(m, w, 'embed_tokens.weight', vocab, hidden);
  let x = m.embedTokens(table); // (rows, hidden)
  const turns = m.ropeTable(c.rope(), headDim); // (rows, 2 · rope half)
  m.hidden(0, x);
  for (let i = 0; i < layers; i++) {
    const l = w.at(`layers.${i}`);
    x = m.scoped(`layers.${i}`, () => {
      const a = l.at('self_attn');
      const q = rmsNorm(project(a, 'q_proj', x, qDim, { bias }), a.vector('q_norm.weight', qDim), norm); // (rows, heads · head_dim)
      const k = rmsNorm(project(a, 'k_proj', x, kvDim, { bias }), a.vector('k_norm.weight', kvDim), norm); // (rows, kv_heads · head_dim)
      const v = project(a, 'v_proj', x, kvDim, { bias }); // (rows, kv_heads · head_dim)
      const y = m.attention(rope(q, turns, headDim), rope(k, turns, headDim), v, { heads, kvHeads, headDim });
      const o = project(a, 'o_proj', y, hidden, { bias }); // (rows, hidden)
      const attended = add(x, rmsNorm(o, l.vector('post_attention_layernorm.weight', hidden), norm));

      const f = gatedMlp(l.at('mlp'), attended, ffn, fn);
      return add(attended, rmsNorm(f, l.vector('post_feedforward_layernorm.weight', hidden), norm));
    });
    if (i + 1 < layers) m.hidden(i + 1, x);
  }
  const last = m.scoped('norm', () => rmsNorm(x, w.vector('norm.weight', hidden), norm));
  m.hidden(layers, last);
  languageHead(m, last, head); // (logit_rows, vocab)
}

export const olmo2: Architecture = {
  classes: ['Olmo2ForCausalLM'],
  modelType: 'olmo2',
  build,
  ignored: [/\.rotary_emb\.inv_freq$/],
  gguf: {
    arch: ['olmo2'],
    names: {
      ...sandwichGgufNames,
      'model.layers.*.self_attn.q_norm.weight': 'blk.*.attn_q_norm.weight',
      'model.layers.*.self_attn.k_norm.weight': 'blk.*.attn_k_norm.weight',
    },
  },
};
