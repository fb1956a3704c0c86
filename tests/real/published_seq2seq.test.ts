/**
 * Published encoder-decoders against the outputs that Hugging Face's own tests and documentation state. Each needs its checkpoint in
 * the hub's cache: `verdant pull NAME`, then these tests run.
 */
import { expect } from 'vitest';
import { load, type Seq2SeqModel } from '../../lib/index.js';
import { published as publishedFolder } from '../support/published.js';

/** The same with the model that translates or summarises. */
function published(id: string, title: string, test: (model: Seq2SeqModel) => Promise<void>): Promise<void> {
  return publishedFolder(id, title, async (path) => {
    await using model = await load(path, { task: 'translate', compute: 'f32' });
    await test(model);
  });
}

const blackout =
  'PG&E stated it scheduled the blackouts in response to forecasts for high winds amid dry conditions. The aim is to reduce ' +
  'the risk of wildfires. Nearly 800 thousand customers were scheduled to be affected by the shutoffs which were expected to ' +
  'last through at least midday tomorrow.';

const german: Readonly<Record<string, string>> = {
  'I am a small frog.': 'Ich bin ein kleiner Frosch.',
  'Now I can forget the 100 words of german that I know.':
    'Jetzt kann ich die 100 Wörter des Deutschen vergessen, die ich kenne.',
  'Tom asked his teacher for advice.': 'Tom bat seinen Lehrer um Rat.',
  "That's how I would do it.": 'So würde ich das machen.',
  "Tom really admired Mary's courage.": 'Tom bewunderte Marias Mut wirklich.',
  'Turn around and close your eyes.': 'Drehen Sie sich um und schließen Sie die Augen.',
};

await published('Helsinki-NLP/opus-mt-en-de', 'six sentences, with the beams that it asks for', async (model) => {
  expect(await model.translate(Object.keys(german))).toEqual(Object.values(german));
});

await published('google-t5/t5-small', 'the score of a short answer, and a greedy summary', async (model) => {
  const score = -(await model.score('Hello there', 'Hi I am'));
  expect(Math.abs(score - -19.0845)).toBeLessThan(1e-4 * 19.0845);
  // max_length 8 counts the id that the decoder starts with.
  const options = { greedy: true, maxTokens: 7 };
  expect(await model.summarize('Hello there', options).text()).toBe('Hello there!');
  expect(await model.generate('summarize: Hello there', options).text()).toBe('Hello there!');
});

await published('google/pegasus-xsum', 'the blackout, with the beams that it asks for', async (model) => {
  expect(await model.summarize(blackout).text()).toBe(
    "California's largest electricity provider has turned off power to hundreds of thousands of customers.",
  );
});

await published('facebook/bart-large-cnn', 'the blackout in 20 ids', async (model) => {
  // max_length 20 counts the start and the forced first id.
  const text = await model.summarize(blackout, { numBeams: 2, minTokens: 0, maxTokens: 18 }).text();
  expect(text).toBe('PG&E scheduled the blackouts in response to forecasts for high winds amid dry conditions');
});

await published('facebook/mbart-large-en-ro', 'the answer', async (model) => {
  const options = { from: 'en_XX', to: 'ro_RO', numBeams: 4, maxTokens: 4 };
  expect(await model.translate('42 is the answer', options).text()).toBe('42 este răspuns');
});
