import { dim } from '../graph/shape.js';
import type { DecoderBuilder } from '../layers/decoder.js';
import { languageHead, tokenTables } from '../layers/language_head.js';
import { plainMlp } from '../layers/mlp.js';
import { norm } from '../layers/norm.js';
import { project } from '../layers/project.js';
import { add } from '../ops/index.js';
import type { ConfigReader } from '../weights/config.js';
import type { RawValue } from '../weights/types.js';
import type { DecoderArchitecture } from './architecture.js';

const kExpected = 'lists like [[["global", "local"], 12]] that make num_layers layers';

/** Which layers see only a window: attention_types holds [kinds, repeats] one after another. */
function localLayers(c: ConfigReader): readonly boolean[] {
  const layers = c.int('num_hidden_layers');
  const types = c.value('attention_types');
  const kinds: RawValue[] = [];
  for (const item of Array.isArray(types) ? (types as readonly RawValue[]) : []) {
    const [names, times] = Array.isArray(item) ? (item as readonly RawValue[]) : [];
    if (!Array.isArray(names) || names.length === 0 || typeof times !== 'number') continue;
    for (let i = 0; i < times && kinds.length <= layers; i++) kinds.push(...(names as readonly RawValue[]));
  }
  const good = kinds.length === layers && kinds.every((kind) => kind === 'global' || kind === 'local');
  if (!good) c.problem('attention_types', kExpected, types);
  // What the class derives from attention_types; files carry it too.
  const written = c.value('attention_layers');
  if (written !== undefined && written !== null && JSON.stringify(written) !== JSON.stringify(kinds))
    c.problem('attention_layers', 'the layers of attention_types', written);
  return Array.from({ length: layers }, (_, i) => kinds[i] === 'local');
}

/** GPTNeoForCausalLM: GPT-2 with every other layer local and dot products that are not scaled (Black et al. 2021). */
function build(m: DecoderBuilder): void {
  const c = m.config;
  const [heads, headDim, eps] = [c.int('num_attention_heads'), c.headDim(), c.num('layer_norm_epsilon')];
  const hidden = dim('hidden', c.int('hidden_size'));
  const ffn = dim('ffn', c.int('intermediate_size'));
  const vocab = dim('vocab', c.int('vocab_size'));
  const positions = dim('positions', c.int('max_position_embeddings'));
  const [fn, local] = [c.activation('activation_function'), localLayers(c)];
  const shape = { heads, kvHeads: heads, headDim, scale: 1 };

  const w = m.weights.atIfPresent('transformer');
  const { table, head } = tokenTables(m, w, 'wte.weight', vocab, hidden);
  const places = m.embedPositions(w.matrix('wpe.weight', positions, hidden, { exact: true })); // (rows, hidden)
  let x = m.scoped('wte', () => add(m.embedTokens(table), places)); // (rows, hidden)
  m.hidden(0, x);
  for (const [i, windowed] of local.entries()) {
    const l = w.at(`h.${i}`);
    x = m.scoped(`h.${i}`, () => {
      const a = l.at('attn.attention');
      const h = norm(l, 'ln_1', x, eps);
      const q = project(a, 'q_proj', h, hidden); // (rows, heads · head_dim)
      const k = project(a, 'k_proj', h, hidden); // (rows, heads · head_dim)
      const v = project(a, 'v_proj', h, hidden); // (rows, heads · head_dim)
      const y = m.attention(q, k, v, { ...shape, window: windowed ? c.int('window_size') : undefined });
      const attended = add(x, project(a, 'out_proj', y, hidden, { bias: true })); // (rows, hidden)

      const n = norm(l, 'ln_2', attended, eps);
      return add(attended, plainMlp(l.at('mlp'), ['c_fc', 'c_proj'], n, ffn, fn));
    });
    if (i + 1 < local.length) m.hidden(i + 1, x);
  }
  const last = norm(w, 'ln_f', x, eps);
  m.hidden(local.length, last);
  languageHead(m, last, head); // (logit_rows, vocab)
}

export const gptNeo: DecoderArchitecture = {
  classes: ['GPTNeoForCausalLM'],
  modelType: 'gpt_neo',
  build,
  ignored: [/\.attn\.attention\.(bias|masked_bias)$/],
};
