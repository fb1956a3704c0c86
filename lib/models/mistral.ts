import { dim } from '../graph/shape.js';
import type { DecoderBuilder } from '../layers/decoder.js';
import { languageHead, tokenTables } from '../layers/language_head.js';
import { type FeedForward, gatedMlp } from '../layers/mlp.js';
import { project } from '../layers/project.js';
import { add, rmsNorm, rope } from '../ops/index.js';
import { type Architecture, llamaGgufNames } from './architecture.js';

/** Mistral's decoder around any feed-forward: Llama without biases, every layer with the same sliding window. */
export function buildMistral(m: DecoderBuilder, feedForward: FeedForward): void {
  const c = m.config;
  const [heads, kvHeads, headDim] = [c.int('num_attention_heads'), c.int('num_key_value_heads'), c.headDim()];
  const hidden = dim('hidden', c.int('hidden_size'));
  const vocab = dim('vocab', c.int('vocab_size'));
  const qDim = dim('q', heads * headDim);
  const kvDim = dim('kv', kvHeads * headDim);
  const [norm, layers] = [{ eps: c.num('rms_norm_eps') }, c.int('num_hidden_layers')];
  const window = c.slidingWindow();

  const w = m.weights.atIfPresent('model');
  const { table, head } = tokenTables(m, w, 'embed_tokens.weight', vocab, hidden);
  let x = m.embedTokens(table); // (rows, hidden)
  const turns = m.ropeTable(c.rope(), headDim); // (rows, 2 · rope half)
  m.hidden(0, x);
  for (let i = 0; i < layers; i++) {
    const l = w.at(`layers.${i}`);
    x = m.scoped(`layers.${i}`, () => {
      const a = l.at('self_attn');
      const h = rmsNorm(x, l.vector('input_layernorm.weight', hidden), norm);
      const q = project(a, 'q_proj', h, qDim, { ggufHeads: heads }); // (rows, heads · head_dim)
      const k = project(a, 'k_proj', h, kvDim, { ggufHeads: kvHeads }); // (rows, kv_heads · head_dim)
      const v = project(a, 'v_proj', h, kvDim); // (rows, kv_heads · head_dim)
      const y = m.attention(rope(q, turns, headDim), rope(k, turns, headDim), v, { heads, kvHeads, headDim, window });
      const attended = add(x, project(a, 'o_proj', y, hidden)); // (rows, hidden)

      const n = rmsNorm(attended, l.vector('post_attention_layernorm.weight', hidden), norm);
      return add(attended, feedForward(l, n, i)); // (rows, hidden)
    });
    if (i + 1 < layers) m.hidden(i + 1, x);
  }
  const last = m.scoped('norm', () => rmsNorm(x, w.vector('norm.weight', hidden), norm));
  m.hidden(layers, last);
  languageHead(m, last, head); // (logit_rows, vocab)
}

/** MistralForCausalLM (Jiang et al. 2023). */
function build(m: DecoderBuilder): void {
  const ffn = dim('ffn', m.config.int('intermediate_size'));
  const fn = m.config.activation();
  buildMistral(m, (layer, x) => gatedMlp(layer.at('mlp'), x, ffn, fn));
}

export const mistral: Architecture = {
  classes: ['MistralForCausalLM'],
  modelType: 'mistral',
  build,
  ignored: [/\.rotary_emb\.inv_freq$/],
  gguf: { arch: ['llama'], names: llamaGgufNames },
};
