import { dim } from '../graph/shape.js';
import type { DecoderBuilder } from '../layers/decoder.js';
import { languageHead, tokenTables } from '../layers/language_head.js';
import { type FeedForward, gatedMlp } from '../layers/mlp.js';
import { project } from '../layers/project.js';
import { add, headRmsNorm, rmsNorm, rope } from '../ops/index.js';
import { type Architecture, llamaGgufNames } from './architecture.js';

/**
 * Qwen3's decoder around any feed-forward: Qwen2 with each head of q and k normed before its rotation. `windows`: the
 * sliding window of each layer.
 */
export function buildQwen3(
  m: DecoderBuilder,
  windows: readonly (number | undefined)[],
  feedForward: FeedForward,
): void {
  const c = m.config;
  const [heads, kvHeads] = [c.int('num_attention_heads'), c.int('num_key_value_heads')];
  const hidden = dim('hidden', c.int('hidden_size'));
  const vocab = dim('vocab', c.int('vocab_size'));
  const headDim = dim('head', c.headDim());
  const qDim = dim('q', heads * headDim.size!);
  const kvDim = dim('kv', kvHeads * headDim.size!);
  const shape = { heads, kvHeads, headDim: headDim.size! };
  const [norm, bias] = [{ eps: c.num('rms_norm_eps') }, c.bool('attention_bias')];

  const w = m.weights.atIfPresent('model');
  const { table, head } = tokenTables(m, w, 'embed_tokens.weight', vocab, hidden);
  let x = m.embedTokens(table); // (rows, hidden)
  const turns = m.ropeTable(c.rope(), shape.headDim); // (rows, 2 · rope half)
  m.hidden(0, x);
  for (const [i, window] of windows.entries()) {
    const l = w.at(`layers.${i}`);
    x = m.scoped(`layers.${i}`, () => {
      const a = l.at('self_attn');
      const h = rmsNorm(x, l.vector('input_layernorm.weight', hidden), norm);
      const q = headRmsNorm(project(a, 'q_proj', h, qDim, { bias }), a.vector('q_norm.weight', headDim), norm); // (rows, heads · head_dim)
      const k = headRmsNorm(project(a, 'k_proj', h, kvDim, { bias }), a.vector('k_norm.weight', headDim), norm); // (rows, kv_heads · head_dim)
      const v = project(a, 'v_proj', h, kvDim, { bias }); // (rows, kv_heads · head_dim)
      const y = m.attention(rope(q, turns, shape.headDim), rope(k, turns, shape.headDim), v, { ...shape, window });
      const attended = add(x, project(a, 'o_proj', y, hidden, { bias })); // (rows, hidden)

      const n = rmsNorm(attended, l.vector('post_attention_layernorm.weight', hidden), norm);
      return add(attended, feedForward(l, n, i)); // (rows, hidden)
    });
    if (i + 1 < windows.length) m.hidden(i + 1, x);
  }
  const last = m.scoped('norm', () => rmsNorm(x, w.vector('norm.weight', hidden), norm));
  m.hidden(windows.length, last);
  languageHead(m, last, head); // (logit_rows, vocab)
}

/** Qwen3ForCausalLM (Yang et al. 2025). */
function build(m: DecoderBuilder): void {
  const c = m.config;
  const ffn = dim('ffn', c.int('intermediate_size'));
  const fn = c.activation();
  const windows = c.layerTypes().map((type) => (type === 'sliding_attention' ? c.slidingWindow() : undefined));
  buildQwen3(m, windows, (layer, x) => gatedMlp(layer.at('mlp'), x, ffn, fn));
}

export const qwen3Names: Readonly<Record<string, string>> = {
  ...llamaGgufNames,
  'model.layers.*.self_attn.q_norm.weight': 'blk.*.attn_q_norm.weight',
  'model.layers.*.self_attn.k_norm.weight': 'blk.*.attn_k_norm.weight',
};

export const qwen3: Architecture = {
  classes: ['Qwen3ForCausalLM'],
  modelType: 'qwen3',
  build,
  ignored: [/\.rotary_emb\.inv_freq$/],
  gguf: { arch: ['qwen3'], names: qwen3Names },
};
