import { load } from '../tasks/load.js';
import type { TextModel } from '../tasks/text_model.js';
import { cosine, matrixText, type Stop } from './stop.js';

/** The three contexts of the lesson: an animal, a unit of chemistry, a spot on the skin. */
export const contexts: readonly string[] = [
  'American shrew mole',
  'One mole of carbon dioxide',
  'Take a biopsy of the mole',
];

/** Cosines between the vectors of one word in several texts, for each layer: (layers + 1, pairs). */
export interface WordVectors {
  readonly pairs: readonly (readonly [number, number])[];
  readonly cosines: readonly (readonly number[])[];
}

/** All pairs of texts, layer by layer; `vectors[t][layer]` is the word's vector in text t. */
export function compareVectors(vectors: readonly (readonly ArrayLike<number>[])[]): WordVectors {
  const pairs = vectors.flatMap((_, i) => vectors.slice(i + 1).map((_, j) => [i, i + 1 + j] as const));
  const cosines = vectors[0]!.map((_, layer) =>
    pairs.map(([a, b]) => cosine(vectors[a]![layer]!, vectors[b]![layer]!)),
  );
  return { pairs, cosines };
}

/** The vectors of the last token that is `word` with a space before it, at each layer of a decoder. */
export async function decoderVectors(model: TextModel, text: string, word: string): Promise<Float32Array[]> {
  const ids = await model.encode(text);
  const [wanted] = await model.encode(` ${word}`, false);
  const at = ids.lastIndexOf(wanted!);
  const { hiddenStates } = await model.trace(ids, { hiddenStates: true, logits: false });
  return [...hiddenStates.values()].map(({ shape, data }) => data.subarray(at * shape[1]!, (at + 1) * shape[1]!));
}

export const mole: Stop = {
  name: 'mole',
  title: '"mole" in three contexts',
  about:
    'A token begins as the same vector wherever it stands; attention then mixes its context into it. Cosines between the ' +
    'vectors of "mole" in three texts, at each layer: 1 at layer 0, and apart afterwards.',
  async show() {
    await using model = await load(undefined, { compute: 'f32' });
    const vectors: Float32Array[][] = [];
    for (const text of contexts) vectors.push(await decoderVectors(model, text, 'mole'));
    const { pairs, cosines } = compareVectors(vectors);
    const names = ['animal', 'unit', 'skin'];
    const shape = [cosines.length, pairs.length] as const;
    return [
      ...contexts.map((text, i) => `${names[i]}: "${text}"`),
      '',
      matrixText(
        { data: Float32Array.from(cosines.flat()), shape },
        cosines.map((_, layer) => `layer ${layer}`),
        4,
        pairs.map(([a, b]) => `${names[a]}/${names[b]}`),
      ),
    ].join('\n');
  },
};
