import type { FillMaskModel, MaskCandidate } from '../tasks/fill_mask.js';
import { builtInModel, load } from '../tasks/load.js';
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

/** The same word at the same place of four texts, so that even a model with learned positions begins with one vector. */
export const senses: Readonly<Record<string, string>> = {
  animal: 'the american shrew mole eats worms .',
  unit: 'there was one mole of carbon dioxide in the flask .',
  mark: 'biopsy of the mole on the arm .',
  spy: 'there was a mole in the agency .',
};

/** The vectors of a word that is one token, at each layer of an encoder. */
export async function encoderVectors(model: FillMaskModel, text: string, word: string): Promise<Float32Array[]> {
  const { tokens, hiddenStates } = await model.trace(text, { hiddenStates: true, outputs: false });
  const at = tokens!.indexOf(word);
  return [...hiddenStates.values()].map(({ shape, data }) => data.subarray(at * shape[1]!, (at + 1) * shape[1]!));
}

/** What the masked language model says that a word means in a text. */
export async function meaningOf(model: FillMaskModel, text: string, word: string): Promise<MaskCandidate> {
  const [best] = await model.fillMask(`${text} here ${word} means ${model.maskToken} .`, { top: 1 });
  return best![0]!;
}

/** Cosines as a table, a row for each layer. */
function layersText({ pairs, cosines }: WordVectors, names: readonly string[]): string {
  const data = Float32Array.from(cosines.flat());
  const rows = cosines.map((_, layer) => `layer ${layer}`);
  const heads = pairs.map(([a, b]) => `${names[a]}/${names[b]}`);
  return matrixText({ data, shape: [cosines.length, pairs.length] }, rows, 4, heads);
}

async function decoderPart(): Promise<string> {
  await using model = await load(undefined, { compute: 'f32' });
  const vectors = await Promise.all(contexts.map((text) => decoderVectors(model, text, 'mole')));
  const names = ['animal', 'unit', 'mark'];
  const texts = contexts.map((text, i) => `${names[i]}: "${text}"`).join('\n');
  return `The built-in decoder\n${texts}\n\n${layersText(compareVectors(vectors), names)}`;
}

async function encoderPart(): Promise<string> {
  await using model = await load(builtInModel('senses'), { task: 'fillMask', compute: 'f32' });
  const texts = Object.values(senses);
  const vectors = await Promise.all(texts.map((text) => encoderVectors(model, text, 'mole')));
  const meanings = await Promise.all(texts.map((text) => meaningOf(model, text, 'mole')));
  const names = Object.keys(senses);
  const lines = texts.map((text, i) => {
    const { text: word, score } = meanings[i]!;
    return `${names[i]}: "${text} here mole means [MASK] ." ${word} (${score.toFixed(3)})`;
  });
  return `A small encoder that saw "mole" in four senses\n${lines.join('\n')}\n\n${layersText(compareVectors(vectors), names)}`;
}

export const mole: Stop = {
  name: 'mole',
  title: '"mole" in several contexts',
  about:
    'A token begins as the same vector wherever it stands; attention then mixes its context into it. Cosines between the ' +
    'vectors of "mole" in different texts, at each layer: 1 at layer 0, and apart afterwards.',
  show: async () => `${await decoderPart()}\n\n${await encoderPart()}`,
};
