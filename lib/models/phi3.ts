import { dim } from '../graph/shape.js';
import type { DecoderBuilder } from '../layers/decoder.js';
import { languageHead, tokenTables } from '../layers/language_head.js';
import { project } from '../layers/project.js';
import { add, gated, rmsNorm, rope } from '../ops/index.js';
import type { Architecture } from './architecture.js';

/** Phi3ForCausalLM (Phi-3, Phi-3.5, Phi-4): Llama with q, k, v and gate, up stored as one matrix each; longrope (Abdin et al. 2024). */
function build(m: DecoderBuilder): void {
  const c = m.config;
  const [heads, kvHeads, headDim] = [c.int('num_attention_heads'), c.int('num_key_value_heads'), c.headDim()];
  const hidden = dim('hidden', c.int('hidden_size'));
  const ffnSize = c.int('intermediate_size');
  const ffn = dim('ffn', ffnSize);
  const vocab = dim('vocab', c.int('vocab_size'));
  const [qSize, kvSize] = [heads * headDim, kvHeads * headDim];
  const [qDim, kvDim] = [dim('q', qSize), dim('kv', kvSize)];
  const [fn, norm, layers] = [c.activation(), { eps: c.num('rms_norm_eps') }, c.int('num_hidden_layers')];
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
      const qkv = (begin: number) => ({ part: { begin, of: qSize + 2 * kvSize } });
      const q = project(a, 'qkv_proj', h, qDim, qkv(0)); // (rows, heads · head_dim)
      const k = project(a, 'qkv_proj', h, kvDim, qkv(qSize)); // (rows, kv_heads · head_dim)
      const v = project(a, 'qkv_proj', h, kvDim, qkv(qSize + kvSize)); // (rows, kv_heads · head_dim)
      const y = m.attention(rope(q, turns, headDim), rope(k, turns, headDim), v, { heads, kvHeads, headDim, window });
      const attended = add(x, project(a, 'o_proj', y, hidden)); // (rows, hidden)

      const p = l.at('mlp');
      const n = rmsNorm(attended, l.vector('post_attention_layernorm.weight', hidden), norm);
      const gate = project(p, 'gate_up_proj', n, ffn, { part: { begin: 0, of: 2 * ffnSize } }); // (rows, ffn)
      const up = project(p, 'gate_up_proj', n, ffn, { part: { begin: ffnSize, of: 2 * ffnSize } }); // (rows, ffn)
      return add(attended, project(p, 'down_proj', gated(gate, up, fn), hidden)); // (rows, hidden)
    });
    if (i + 1 < layers) m.hidden(i + 1, x);
  }
  const last = m.scoped('norm', () => rmsNorm(x, w.vector('norm.weight', hidden), norm));
  m.hidden(layers, last);
  languageHead(m, last, head); // (logit_rows, vocab)
}

export const phi3: Architecture = {
  classes: ['Phi3ForCausalLM'],
  modelType: 'phi3',
  build,
  ignored: [/\.rotary_emb\.inv_freq$/],
  gguf: {
    arch: ['phi3'],
    names: {
      'model.embed_tokens.weight': 'token_embd.weight',
      'model.norm.weight': 'output_norm.weight',
      'lm_head.weight': 'output.weight',
      'model.layers.*.input_layernorm.weight': 'blk.*.attn_norm.weight',
      'model.layers.*.self_attn.qkv_proj.weight': 'blk.*.attn_qkv.weight',
      'model.layers.*.self_attn.o_proj.weight': 'blk.*.attn_output.weight',
      'model.layers.*.post_attention_layernorm.weight': 'blk.*.ffn_norm.weight',
      'model.layers.*.mlp.gate_up_proj.weight': 'blk.*.ffn_up.weight',
      'model.layers.*.mlp.down_proj.weight': 'blk.*.ffn_down.weight',
    },
  },
};
