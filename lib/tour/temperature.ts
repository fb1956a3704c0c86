import { array, softmax } from '../runtime/ops.js';
import { load } from '../tasks/load.js';
import type { TextModel } from '../tasks/text_model.js';
import { matrixText, type Stop } from './stop.js';

const kPrompt = 'A mole is';
const kTemperatures = [0.3, 0.7, 1, 1.5] as const;
const kDraws = 512;
/** Completions of one request. */
const kAtOnce = 32;

/** What one temperature makes of the next token. */
export interface Tempered {
  readonly temperature: number;
  /** (vocab): softmax(logits / temperature) */
  readonly probabilities: Float32Array;
  /** Bits. */
  readonly entropy: number;
  /** (vocab): shares of `draws` tokens that the sampler drew. */
  readonly drawn: Float32Array;
}

/** The distribution of the next token at several temperatures, and what the sampler draws from it. */
export async function tempered(model: TextModel, prompt: string, draws: number): Promise<Tempered[]> {
  const ids = await model.encode(prompt);
  const { logits } = await model.forward({ inputIds: ids }, { logits: 'last' });
  const each = kTemperatures.map(async (temperature): Promise<Tempered> => {
    const { data: probabilities } = await softmax(
      array(
        logits.map((l) => l / temperature),
        [1, logits.length],
      ),
    );
    const entropy = probabilities.reduce((sum, p) => (p > 0 ? sum - p * Math.log2(p) : sum), 0);
    const plain = { topK: 0, topP: 1, repetitionPenalty: 1, ignoreEos: true };
    const made = Array.from({ length: Math.ceil(draws / kAtOnce) }, (_, i) =>
      model
        .generate(ids, { ...plain, temperature, seed: i, maxTokens: 1, n: Math.min(kAtOnce, draws - kAtOnce * i) })
        .result(),
    );
    const drawn = new Float32Array(logits.length);
    for (const { completions } of await Promise.all(made))
      for (const completion of completions) drawn[completion.ids[0]!]! += 1 / draws;
    return { temperature, probabilities, entropy, drawn };
  });
  return Promise.all(each);
}

export const temperature: Stop = {
  name: 'temperature',
  title: 'Temperature',
  about:
    'Logits are divided by the temperature before softmax. Below 1 likely tokens become likelier, above 1 the others get a ' +
    'chance; near 0 the likeliest is taken always. Shown: the built-in model\'s next token after "A mole is".',
  async show() {
    await using model = await load(undefined, { compute: 'f32' });
    const made = await tempered(model, kPrompt, kDraws);
    const mild = made.find((m) => m.temperature === 1)!.probabilities;
    const top = [...mild.keys()].sort((a, b) => mild[b]! - mild[a]!).slice(0, 6);
    const labels = top.map((id) => JSON.stringify(model.tokenizer!.decode([id])));
    const heads = kTemperatures.map((t) => `T = ${t}`);
    const columns = (of: (m: Tempered) => Float32Array) => {
      const data = Float32Array.from(top.flatMap((id) => made.map((m) => of(m)[id]!)));
      return matrixText({ data, shape: [top.length, made.length] }, labels, 3, heads);
    };
    return [
      `entropy at T = ${kTemperatures.join(', ')}: ${made.map((m) => m.entropy.toFixed(2)).join(', ')} bits`,
      `probability\n${columns((m) => m.probabilities)}`,
      `share of ${kDraws} drawn tokens\n${columns((m) => m.drawn)}`,
    ].join('\n\n');
  },
};
