import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { builtInModel, load, type TextModel } from '../../lib/index.js';

const folder = builtInModel();
const json = <T>(name: string): T => JSON.parse(readFileSync(join(folder, name), 'utf8')) as T;
const lines = <T>(name: string): T[] =>
  readFileSync(join(folder, name), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as T);

interface Golden {
  readonly prompt_ids: readonly number[];
  readonly ids: readonly number[];
  readonly text: string;
}

/** Runs `work` on all items, a few at once: they share the steps. */
async function concurrently<T, R>(items: readonly T[], work: (item: T) => Promise<R>, at = 16): Promise<R[]> {
  const results: R[] = [];
  let next = 0;
  const run = async (): Promise<void> => {
    for (let i = next++; i < items.length; i = next++) results[i] = await work(items[i]!);
  };
  await Promise.all(Array.from({ length: at }, run));
  return results;
}

describe('the built-in model', () => {
  let model: TextModel;
  beforeAll(async () => {
    model = await load(undefined, { compute: 'f32' });
  });
  afterAll(() => model?.dispose());

  it('comes with everything that its card states', () => {
    const files = ['model.safetensors', 'config.json', 'tokenizer.json', 'heldout.json', 'golden.json', 'README.md'];
    expect(files.filter((f) => !existsSync(join(folder, f)))).toEqual([]);
    expect(readFileSync(join(folder, 'model.safetensors')).length).toBeLessThanOrEqual(8e6);
  });

  it("has PyTorch's perplexity on the held-out text, to 4 digits", async () => {
    const held = json<{ perplexity: number; nll_sum: number; tokens: number }>('heldout.json');
    const documents = lines<{ text: string }>('heldout.jsonl');
    const scores = await concurrently(documents, async ({ text }) => {
      const ids = await model.tokenizer!.encode(text, { addSpecial: false, specialTokens: true });
      expect(ids[0]).toBe(1);
      return { nll: await model.score(ids.subarray(0, 1), ids.subarray(1)), tokens: ids.length - 1 };
    });
    const tokens = scores.reduce((n, s) => n + s.tokens, 0);
    const nll = scores.reduce((n, s) => n + s.nll, 0);
    expect(tokens).toBe(held.tokens);
    expect(Math.exp(nll / tokens).toPrecision(4)).toBe(held.perplexity.toPrecision(4));
    expect(Math.abs(nll / held.nll_sum - 1)).toBeLessThan(1e-5);
  });

  it("continues prompts with PyTorch's greedy ids", async () => {
    for (const [name, golden] of Object.entries(json<Record<string, Golden>>('golden.json'))) {
      const options = { greedy: true, maxTokens: golden.ids.length, ignoreEos: true, repetitionPenalty: 1 };
      const made = await model.generate(golden.prompt_ids, options).result();
      expect(made.ids, name).toEqual(golden.ids);
    }
  });

  it('names the culprits of the held-out mysteries: 95 % right, and as often as PyTorch does', async () => {
    const mysteries = lines<{ prompt: string; answer: string }>('mysteries.jsonl');
    expect(mysteries).toHaveLength(500);
    const right = await concurrently(mysteries, async ({ prompt, answer }) => {
      const expected = await model.tokenizer!.encode(` ${answer}`, { addSpecial: false });
      const made = await model
        .generate(prompt, { greedy: true, maxTokens: expected.length, repetitionPenalty: 1 })
        .result();
      return made.ids.join() === expected.join();
    });
    const share = right.filter(Boolean).length / right.length;
    expect(share).toBeGreaterThanOrEqual(0.95);
    // One answer in 500 may hang on a margin that rounding decides.
    expect(Math.abs(share - json<{ culprits_right: number }>('heldout.json').culprits_right)).toBeLessThanOrEqual(
      0.002,
    );
  });

  it('chats without a network', async () => {
    const messages = [{ role: 'user' as const, content: 'What digs tunnels?' }];
    const made = await model.chat(messages, { greedy: true, maxTokens: 60 }).result();
    expect(made.finishReason).toBe('stop');
    expect(made.text).toMatch(/mole/i);
    expect(made.text).not.toMatch(/<\|/);
  });
});
