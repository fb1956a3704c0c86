import { type Dim, dim } from '../graph/shape.js';
import type { DecoderBuilder } from '../layers/decoder.js';
import { languageHead, tokenTables } from '../layers/language_head.js';
import { norm } from '../layers/norm.js';
import { project } from '../layers/project.js';
import { activation, add } from '../ops/index.js';
import type { Architecture } from './architecture.js';

/** torch.nn.LayerNorm's default: the config has no field for it. */
const kEps = 1e-5;
/** Rows of the position table before that of position 0. */
const kOffset = 2;

/** OPTForCausalLM: learned positions, norms before each block or (350m) behind it, narrower embeddings (Zhang et al. 2022). */
function build(m: DecoderBuilder): void {
  const c = m.config;
  c.only('layer_norm_elementwise_affine', true, 'norms have weights');
  const heads = c.int('num_attention_heads');
  const width = c.int('hidden_size');
  const hidden: Dim = dim('hidden', width);
  const ffn = dim('ffn', c.int('ffn_dim', { min: 1, max: 2 ** 20 }));
  const vocab = dim('vocab', c.int('vocab_size'));
  const narrow = c.int('word_embed_proj_dim', { min: 1, max: 2 ** 17 });
  const embed: Dim = narrow === width ? hidden : dim('embed', narrow);
  const positions = dim('positions', c.int('max_position_embeddings'));
  const [fn, layers] = [c.activation('activation_function'), c.int('num_hidden_layers')];
  const [before, bias] = [c.bool('do_layer_norm_before'), c.bool('enable_bias')];
  const shape = { heads, kvHeads: heads, headDim: width / heads };

  const w = m.weights.atIfPresent('model').at('decoder');
  // Positions count unmasked tokens.
  m.positionsFromMask = true;
  const stored = { exact: true, part: { begin: kOffset, of: kOffset + positions.size! } };
  const places = m.embedPositions(w.matrix('embed_positions.weight', positions, hidden, stored)); // (rows, hidden)
  const { table, head } = tokenTables(m, w, 'embed_tokens.weight', vocab, embed);
  const tokens = m.embedTokens(table); // (rows, embed)
  const wide = embed === hidden ? tokens : project(w, 'project_in', tokens, hidden); // (rows, hidden)
  let x = m.scoped('embed_tokens', () => add(wide, places));
  m.hidden(0, x);
  for (let i = 0; i < layers; i++) {
    const l = w.at(`layers.${i}`);
    x = m.scoped(`layers.${i}`, () => {
      const a = l.at('self_attn');
      const h = before ? norm(l, 'self_attn_layer_norm', x, kEps) : x;
      const q = project(a, 'q_proj', h, hidden, { bias }); // (rows, heads · head_dim)
      const k = project(a, 'k_proj', h, hidden, { bias }); // (rows, heads · head_dim)
      const v = project(a, 'v_proj', h, hidden, { bias }); // (rows, heads · head_dim)
      const sum = add(x, project(a, 'out_proj', m.attention(q, k, v, shape), hidden, { bias })); // (rows, hidden)
      const attended = before ? sum : norm(l, 'self_attn_layer_norm', sum, kEps);

      const n = before ? norm(l, 'final_layer_norm', attended, kEps) : attended;
      const up = activation(project(l, 'fc1', n, ffn, { bias }), fn); // (rows, ffn)
      const made = add(attended, project(l, 'fc2', up, hidden, { bias })); // (rows, hidden)
      return before ? made : norm(l, 'final_layer_norm', made, kEps);
    });
    if (i + 1 < layers) m.hidden(i + 1, x);
  }
  const normed = before && !c.bool('_remove_final_layer_norm');
  const y = normed ? norm(w, 'final_layer_norm', x, kEps) : x;
  const last = embed === hidden ? y : project(w, 'project_out', y, embed); // (rows, embed)
  m.hidden(layers, last);
  languageHead(m, last, head); // (logit_rows, vocab)
}

export const opt: Architecture = {
  classes: ['OPTForCausalLM'],
  modelType: 'opt',
  build,
};
