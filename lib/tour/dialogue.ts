import { load } from '../tasks/load.js';
import type { TextModel } from '../tasks/text_model.js';
import type { Stop } from './stop.js';

const kQuestion = 'What digs tunnels?';

/** One question, asked in three ways, and what follows when nobody stops the model. */
export interface Asked {
  /** Through the chat template. */
  readonly template: string;
  /** The same dialogue written by hand, with the tokens that the template would put. */
  readonly written: string;
  /** The dialogue as plain words: "User: … Assistant:". */
  readonly plain: string;
  /** As `written`, but the end of a turn does not end the text. */
  readonly onward: string;
}

const greedy = { greedy: true, repetitionPenalty: 1, maxTokens: 48 };

/** What a model answers when asked through its template, and as a text that it continues. */
export async function ask(model: TextModel, question: string): Promise<Asked> {
  const dialogue = `<s><|user|>${question}<|end|><|assistant|>`;
  const ids = await model.tokenizer!.encode(dialogue, { addSpecial: false, specialTokens: true });
  const onward = await model.generate(ids, { ...greedy, ignoreEos: true }).result();
  return {
    template: await model.chat([{ role: 'user', content: question }], greedy).text(),
    written: await model.generate(ids, greedy).text(),
    plain: await model.generate(`User: ${question}\nAssistant:`, greedy).text(),
    onward: model.tokenizer!.decode(onward.ids, { skipSpecial: false }),
  };
}

export const dialogue: Stop = {
  name: 'dialogue',
  title: 'A chat is a text that is continued',
  about:
    'A language model only continues text. A dialogue written down in the form that it was trained on, cut off where the ' +
    'assistant speaks, is continued with an answer; a chat template writes this text, and a stop token ends the turn. Without ' +
    "the stop the model goes on to write the user's part too. In a form that it never saw it has no answer.",
  async show() {
    await using model = await load(undefined, { compute: 'f32' });
    const { template, written, plain, onward } = await ask(model, kQuestion);
    return [
      `chat([{ role: 'user', content: '${kQuestion}' }])\n  ${template}`,
      `generate('<s><|user|>${kQuestion}<|end|><|assistant|>')\n  ${written}`,
      `the same, and the end of a turn ends nothing\n  ${onward}`,
      `generate('User: ${kQuestion}\\nAssistant:')\n  ${plain.trim()}`,
    ].join('\n\n');
  },
};
