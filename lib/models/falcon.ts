import type { Tensor } from '../graph/graph.js';
import { dim } from '../graph/shape.js';
import { floats } from '../graph/weight_expr.js';
import { roundedAlibi } from '../layers/alibi.js';
import type { DecoderBuilder } from '../layers/decoder.js';
import { languageHead, tokenTables } from '../layers/language_head.js';
import { plainMlp } from '../layers/mlp.js';
import { norm } from '../layers/norm.js';
import { project } from '../layers/project.js';
import { add, rope } from '../ops/index.js';
import type { ConfigReader } from '../weights/config.js';
import type { Architecture } from './architecture.js';

/** Key heads: given in the new architecture (40B, 11B), one (7B), or as many as query heads (RW). */
function keyHeads(c: ConfigReader, heads: number, grouped: boolean): number {
  const given = c.optionalInt('num_kv_heads', { min: 1, max: 1024 }) ?? heads;
  if (!grouped && c.bool('multi_query')) return 1;
  if (heads % given !== 0) c.problem('num_kv_heads', `a divisor of num_attention_heads (${heads})`, given);
  else if (!grouped && given !== heads) c.problem('num_kv_heads', `${heads} where multi_query is false`, given);
  return given;
}

/** How many norms stand before attention and feed-forward: 0 where the two follow one another. */
function parallelNorms(c: ConfigReader, grouped: boolean): number {
  const parallel = c.bool('parallel_attn');
  const norms = c.optionalInt('num_ln_in_parallel_attn', { min: 1, max: 2 }) ?? (grouped ? 2 : 1);
  if (grouped && !parallel) c.problem('parallel_attn', 'true in the new decoder architecture', parallel);
  if (!grouped && parallel && norms !== 1)
    c.problem('num_ln_in_parallel_attn', '1 outside the new decoder architecture', norms);
  return parallel ? norms : 0;
}

/** Biases by the place of a key, divided like the scores by √head_dim; the table ends with the config's positions. */
function placeBias(m: DecoderBuilder, heads: number, headDim: number): Tensor<[string, string], 'f32'> {
  const positions = dim('positions', m.config.int('max_position_embeddings'));
  m.learnedPositions = positions.size;
  const table = floats(roundedAlibi(heads, positions.size!, 1 / Math.sqrt(headDim)), heads);
  return m.graph.weight<[string, string]>('alibi', table, [dim(`heads${heads}`, heads), positions]);
}

/** FalconForCausalLM: q, k, v fused by key head, attention beside the feed-forward or before it (Almazrouei et al. 2023). */
function build(m: DecoderBuilder): void {
  const c = m.config;
  const [heads, layers, eps] = [c.int('num_attention_heads'), c.int('num_hidden_layers'), c.num('layer_norm_epsilon')];
  const [grouped, bias] = [c.bool('new_decoder_architecture'), c.bool('bias')];
  const [kvHeads, norms] = [keyHeads(c, heads, grouped), parallelNorms(c, grouped)];
  const width = c.int('hidden_size');
  const headDim = width / heads;
  const hidden = dim('hidden', width);
  const kvDim = dim('kv', kvHeads * headDim);
  const ffn = dim('ffn', c.optionalInt('ffn_hidden_size', { min: 1, max: 2 ** 20 }) ?? 4 * width);
  const vocab = dim('vocab', c.int('vocab_size'));
  const fn = c.activation('activation');
  const shape = { heads, kvHeads, headDim, placeBias: c.bool('alibi') ? placeBias(m, heads, headDim) : undefined };
  const group = heads / kvHeads;
  const part = (index: number, count = 1) => ({
    bias,
    perHead: { index, count, of: group + 2, heads: kvHeads, headDim },
  });

  const w = m.weights.atIfPresent('transformer');
  const { table, head } = tokenTables(m, w, 'word_embeddings.weight', vocab, hidden);
  let x = m.embedTokens(table); // (rows, hidden)
  const turns = shape.placeBias === undefined ? m.ropeTable(c.rope(), headDim) : undefined; // (rows, 2 · rope half)
  m.hidden(0, x);
  for (let i = 0; i < layers; i++) {
    const l = w.at(`h.${i}`);
    x = m.scoped(`h.${i}`, () => {
      const a = l.at('self_attention');
      const h = norm(l, norms === 2 ? 'ln_attn' : 'input_layernorm', x, eps);
      const q = project(a, 'query_key_value', h, hidden, part(0, group)); // (rows, heads · head_dim)
      const k = project(a, 'query_key_value', h, kvDim, part(group)); // (rows, kv_heads · head_dim)
      const v = project(a, 'query_key_value', h, kvDim, part(group + 1)); // (rows, kv_heads · head_dim)
      const [qr, kr] = turns === undefined ? [q, k] : [rope(q, turns, headDim), rope(k, turns, headDim)];
      const o = project(a, 'dense', m.attention(qr, kr, v, shape), hidden, { bias }); // (rows, hidden)

      const attended = norms === 0 ? add(x, o) : x;
      const besides = norms === 2 ? norm(l, 'ln_mlp', x, eps) : h;
      const n = norms === 0 ? norm(l, 'post_attention_layernorm', attended, eps) : besides;
      const f = plainMlp(l.at('mlp'), ['dense_h_to_4h', 'dense_4h_to_h'], n, ffn, fn, { bias }); // (rows, hidden)
      return add(attended, norms === 0 ? f : add(f, o));
    });
    if (i + 1 < layers) m.hidden(i + 1, x);
  }
  const last = norm(w, 'ln_f', x, eps);
  m.hidden(layers, last);
  languageHead(m, last, head); // (logit_rows, vocab)
}

export const falcon: Architecture = {
  classes: ['FalconForCausalLM'],
  modelType: 'falcon',
  build,
  ignored: [/\.rotary_emb\.inv_freq$/],
};
