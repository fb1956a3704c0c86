import { dim } from '../graph/shape.js';
import type { DecoderBuilder } from '../layers/decoder.js';
import { languageHead, tokenTables } from '../layers/language_head.js';
import { gatedMlp } from '../layers/mlp.js';
import { project } from '../layers/project.js';
import { add, rmsNorm, rope } from '../ops/index.js';
import type { ConfigReader } from '../weights/config.js';
import { type Architecture, llamaGgufNames } from './architecture.js';

/** Whether each layer rotates q and k. */
function rotations(c: ConfigReader): readonly boolean[] {
  const layers = c.int('num_hidden_layers');
  c.int('no_rope_layer_interval', { min: 1, max: 1024 });
  const given = c.nums('no_rope_layers', { min: 0, max: 1 });
  if (given.length < layers) c.problem('no_rope_layers', `a list of ${layers} times 0 or 1`, given);
  return given.map((use) => use !== 0);
}

/** SmolLM3ForCausalLM: Llama, some layers without rotary positions (Bakouch et al. 2025; Yang et al. 2025). */
function build(m: DecoderBuilder): void {
  const c = m.config;
  const [heads, kvHeads, headDim] = [c.int('num_attention_heads'), c.int('num_key_value_heads'), c.headDim()];
  const hidden = dim('hidden', c.int('hidden_size'));
  const ffn = dim('ffn', c.int('intermediate_size'));
  const vocab = dim('vocab', c.int('vocab_size'));
  const qDim = dim('q', heads * headDim);
  const kvDim = dim('kv', kvHeads * headDim);
  const [fn, norm] = [c.activation(), { eps: c.num('rms_norm_eps') }];
  const [bias, mlpBias] = [c.bool('attention_bias'), c.bool('mlp_bias')];
  const [types, rotates] = [c.layerTypes(), rotations(c)];

  const w = m.weights.atIfPresent('model');
  const { table, head } = tokenTables(m, w, 'embed_tokens.weight', vocab, hidden);
  let x = m.embedTokens(table); // (rows, hidden)
  const turns = m.ropeTable(c.rope(), headDim); // (rows, 2 · rope half)
  m.hidden(0, x);
  for (const [i, type] of types.entries()) {
    const l = w.at(`layers.${i}`);
    const window = type === 'sliding_attention' ? c.int('sliding_window') : undefined;
    x = m.scoped(`layers.${i}`, () => {
      const a = l.at('self_attn');
      const h = rmsNorm(x, l.vector('input_layernorm.weight', hidden), norm);
      const q = project(a, 'q_proj', h, qDim, { bias, ggufHeads: heads }); // (rows, heads · head_dim)
      const k = project(a, 'k_proj', h, kvDim, { bias, ggufHeads: kvHeads }); // (rows, kv_heads · head_dim)
      const v = project(a, 'v_proj', h, kvDim, { bias }); // (rows, kv_heads · head_dim)
      const [qr, kr] = rotates[i] ? [rope(q, turns, headDim), rope(k, turns, headDim)] : [q, k];
      const y = m.attention(qr, kr, v, { heads, kvHeads, headDim, window });
      const attended = add(x, project(a, 'o_proj', y, hidden, { bias })); // (rows, hidden)

      const n = rmsNorm(attended, l.vector('post_attention_layernorm.weight', hidden), norm);
      return add(attended, gatedMlp(l.at('mlp'), n, ffn, fn, mlpBias));
    });
    if (i + 1 < types.length) m.hidden(i + 1, x);
  }
  const last = m.scoped('norm', () => rmsNorm(x, w.vector('norm.weight', hidden), norm));
  m.hidden(types.length, last);
  languageHead(m, last, head); // (logit_rows, vocab)
}

export const smolLm3: Architecture = {
  classes: ['SmolLM3ForCausalLM'],
  modelType: 'smollm3',
  build,
  ignored: [/\.rotary_emb\.inv_freq$/],
  gguf: { arch: ['smollm3'], names: llamaGgufNames },
};
