import { dim } from '../graph/shape.js';
import type { DecoderBuilder } from '../layers/decoder.js';
import { languageHead, tokenTables } from '../layers/language_head.js';
import { plainMlp } from '../layers/mlp.js';
import { norm } from '../layers/norm.js';
import { project } from '../layers/project.js';
import { add, rope } from '../ops/index.js';
import { type DecoderArchitecture, llamaGgufNames, withBiases } from './architecture.js';

/** Starcoder2ForCausalLM: rotary positions and grouped queries with layer norms, biases and a plain MLP (Lozhkov et al. 2024). */
function build(m: DecoderBuilder): void {
  const c = m.config;
  const [heads, kvHeads, headDim] = [c.int('num_attention_heads'), c.int('num_key_value_heads'), c.headDim()];
  const hidden = dim('hidden', c.int('hidden_size'));
  const ffn = dim('ffn', c.int('intermediate_size'));
  const vocab = dim('vocab', c.int('vocab_size'));
  const qDim = dim('q', heads * headDim);
  const kvDim = dim('kv', kvHeads * headDim);
  const [fn, eps, layers] = [c.activation(), c.num('norm_epsilon'), c.int('num_hidden_layers')];
  const [bias, window] = [c.bool('use_bias'), c.slidingWindow()];

  const w = m.weights.atIfPresent('model');
  const { table, head } = tokenTables(m, w, 'embed_tokens.weight', vocab, hidden);
  let x = m.embedTokens(table); // (rows, hidden)
  const turns = m.ropeTable(c.rope(), headDim); // (rows, 2 · rope half)
  m.hidden(0, x);
  for (let i = 0; i < layers; i++) {
    const l = w.at(`layers.${i}`);
    x = m.scoped(`layers.${i}`, () => {
      const a = l.at('self_attn');
      const h = norm(l, 'input_layernorm', x, eps);
      const q = project(a, 'q_proj', h, qDim, { bias }); // (rows, heads · head_dim)
      const k = project(a, 'k_proj', h, kvDim, { bias }); // (rows, kv_heads · head_dim)
      const v = project(a, 'v_proj', h, kvDim, { bias }); // (rows, kv_heads · head_dim)
      const y = m.attention(rope(q, turns, headDim), rope(k, turns, headDim), v, { heads, kvHeads, headDim, window });
      const attended = add(x, project(a, 'o_proj', y, hidden, { bias })); // (rows, hidden)

      const n = norm(l, 'post_attention_layernorm', attended, eps);
      return add(attended, plainMlp(l.at('mlp'), ['c_fc', 'c_proj'], n, ffn, fn, { bias }));
    });
    if (i + 1 < layers) m.hidden(i + 1, x);
  }
  const last = norm(w, 'norm', x, eps);
  m.hidden(layers, last);
  languageHead(m, last, head); // (logit_rows, vocab)
}

export const starcoder2: DecoderArchitecture = {
  classes: ['Starcoder2ForCausalLM'],
  modelType: 'starcoder2',
  build,
  ignored: [/\.rotary_emb\.inv_freq$/],
  gguf: {
    arch: ['starcoder2'],
    names: {
      ...llamaGgufNames,
      ...withBiases({
        'model.norm': 'output_norm',
        'model.layers.*.input_layernorm': 'blk.*.attn_norm',
        'model.layers.*.post_attention_layernorm': 'blk.*.ffn_norm',
        'model.layers.*.mlp.c_fc': 'blk.*.ffn_up',
        'model.layers.*.mlp.c_proj': 'blk.*.ffn_down',
      }),
    },
  },
};
