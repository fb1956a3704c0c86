import { dim } from '../graph/shape.js';
import type { DecoderBuilder } from '../layers/decoder.js';
import { languageHead, tokenTables } from '../layers/language_head.js';
import { gatedMlp } from '../layers/mlp.js';
import { project } from '../layers/project.js';
import { add, headRmsNorm, rmsNorm, rope, scale } from '../ops/index.js';
import { type Architecture, sandwichGgufNames } from './architecture.js';

/**
 * Gemma3ForCausalLM: Gemma 2 with q and k normed per head in place of the attention cap; one layer in six sees all keys,
 * with rotary frequencies of its own (Gemma Team 2025).
 */
function build(m: DecoderBuilder): void {
  const c = m.config;
  c.only('use_bidirectional_attention', false, 'attention is causal');
  const [heads, kvHeads] = [c.int('num_attention_heads'), c.int('num_key_value_heads')];
  const hidden = dim('hidden', c.int('hidden_size'));
  const ffn = dim('ffn', c.int('intermediate_size'));
  const vocab = dim('vocab', c.int('vocab_size'));
  const headDim = dim('head', c.headDim());
  const qDim = dim('q', heads * headDim.size!);
  const kvDim = dim('kv', kvHeads * headDim.size!);
  const [bias, fn, types] = [c.bool('attention_bias'), c.activation(), c.layerTypes()];
  const shape = { heads, kvHeads, headDim: headDim.size!, scale: c.num('query_pre_attn_scalar') ** -0.5 };

  const w = m.weights.atIfPresent('model');
  const norm = { eps: c.num('rms_norm_eps'), offset: w.source.kind === 'gguf' ? 0 : 1 }; // GGUF stores 1 + weight
  const { table, head } = tokenTables(m, w, 'embed_tokens.weight', vocab, hidden);
  let x = m.scoped('embed_tokens', () => scale(m.embedTokens(table), Math.sqrt(c.int('hidden_size')))); // (rows, hidden)
  const far = m.ropeTable(c.rope('full_attention'), shape.headDim); // (rows, 2 · rope half)
  const near = m.ropeTable(c.rope('sliding_attention'), shape.headDim, 'rope_local'); // (rows, 2 · rope half)
  m.hidden(0, x);
  for (const [i, type] of types.entries()) {
    const l = w.at(`layers.${i}`);
    const sliding = type === 'sliding_attention';
    const [turns, window] = [sliding ? near : far, sliding ? c.int('sliding_window') : undefined];
    x = m.scoped(`layers.${i}`, () => {
      const a = l.at('self_attn');
      const h = rmsNorm(x, l.vector('input_layernorm.weight', hidden), norm);
      const q = headRmsNorm(project(a, 'q_proj', h, qDim, { bias }), a.vector('q_norm.weight', headDim), norm); // (rows, heads · head_dim)
      const k = headRmsNorm(project(a, 'k_proj', h, kvDim, { bias }), a.vector('k_norm.weight', headDim), norm); // (rows, kv_heads · head_dim)
      const v = project(a, 'v_proj', h, kvDim, { bias }); // (rows, kv_heads · head_dim)
      const y = m.attention(rope(q, turns, shape.headDim), rope(k, turns, shape.headDim), v, { ...shape, window });
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

export const gemma3Text: Architecture = {
  classes: ['Gemma3ForCausalLM'],
  modelType: 'gemma3_text',
  build,
  ignored: [/\.rotary_emb\.inv_freq$/],
  gguf: {
    arch: ['gemma3'],
    names: {
      ...sandwichGgufNames,
      'model.layers.*.self_attn.q_norm.weight': 'blk.*.attn_q_norm.weight',
      'model.layers.*.self_attn.k_norm.weight': 'blk.*.attn_k_norm.weight',
    },
  },
};
