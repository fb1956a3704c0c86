import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { load } from '../../lib/index.js';
import { testDevices } from '../support/run_op.js';
import { error } from '../support/safetensors.js';
import { sharedModels } from '../support/shared.js';

interface Run {
  readonly text: string;
  readonly prompt_ids: readonly number[];
  /** Prompt included. */
  readonly output_ids: readonly number[];
  readonly first_step_logits: readonly number[];
}

const shared = sharedModels();
const runs = (name: string): Run[] => JSON.parse(readFileSync(join(shared!, 'goldens', name), 'utf8')).runs as Run[];

/** Greedy text of a run: ids and text of the tokens that follow the prompt. */
async function check(path: string, golden: string, device: string): Promise<string[]> {
  await using model = await load(path, { device, compute: 'f32', threads: 1 });
  const texts: string[] = [];
  for (const run of runs(golden)) {
    expect([...(await model.tokenizer!.encode(run.text))]).toEqual(run.prompt_ids);
    const { logits, shape } = await model.forward({ inputIds: run.prompt_ids }, { logits: 'last' });
    expect(shape).toEqual([1, 2048]);
    expect(error(logits, run.first_step_logits)).toBeLessThan(1e-4);
    const expected = run.output_ids.slice(run.prompt_ids.length);
    const made = await model.generate(run.text, { greedy: true, maxTokens: expected.length, ignoreEos: true }).result();
    expect(made.ids).toEqual(expected);
    texts.push(made.text);
  }
  return texts;
}

describe.skipIf(shared === undefined)('tinystories-656K (skips without the shared models)', () => {
  for (const device of testDevices()) {
    it(`safetensors on ${device}: published text, ids and logits`, async () => {
      const [first] = await check(join(shared!, 'tinystories-656K'), 'tinystories-656K.json', device);
      expect(first).toMatch(
        /^, a little girl named Lily lived in a small house with her mom, dad, and her dog, Spot, /,
      );
    });

    it(`GGUF Q8_0 on ${device}: the texts of llama.cpp, ids and logits`, async () => {
      const file = join(shared!, 'tinystories-656K/TinyStories-656K-Q8_0.gguf');
      const golden = 'tinystories-656K-q8_0.json';
      await check(file, golden, device);
      await using model = await load(file, { device, compute: 'f32' });
      const long = await model.generate('Once upon a time', { greedy: true, maxTokens: 50 }).text();
      const asserted =
        ', a little girl named Lily lived in a small house. She loved to eat yummy food. One day, she saw a small bird on the ground. The bird was sad because it could not eat it.\nLily wanted to help the bird. She tried to eat the food and ';
      expect(long.startsWith(asserted.trimEnd())).toBe(true);
      const short = await model.generate('Hello', { greedy: true, maxTokens: 16 }).text();
      expect(short).toBe(' and a girl were walking in the park. One day she saw a small bird flying in the sk');
    });
  }

  it('answers in concert what it answers alone', async () => {
    await using model = await load(join(shared!, 'tinystories-656K'), { compute: 'f32' });
    const prompts = ['Once upon a time', 'Lily and Tom', 'The dog', 'One day', 'She'];
    const tell = (p: string) => model.generate(p, { greedy: true, maxTokens: 40 }).result();
    const alone = [];
    for (const p of prompts) alone.push((await tell(p)).ids);
    const together = await Promise.all(prompts.map(tell));
    expect(together.map((r) => r.ids)).toEqual(alone);
  });
});
