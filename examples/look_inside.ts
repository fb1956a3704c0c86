/**
 * A look inside the built-in model: who attends to whom while it writes, what each layer would say, which words lie near each
 * other, and what becomes of a text when a layer is steered or a head is silenced. Nothing of it costs a request that
 * does not ask for it.
 */
import { load } from 'verdant';

export interface Look {
  /** Token that the last layer's head 0 attends to most, for each token written. */
  readonly attended: readonly string[];
  /** What the model would say next after each layer, the last one first. */
  readonly layers: readonly string[];
  readonly near: readonly string[];
  readonly plain: string;
  readonly steered: string;
  readonly silenced: string;
}

export async function lookInside(text: string): Promise<Look> {
  const model = await load();
  try {
    const options = { greedy: true, maxTokens: 8 };

    // The logit lens: the head of the model over the hidden state of each layer.
    const lens = await model.lens(text, { top: 1 });
    const layers = [...lens.layers.values()].reverse().map((positions) => positions.at(-1)![0]!.token!);

    // Attention maps of each step, as they come: (heads, rows, keys), here one head and one row.
    const last = lens.layers.size - 2;
    const attended: string[] = [];
    const ids = [...lens.ids];
    for await (const piece of model.generate(text, { ...options, trace: { attentions: [last], heads: [0] } })) {
      for (const step of piece.traces!) {
        const weights = step.attentions.get(last)!.data;
        attended.push(model.tokenizer!.idToToken(ids[weights.indexOf(Math.max(...weights))]!)!);
      }
      ids.push(...piece.ids);
    }

    // The space of the embeddings; sums are { plus: ['woman', 'king'], minus: ['man'] }.
    const near = (await model.neighbours(ids[1]!, { count: 3 })).map(({ token }) => token!);

    // Away from what this text is at the middle layer: its own last hidden state, subtracted.
    const middle = Math.floor(last / 2);
    const { hiddenStates } = await model.trace(text, { hiddenStates: [middle], logits: false });
    const { shape, data } = hiddenStates.get(middle)!;
    const steer = [{ layer: middle, vector: data.slice(-shape[1]!), scale: -2 }];
    const maskHeads = [{ layer: last, heads: [0] }];
    const [plain, steered, silenced] = await Promise.all([
      model.generate(text, options).text(),
      model.generate(text, { ...options, steer }).text(),
      model.generate(text, { ...options, maskHeads }).text(),
    ]);
    return { attended, layers, near, plain, steered, silenced };
  } finally {
    await model.dispose();
  }
}
