import { dim } from '../graph/shape.js';
import type { DecoderBuilder } from '../layers/decoder.js';
import { languageHead, tokenTables } from '../layers/language_head.js';
import { gatedMlp } from '../layers/mlp.js';
import { project } from '../layers/project.js';
import { add, rmsNorm, rope, scale } from '../ops/index.js';
import { type Architecture, llamaGgufNames } from './architecture.js';

/** GraniteForCausalLM: Llama with factors on embeddings, blocks, attention scores and logits (IBM 2024; Yang et al. 2022, µP). */
function build(m: DecoderBuilder): void {
  const c = m.config;
  const [heads, kvHeads, headDim] = [c.int('num_attention_heads'), c.int('num_key_value_heads'), c.headDim()];
  const hidden = dim('hidden', c.int('hidden_size'));
  const ffn = dim('ffn', c.int('intermediate_size'));
  const vocab = dim('vocab', c.int('vocab_size'));
  const qDim = dim('q', heads * headDim);
  const kvDim = dim('kv', kvHeads * headDim);
  const [fn, norm, layers] = [c.activation(), { eps: c.num('rms_norm_eps') }, c.int('num_hidden_layers')];
  const [bias, mlpBias] = [c.bool('attention_bias'), c.bool('mlp_bias')];
  const factor = (field: string): number => c.num(field, { above: 0, max: 1e9 });
  const shape = { heads, kvHeads, headDim, scale: factor('attention_multiplier') };
  const [embedding, residual] = [factor('embedding_multiplier'), factor('residual_multiplier')];

  const w = m.weights.atIfPresent('model');
  const { table, head } = tokenTables(m, w, 'embed_tokens.weight', vocab, hidden);
  let x = m.scoped('embed_tokens', () => scale(m.embedTokens(table), embedding)); // (rows, hidden)
  const turns = m.ropeTable(c.rope(), headDim); // (rows, 2 · rope half)
  m.hidden(0, x);
  for (let i = 0; i < layers; i++) {
    const l = w.at(`layers.${i}`);
    x = m.scoped(`layers.${i}`, () => {
      const a = l.at('self_attn');
      const h = rmsNorm(x, l.vector('input_layernorm.weight', hidden), norm);
      const q = project(a, 'q_proj', h, qDim, { bias, ggufHeads: heads }); // (rows, heads · head_dim)
      const k = project(a, 'k_proj', h, kvDim, { bias, ggufHeads: kvHeads }); // (rows, kv_heads · head_dim)
      const v = project(a, 'v_proj', h, kvDim, { bias }); // (rows, kv_heads · head_dim)
      const y = m.attention(rope(q, turns, headDim), rope(k, turns, headDim), v, shape);
      const attended = add(x, scale(project(a, 'o_proj', y, hidden, { bias }), residual)); // (rows, hidden)

      const n = rmsNorm(attended, l.vector('post_attention_layernorm.weight', hidden), norm);
      return add(attended, scale(gatedMlp(l.at('mlp'), n, ffn, fn, mlpBias), residual));
    });
    if (i + 1 < layers) m.hidden(i + 1, x);
  }
  const last = m.scoped('norm', () => rmsNorm(x, w.vector('norm.weight', hidden), norm));
  m.hidden(layers, last);
  // (x / s) Wᵀ = (x Wᵀ) / s
  const scaled = m.scoped('logits_scaling', () => scale(last, 1 / factor('logits_scaling')));
  languageHead(m, scaled, head); // (logit_rows, vocab)
}

export const granite: Architecture = {
  classes: ['GraniteForCausalLM'],
  modelType: 'granite',
  build,
  ignored: [/\.rotary_emb\.inv_freq$/],
  gguf: { arch: ['granite'], names: llamaGgufNames },
};
