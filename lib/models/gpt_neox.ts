import { dim } from '../graph/shape.js';
import type { DecoderBuilder } from '../layers/decoder.js';
import { languageHead, tokenTables } from '../layers/language_head.js';
import { plainMlp } from '../layers/mlp.js';
import { norm } from '../layers/norm.js';
import { project } from '../layers/project.js';
import { add, rope } from '../ops/index.js';
import { type DecoderArchitecture, withBiases } from './architecture.js';

/** GPTNeoXForCausalLM (GPT-NeoX-20B, Pythia): q, k, v fused head by head, part of a head turns, parallel residual (Black et al. 2022). */
function build(m: DecoderBuilder): void {
  const c = m.config;
  const [heads, headDim, eps] = [c.int('num_attention_heads'), c.headDim(), c.num('layer_norm_eps')];
  const hidden = dim('hidden', c.int('hidden_size'));
  const ffn = dim('ffn', c.int('intermediate_size'));
  const vocab = dim('vocab', c.int('vocab_size'));
  const [fn, layers] = [c.activation(), c.int('num_hidden_layers')];
  const [bias, parallel] = [c.bool('attention_bias'), c.bool('use_parallel_residual')];

  const w = m.weights.atIfPresent('gpt_neox');
  const { table, head } = tokenTables(m, w, 'embed_in.weight', vocab, hidden, 'embed_out.weight');
  let x = m.embedTokens(table); // (rows, hidden)
  const turns = m.ropeTable(c.rope(), headDim); // (rows, 2 · rope half)
  m.hidden(0, x);
  for (let i = 0; i < layers; i++) {
    const l = w.at(`layers.${i}`);
    x = m.scoped(`layers.${i}`, () => {
      const a = l.at('attention');
      const h = norm(l, 'input_layernorm', x, eps);
      const part = (index: number) => ({ bias, perHead: { index, of: 3, heads, headDim } });
      const q = project(a, 'query_key_value', h, hidden, part(0)); // (rows, heads · head_dim)
      const k = project(a, 'query_key_value', h, hidden, part(1)); // (rows, heads · head_dim)
      const v = project(a, 'query_key_value', h, hidden, part(2)); // (rows, heads · head_dim)
      const shape = { heads, kvHeads: heads, headDim };
      const y = m.attention(rope(q, turns, headDim), rope(k, turns, headDim), v, shape);
      const attended = add(x, project(a, 'dense', y, hidden, { bias })); // (rows, hidden)

      const n = norm(l, 'post_attention_layernorm', parallel ? x : attended, eps);
      return add(attended, plainMlp(l.at('mlp'), ['dense_h_to_4h', 'dense_4h_to_h'], n, ffn, fn));
    });
    if (i + 1 < layers) m.hidden(i + 1, x);
  }
  const last = norm(w, 'final_layer_norm', x, eps);
  m.hidden(layers, last);
  languageHead(m, last, head); // (logit_rows, vocab)
}

export const gptNeox: DecoderArchitecture = {
  classes: ['GPTNeoXForCausalLM'],
  modelType: 'gpt_neox',
  build,
  ignored: [/\.attention\.(bias|masked_bias|rotary_emb\.inv_freq)$/],
  gguf: {
    arch: ['gptneox'],
    names: {
      'gpt_neox.embed_in.weight': 'token_embd.weight',
      'embed_out.weight': 'output.weight',
      ...withBiases({
        'gpt_neox.final_layer_norm': 'output_norm',
        'gpt_neox.layers.*.input_layernorm': 'blk.*.attn_norm',
        'gpt_neox.layers.*.attention.query_key_value': 'blk.*.attn_qkv',
        'gpt_neox.layers.*.attention.dense': 'blk.*.attn_output',
        'gpt_neox.layers.*.post_attention_layernorm': 'blk.*.ffn_norm',
        'gpt_neox.layers.*.mlp.dense_h_to_4h': 'blk.*.ffn_up',
        'gpt_neox.layers.*.mlp.dense_4h_to_h': 'blk.*.ffn_down',
      }),
    },
  },
};
