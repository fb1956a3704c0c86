import { dim } from '../graph/shape.js';
import type { DecoderBuilder } from '../layers/decoder.js';
import { languageHead, tokenTables } from '../layers/language_head.js';
import { project } from '../layers/project.js';
import { activation, add, layerNorm } from '../ops/index.js';
import type { Architecture } from './architecture.js';

/** GPT2LMHeadModel: learned positions, pre-norm, tied head (Radford et al. 2019). Matrices are stored (in, out). */
function build(m: DecoderBuilder): void {
  const c = m.config;
  c.only('add_cross_attention', false, 'a decoder without an encoder');
  const [heads, headDim, eps] = [c.int('num_attention_heads'), c.headDim(), c.num('layer_norm_epsilon')];
  const width = c.int('hidden_size');
  const hidden = dim('hidden', width);
  const ffn = dim('ffn', c.optionalInt('n_inner') ?? 4 * width);
  const vocab = dim('vocab', c.int('vocab_size'));
  const positions = dim('positions', c.int('max_position_embeddings'));
  const [fn, layers] = [c.activation('activation_function'), c.int('num_hidden_layers')];
  const [scaled, byLayer] = [c.bool('scale_attn_weights'), c.bool('scale_attn_by_inverse_layer_idx')];
  const stored = { bias: true, conv1d: true };

  const w = m.weights.atIfPresent('transformer');
  const { table, head } = tokenTables(m, w, 'wte.weight', vocab, hidden);
  const places = m.embedPositions(w.matrix('wpe.weight', positions, hidden, { exact: true })); // (rows, hidden)
  let x = m.scoped('wte', () => add(m.embedTokens(table), places)); // (rows, hidden)
  m.hidden(0, x);
  for (let i = 0; i < layers; i++) {
    const l = w.at(`h.${i}`);
    x = m.scoped(`h.${i}`, () => {
      const [a, p] = [l.at('attn'), l.at('mlp')];
      const h = layerNorm(x, l.vector('ln_1.weight', hidden), l.vector('ln_1.bias', hidden), eps);
      const part = (n: number) => ({ ...stored, part: { begin: n * width, of: 3 * width } });
      const q = project(a, 'c_attn', h, hidden, part(0)); // (rows, heads · head_dim)
      const k = project(a, 'c_attn', h, hidden, part(1)); // (rows, heads · head_dim)
      const v = project(a, 'c_attn', h, hidden, part(2)); // (rows, heads · head_dim)
      const scale = (scaled ? 1 / Math.sqrt(headDim) : 1) / (byLayer ? i + 1 : 1);
      const y = m.attention(q, k, v, { heads, kvHeads: heads, headDim, scale });
      const attended = add(x, project(a, 'c_proj', y, hidden, stored));

      const n = layerNorm(attended, l.vector('ln_2.weight', hidden), l.vector('ln_2.bias', hidden), eps);
      const up = project(p, 'c_fc', n, ffn, stored); // (rows, ffn)
      return add(attended, project(p, 'c_proj', activation(up, fn), hidden, stored)); // (rows, hidden)
    });
    if (i + 1 < layers) m.hidden(i + 1, x);
  }
  const last = m.scoped('ln_f', () =>
    layerNorm(x, w.vector('ln_f.weight', hidden), w.vector('ln_f.bias', hidden), eps),
  );
  m.hidden(layers, last);
  languageHead(m, last, head); // (logit_rows, vocab)
}

export const gpt2: Architecture = {
  classes: ['GPT2LMHeadModel'],
  modelType: 'gpt2',
  build,
  ignored: [/\.attn\.(bias|masked_bias)$/],
  gguf: {
    arch: ['gpt2'],
    names: {
      'transformer.wte.weight': 'token_embd.weight',
      'transformer.wpe.weight': 'position_embd.weight',
      'transformer.ln_f.weight': 'output_norm.weight',
      'transformer.ln_f.bias': 'output_norm.bias',
      'lm_head.weight': 'output.weight',
      'transformer.h.*.ln_1.weight': 'blk.*.attn_norm.weight',
      'transformer.h.*.ln_1.bias': 'blk.*.attn_norm.bias',
      'transformer.h.*.attn.c_attn.weight': 'blk.*.attn_qkv.weight',
      'transformer.h.*.attn.c_attn.bias': 'blk.*.attn_qkv.bias',
      'transformer.h.*.attn.c_proj.weight': 'blk.*.attn_output.weight',
      'transformer.h.*.attn.c_proj.bias': 'blk.*.attn_output.bias',
      'transformer.h.*.ln_2.weight': 'blk.*.ffn_norm.weight',
      'transformer.h.*.ln_2.bias': 'blk.*.ffn_norm.bias',
      'transformer.h.*.mlp.c_fc.weight': 'blk.*.ffn_up.weight',
      'transformer.h.*.mlp.c_fc.bias': 'blk.*.ffn_up.bias',
      'transformer.h.*.mlp.c_proj.weight': 'blk.*.ffn_down.weight',
      'transformer.h.*.mlp.c_proj.bias': 'blk.*.ffn_down.bias',
    },
  },
};
