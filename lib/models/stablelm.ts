import type { Tensor } from '../graph/graph.js';
import { dim } from '../graph/shape.js';
import type { DecoderBuilder } from '../layers/decoder.js';
import { languageHead, tokenTables } from '../layers/language_head.js';
import { gatedMlp } from '../layers/mlp.js';
import { headLayerNorm, norm } from '../layers/norm.js';
import { project } from '../layers/project.js';
import type { Weights } from '../layers/weights.js';
import { add, rope } from '../ops/index.js';
import { type DecoderArchitecture, llamaGgufNames } from './architecture.js';

/** Each head has a norm of its own, without bias: x (rows, heads · head_dim) → like x. */
function headsNormed<C extends string>(
  a: Weights,
  name: string,
  x: Tensor<['rows', C], 'f32'>,
  heads: number,
  eps: number,
): Tensor<['rows', C], 'f32'> {
  const head = dim('head', (x.dims[1].size ?? 0) / heads);
  const norms = Array.from({ length: heads }, (_, h) => ({ weight: a.vector(`${name}.norms.${h}.weight`, head) }));
  return x.graph.scoped(name, () => headLayerNorm(x, norms, eps));
}

/** StableLmForCausalLM (StableLM 3B, StableLM 2): Llama with layer norms, of which part of a head turns (Bellagente et al. 2024). */
function build(m: DecoderBuilder): void {
  const c = m.config;
  const [heads, kvHeads, headDim] = [c.int('num_attention_heads'), c.int('num_key_value_heads'), c.headDim()];
  const hidden = dim('hidden', c.int('hidden_size'));
  const ffn = dim('ffn', c.int('intermediate_size'));
  const vocab = dim('vocab', c.int('vocab_size'));
  const qDim = dim('q', heads * headDim);
  const kvDim = dim('kv', kvHeads * headDim);
  const [fn, eps, layers] = [c.activation(), c.num('layer_norm_eps'), c.int('num_hidden_layers')];
  const [bias, qkNorm, parallel] = [c.bool('use_qkv_bias'), c.bool('qk_layernorm'), c.bool('use_parallel_residual')];

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
      const attended = add(x, project(a, 'o_proj', y, hidden)); // (rows, hidden)

      const n = parallel ? h : norm(l, 'post_attention_layernorm', attended, eps);
      return add(attended, gatedMlp(l.at('mlp'), n, ffn, fn));
    });
    if (i + 1 < layers) m.hidden(i + 1, x);
  }
  const last = norm(w, 'norm', x, eps);
  m.hidden(layers, last);
  languageHead(m, last, head); // (logit_rows, vocab)
}

export const stablelm: DecoderArchitecture = {
  classes: ['StableLmForCausalLM'],
  modelType: 'stablelm',
  build,
  ignored: [/\.rotary_emb\.inv_freq$/],
  gguf: {
    arch: ['stablelm'],
    names: {
      ...llamaGgufNames,
      'model.norm.bias': 'output_norm.bias',
      'model.layers.*.input_layernorm.bias': 'blk.*.attn_norm.bias',
      'model.layers.*.post_attention_layernorm.bias': 'blk.*.ffn_norm.bias',
    },
  },
};
