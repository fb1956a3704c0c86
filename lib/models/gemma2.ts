import { dim } from '../graph/shape.js';
import type { DecoderBuilder } from '../layers/decoder.js';
import { languageHead, tokenTables } from '../layers/language_head.js';
import { gatedMlp } from '../layers/mlp.js';
import { project } from '../layers/project.js';
import { add, rmsNorm, rope, scale } from '../ops/index.js';
import { type Architecture, sandwichGgufNames } from './architecture.js';

/** Gemma2ForCausalLM: Gemma with norms on both sides of each block, soft caps, every other layer sliding (Gemma Team 2024). */
function build(m: DecoderBuilder): void {
  const c = m.config;
  c.only('use_bidirectional_attention', false, 'attention is causal');
  const [heads, kvHeads, headDim] = [c.int('num_attention_heads'), c.int('num_key_value_heads'), c.headDim()];
  const hidden = dim('hidden', c.int('hidden_size'));
  const ffn = dim('ffn', c.int('intermediate_size'));
  const vocab = dim('vocab', c.int('vocab_size'));
  const qDim = dim('q', heads * headDim);
  const kvDim = dim('kv', kvHeads * headDim);
  const [bias, fn, types] = [c.bool('attention_bias'), c.activation(), c.layerTypes()];
  const shape = {
    heads,
    kvHeads,
    headDim,
    scale: c.num('query_pre_attn_scalar') ** -0.5,
    softcap: c.optionalNum('attn_logit_softcapping'),
  };

  const w = m.weights.atIfPresent('model');
  const norm = { eps: c.num('rms_norm_eps'), offset: w.source.kind === 'gguf' ? 0 : 1 }; // GGUF stores 1 + weight
  const { table, head } = tokenTables(m, w, 'embed_tokens.weight', vocab, hidden);
  let x = m.scoped('embed_tokens', () => scale(m.embedTokens(table), Math.sqrt(c.int('hidden_size')))); // (rows, hidden)
  const turns = m.ropeTable(c.rope(), headDim); // (rows, 2 · rope half)
  m.hidden(0, x);
  for (const [i, type] of types.entries()) {
    const l = w.at(`layers.${i}`);
    const window = type === 'sliding_attention' ? c.int('sliding_window') : undefined;
    x = m.scoped(`layers.${i}`, () => {
      const a = l.at('self_attn');
      const h = rmsNorm(x, l.vector('input_layernorm.weight', hidden), norm);
      const q = project(a, 'q_proj', h, qDim, { bias }); // (rows, heads · head_dim)
      const k = project(a, 'k_proj', h, kvDim, { bias }); // (rows, kv_heads · head_dim)
      const v = project(a, 'v_proj', h, kvDim, { bias }); // (rows, kv_heads · head_dim)
      const y = m.attention(rope(q, turns, headDim), rope(k, turns, headDim), v, { ...shape, window });
      const o = project(a, 'o_proj', y, hidden, { bias }); // (rows, hidden)
      const attended = add(x, rmsNorm(o, l.vector('post_attention_layernorm.weight', hidden), norm));

      const n = rmsNorm(attended, l.vector('pre_feedforward_layernorm.weight', hidden), norm);
      const f = gatedMlp(l.at('mlp'), n, ffn, fn);
      return add(attended, rmsNorm(f, l.vector('post_feedforward_layernorm.weight', hidden), norm));
    });
    if (i + 1 < types.length) m.hidden(i + 1, x);
  }
  const last = m.scoped('norm', () => rmsNorm(x, w.vector('norm.weight', hidden), norm));
  m.hidden(types.length, last);
  languageHead(m, last, head, { cap: c.optionalNum('final_logit_softcapping') }); // (logit_rows, vocab)
}

export const gemma2: Architecture = {
  classes: ['Gemma2ForCausalLM'],
  modelType: 'gemma2',
  build,
  ignored: [/\.rotary_emb\.inv_freq$/],
  gguf: { arch: ['gemma2'], names: sandwichGgufNames },
};
