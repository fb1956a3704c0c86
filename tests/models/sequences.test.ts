import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { DeviceModel, type Executable } from '../../lib/runtime/executable.js';
import { openCheckpoint } from '../../lib/weights/checkpoint.js';
import type { RawConfig } from '../../lib/weights/types.js';
import { type Fixture, fixtures } from '../support/fixtures.js';
import { build, program, step } from '../support/forward.js';
import { readTensors } from '../support/safetensors.js';

interface Rules {
  readonly stops: readonly number[];
  readonly pad: number;
  readonly penalty: number;
  readonly bigrams: boolean;
}

/** What greedy search obeys of generation_config.json; the ids of the model's config where that is absent. */
function rulesOf(given: RawConfig): Rules {
  const stops = [given.eos_token_id ?? []].flat() as number[];
  return {
    stops,
    // Rows end in EOS where no padding id is given.
    pad: (given.pad_token_id as number | null) ?? stops[0]!,
    penalty: (given.repetition_penalty as number | undefined) ?? 1,
    bigrams: given.no_repeat_ngram_size === 2,
  };
}

/** The best id after `ids`, as transformers' processors leave the scores. */
function next(scores: Float32Array, ids: readonly number[], rules: Rules): number {
  const made = Float64Array.from(scores);
  for (const id of new Set(ids)) made[id]! *= made[id]! < 0 ? rules.penalty : 1 / rules.penalty;
  if (rules.bigrams) {
    for (let i = 1; i < ids.length; i++) if (ids[i - 1] === ids.at(-1)) made[ids[i]!] = Number.NEGATIVE_INFINITY;
  }
  return made.indexOf(Math.max(...made));
}

/** Greedy search; cached: one row a step, else everything again. */
async function greedy(
  run: Executable,
  prompt: readonly number[],
  count: number,
  rules: Rules,
  cached: boolean,
): Promise<number[]> {
  const ids = [...prompt];
  let done = 0;
  while (ids.length < prompt.length + count) {
    const from = cached ? done : 0;
    const { logits } = await step(run, ids.slice(from), { from, ropeLength: ids.length });
    done = ids.length;
    const vocab = logits!.length / (ids.length - from);
    const id = next((logits as Float32Array).slice(-vocab), ids, rules);
    ids.push(id);
    if (rules.stops.includes(id)) break;
  }
  return ids;
}

/** Prompts without their padding. */
async function promptsOf(f: Fixture): Promise<number[][]> {
  const inputs = await readTensors(join(f.folder, 'inputs.safetensors'));
  const { shape, data } = inputs.get('input_ids')!;
  const mask = inputs.get('attention_mask')?.data;
  const [batch, length] = shape as [number, number];
  const row = (b: number) => Array.from({ length }, (_, i) => b * length + i).filter((i) => (mask?.[i] ?? 1) === 1);
  return Array.from({ length: batch }, (_, b) => row(b).map((i) => data[i]!));
}

for (const kind of ['models', 'gguf'] as const) {
  describe(`${kind}: greedy ids are those of transformers`, () => {
    for (const f of fixtures(kind)) {
      it(f.name, async () => {
        const checkpoint = await openCheckpoint(kind === 'gguf' ? join(f.folder, 'model.gguf') : f.folder);
        const rules = rulesOf({ ...checkpoint.config, ...checkpoint.generationConfig });
        const sequences = (await readTensors(join(f.folder, 'sequences.safetensors'))).get('sequences')!;
        const [batch, length] = sequences.shape as [number, number];
        const built = build(checkpoint);
        const model = await DeviceModel.open('cpu', { threads: 1 });
        try {
          const run = await model.compile(program(built, ['logits'], length));
          for (const [b, prompt] of (await promptsOf(f)).entries()) {
            const made = await greedy(run, prompt, f.case.max_new_tokens, rules, f.case.generate_cache !== 'no');
            expect(made.length).toBeGreaterThan(prompt.length);
            while (made.length < length) made.push(rules.pad);
            expect(made, `row ${b} of ${batch}`).toEqual([...sequences.data.slice(b * length, (b + 1) * length)]);
          }
        } finally {
          await model.dispose();
        }
      });
    }
  });
}
