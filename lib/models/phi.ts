import type { Tensor } from '../graph/graph.js';
import { dim } from '../graph/shape.js';
import type { DecoderBuilder } from '../layers/decoder.js';
import { languageHead, tokenTables } from '../layers/language_head.js';
import { plainMlp } from '../layers/mlp.js';
import { headLayerNorm, norm } from '../layers/norm.js';
import { project } from '../layers/project.js';
import type { Weights } from '../layers/weights.js';
import { add, rope } from '../ops/index.js';
import { type DecoderArchitecture, withBiases } from './architecture.js';

/** One norm that all heads share: x (rows, heads · head_dim) → like x. */
function headsNormed<C extends string>(
  a: Weights,
  name: string,
  x: Tensor<['rows', C], 'f32'>,
  heads: number,
  eps: number,
): Tensor<['rows', C], 'f32'> {
  const head = dim('head', (x.dims[1].size ?? 0) / heads);
  const shared = { weight: a.vector(`${name}.weight`, head), bias: a.vector(`${name}.bias`, head) };
  return x.graph.scoped(name, () => headLayerNorm(x, Array<typeof shared>(heads).fill(shared), eps));
}

/** PhiForCausalLM (Phi-1, Phi-1.5, Phi-2): part of a head turns, attention and MLP side by side, biases (Gunasekar et al. 2023). */
function build(m: DecoderBuilder): void {
  const c = m.config;
  const [heads, kvHeads, headDim] = [c.int('num_attention_heads'), c.int('num_key_value_heads'), c.headDim()];
  const hidden = dim('hidden', c.int('hidden_size'));
  const ffn = dim('ffn', c.int('intermediate_size'));
  const vocab = dim('vocab', c.int('vocab_size'));
  const qDim = dim('q', heads * headDim);
  const kvDim = dim('kv', kvHeads * headDim);
  const [fn, eps, layers] = [c.activation(), c.num('layer_norm_eps'), c.int('num_hidden_layers')];
  const qkNorm = c.bool('qk_layernorm');
  const bias = true;

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
      let q = project(a, 'q_proj', h, qDim, { bias }); // (rows, heads · head_dim)
      let k = project(a, 'k_proj', h, kvDim, { bias }); // (rows, kv_heads · head_dim)
      const v = project(a, 'v_proj', h, kvDim, { bias }); // (rows, kv_heads · head_dim)
      if (qkNorm) q = headsNormed(a, 'q_layernorm', q, heads, eps);
      if (qkNorm) k = headsNormed(a, 'k_layernorm', k, kvHeads, eps);
      const y = m.attention(rope(q, turns, headDim), rope(k, turns, headDim), v, { heads, kvHeads, headDim });
      const attended = add(x, project(a, 'dense', y, hidden, { bias })); // (rows, hidden)
      return add(attended, plainMlp(l.at('mlp'), ['fc1', 'fc2'], h, ffn, fn));
    });
    if (i + 1 < layers) m.hidden(i + 1, x);
  }
  const last = norm(w, 'final_layernorm', x, eps);
  m.hidden(layers, last);
  languageHead(m, last, head, { bias: m.weights.vector('lm_head.bias', vocab) }); // (logit_rows, vocab)
}

export const phi: DecoderArchitecture = {
  classes: ['PhiForCausalLM'],
  modelType: 'phi',
  build,
  ignored: [/\.rotary_emb\.inv_freq$/],
  gguf: {
    arch: ['phi2'],
    names: {
      'model.embed_tokens.weight': 'token_embd.weight',
      ...withBiases({
        'model.final_layernorm': 'output_norm',
        lm_head: 'output',
        'model.layers.*.input_layernorm': 'blk.*.attn_norm',
        'model.layers.*.self_attn.q_proj': 'blk.*.attn_q',
        'model.layers.*.self_attn.k_proj': 'blk.*.attn_k',
        'model.layers.*.self_attn.v_proj': 'blk.*.attn_v',
        'model.layers.*.self_attn.dense': 'blk.*.attn_output',
        'model.layers.*.mlp.fc1': 'blk.*.ffn_up',
        'model.layers.*.mlp.fc2': 'blk.*.ffn_down',
      }),
    },
  },
};
