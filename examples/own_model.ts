/**
 * A model that Verdant does not know, defined outside the package. "Burrow" is a decoder whose layers run attention and
 * feed-forward side by side; every second layer sees only a window, a gate opens and closes what attention brings, and ALiBi
 * takes the place of positions. There is no C++ in it: KV cache, batching, sampling and traces come with the engine.
 */
import { type Architecture, type GenerationResult, load } from 'verdant';
import { dim, ops } from 'verdant/graph';
import { type DecoderBuilder, languageHead, project, tokenTables } from 'verdant/layers';

/** From config.json and the checkpoint's tensors, by their names, to a graph. Rows: the tokens of all requests of a step. */
function build(m: DecoderBuilder): void {
  const c = m.config;
  const [layers, heads, headDim] = [c.int('num_hidden_layers'), c.int('num_attention_heads'), c.int('head_dim')];
  const [hidden, vocab] = [dim('hidden', c.int('hidden_size')), dim('vocab', c.int('vocab_size'))];
  const [wide, ffn] = [dim('wide', heads * headDim), dim('ffn', c.int('intermediate_size'))];
  const alibi = Array.from({ length: heads }, (_, h) => 2 ** ((-8 * (h + 1)) / heads)); // a slope for each head

  const { table, head } = tokenTables(m, m.weights, 'tokens', vocab, hidden); // one weight where the config ties them
  let x = m.embedTokens(table); // (rows, hidden)
  m.hidden(0, x);
  for (let i = 0; i < layers; i++) {
    const w = m.weights.at(`layers.${i}`);
    x = m.scoped(`layers.${i}`, () => {
      const n = ops.rmsNorm(x, w.vector('norm', hidden), { eps: 1e-6 });
      const [q, k, v] = [project(w, 'q', n, wide), project(w, 'k', n, wide), project(w, 'v', n, wide)]; // (rows, wide)
      const window = i % 2 === 1 ? c.int('window') : undefined;
      const seen = m.attention(q, k, v, { heads, kvHeads: heads, headDim, alibi, window }); // (rows, wide)
      const entering = ops.gated(project(w, 'gate', n, wide, { bias: true }), seen, 'sigmoid'); // (rows, wide)
      const up = ops.activation(project(w, 'up', n, ffn), 'relu'); // (rows, ffn)
      const fed = project(w, 'down', ops.mul(up, up), hidden); // (rows, hidden)
      return ops.add(x, ops.add(project(w, 'o', entering, hidden), fed));
    });
    m.hidden(i + 1, x);
  }
  languageHead(m, x, head, { cap: 20 }); // (logit_rows, vocab)
}

export const burrow: Architecture = { classes: ['BurrowForCausalLM'], modelType: 'burrow', build };

/** Continues all prompts at once, in one running batch, from a folder with config.json and model.safetensors. */
export async function continueAll(folder: string, prompts: readonly number[][]): Promise<GenerationResult[]> {
  const model = await load(folder, { architecture: burrow, maxContext: 256 });
  try {
    return await Promise.all(prompts.map((ids) => model.generate(ids, { greedy: true, maxTokens: 40 }).result()));
  } finally {
    await model.dispose();
  }
}
