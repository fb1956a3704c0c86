/** `task_specific_params` of a config: defaults of summarize() and translate(), as transformers' pipelines take them over. */
import { cpSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { ConfigError, UnsupportedError } from '../../lib/errors.js';
import { load, type Seq2SeqModel } from '../../lib/index.js';
import { TempFolder } from '../support/bytes.js';
import { readJson } from '../support/fixtures.js';

const fixtures = join(import.meta.dirname, '../fixtures');
const temp = new TempFolder();
afterAll(() => temp.dispose());

interface Row {
  readonly ids: readonly number[];
  readonly sequence: readonly number[];
}
const expected = readJson(join(fixtures, 'task_params.json')) as unknown as {
  readonly task_specific_params: Readonly<Record<string, object>>;
  readonly rows: Readonly<Record<string, readonly Row[]>>;
};

let made = 0;
function open(patch: object): Promise<Seq2SeqModel> {
  const folder = join(temp.path, `t5_${made++}`);
  cpSync(join(fixtures, 'translate/t5'), folder, { recursive: true });
  writeFileSync(join(folder, 'config.json'), JSON.stringify({ ...readJson(join(folder, 'config.json')), ...patch }));
  return load(folder, { task: 'summarize', threads: 1, maxSequences: 4, kvMemory: '8MiB' });
}
const { task_specific_params } = expected;

/** Ids of a sequence of transformers: without the start, the end and what fills up. */
const written = ({ sequence }: Row): number[] => sequence.slice(1).filter((id) => id > 1);

describe('settings of tasks', () => {
  it.each(Object.keys(expected.rows))('%s: the ids that generate() writes under them', async (task) => {
    await using model = await open({ task_specific_params });
    for (const row of expected.rows[task]!) {
      const [, from, to] = /^translation_(.+)_to_(.+)$/.exec(task) ?? [];
      const made = to === undefined ? model.summarize(row.ids) : model.translate(row.ids, { from, to });
      expect((await made.result()).ids).toEqual(written(row));
    }
  });

  it('the prefix goes before texts; options override the rest', async () => {
    await using model = await open({ task_specific_params });
    const text = 'the garden';
    const settings = { numBeams: 3, maxTokens: 13, minTokens: 8, lengthPenalty: 2, earlyStopping: true };
    const all = { ...settings, noRepeatNgram: 2 };
    const whole = await model.summarize(text).result();
    expect(whole.ids).toEqual((await model.generate(`A model: ${text}`, all).result()).ids);
    expect(await model.summarize([text, text])).toEqual([whole.text, whole.text]);
    const short = await model.summarize(text, { numBeams: 1, greedy: true, maxTokens: 9 }).result();
    const greedy = { greedy: true, maxTokens: 9, minTokens: 8, noRepeatNgram: 2 };
    expect(short.ids).toEqual((await model.generate(`A model: ${text}`, greedy).result()).ids);
    expect(short.ids.length).toBeLessThanOrEqual(9);
    // Without the task they do not hold.
    expect((await model.generate(`A model: ${text}`, { maxTokens: 30 }).result()).ids).not.toEqual(whole.ids);
  });

  it('the prefix of all tasks where a task has none', async () => {
    await using model = await open({
      prefix: 'the shelf: ',
      task_specific_params: { summarization: { max_length: 6 } },
    });
    const short = await model.summarize('the garden').result();
    expect(short.ids).toEqual((await model.generate('the shelf: the garden', { maxTokens: 5 }).result()).ids);
  });

  it('what is wrong with them is told when the task is asked for', async () => {
    await using model = await open({
      task_specific_params: { summarization: { num_beams: 0 }, translation_en_to_de: { eos_token_id: 7 } },
    });
    expect(() => model.summarize('the garden')).toThrow(ConfigError);
    expect(() => model.translate('the garden')).toThrow(UnsupportedError);
    expect(await model.generate('the garden', { maxTokens: 3 }).text()).toBeTypeOf('string');
  });
});
