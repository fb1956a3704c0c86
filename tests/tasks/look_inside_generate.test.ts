/** Attention maps, hidden states, steering and head masking of generations: right, and without cost or effect elsewhere. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stepProgram } from '../../lib/engine/programs.js';
import { OptionError } from '../../lib/errors.js';
import type { GenerateOptions } from '../../lib/generation/options.js';
import { printProgram } from '../../lib/graph/program.js';
import type { GenerationResult } from '../../lib/tasks/generation.js';
import type { TextModel } from '../../lib/tasks/text_model.js';
import { bitsOf, gemma2Config, gpt2Config, llamaConfig, randomModel, tinyConfig } from '../engine/models.js';
import { Random } from '../support/random.js';

const random = new Random(4);
const promptOf = (n: number): number[] => [...random.integers(n, 0, 280)];
const facts = (r: GenerationResult): unknown => r.completions.map((c) => [c.ids, c.logprobs]);
const noise = (n: number, scale: number): Float32Array =>
  Float32Array.from({ length: n }, (_, i) => scale * Math.sin(i + 1));

const prefer = (logits: Float32Array): void => {
  logits[7] = 3;
};

const models = { llama: llamaConfig, gpt2: gpt2Config, gemma2: gemma2Config };

describe.each(Object.keys(models) as (keyof typeof models)[])('%s', (name) => {
  let model: TextModel;
  beforeAll(async () => {
    model = await randomModel({ config: models[name], threads: 2, prefillChunk: 48 });
  });
  afterAll(() => model.dispose());

  const options: GenerateOptions = { maxTokens: 6, temperature: 1, seed: 5, logprobs: 2, ignoreEos: true };

  it('each step shows the rows that trace() shows of the whole sequence, bit by bit', async () => {
    const prompt = promptOf(70);
    const trace = { attentions: true, hiddenStates: [0, 1, 2], prompt: true } as const;
    const result = await model.generate(prompt, { ...options, trace }).result();
    const plain = await model.generate(prompt, options).result();
    expect(facts(result)).toEqual(facts(plain));
    const { prompt: _, ...shown } = trace;
    const whole = await model.trace([...prompt, ...result.ids.slice(0, -1)], shown);
    const total = prompt.length + 5;
    // Two chunks of the prompt, then five ids.
    expect(result.traces!.map((t) => [t.from, t.rows])).toEqual([
      [0, 48],
      [48, 22],
      [70, 1],
      [71, 1],
      [72, 1],
      [73, 1],
      [74, 1],
    ]);
    for (const step of result.traces!) {
      for (const [layer, map] of step.attentions) {
        const [heads, rows, keys] = map.shape as [number, number, number];
        expect([heads, rows, keys]).toEqual([4, step.rows, step.from + step.rows]);
        const all = whole.attentions.get(layer)!.data;
        for (let h = 0; h < heads; h++)
          for (let r = 0; r < rows; r++) {
            const at = (h * total + step.from + r) * total;
            const own = map.data.subarray((h * rows + r) * keys, (h * rows + r + 1) * keys);
            expect(bitsOf(own)).toEqual(bitsOf(all.subarray(at, at + keys)));
          }
      }
      for (const [index, state] of step.hiddenStates) {
        expect(state.shape).toEqual([step.rows, 264]);
        const all = whole.hiddenStates.get(index)!.data;
        expect(bitsOf(state.data)).toEqual(bitsOf(all.subarray(step.from * 264, (step.from + step.rows) * 264)));
      }
    }
  });

  it('shows chosen heads of the last row only, piece by piece, to each completion', async () => {
    const prompt = promptOf(50);
    const trace = { attentions: [1], heads: [3, 1] };
    const pieces = [];
    for await (const piece of model.generate(prompt, { ...options, n: 2, trace })) pieces.push(piece);
    expect(pieces).toHaveLength(12);
    const whole = await model.trace(prompt, { attentions: [1] });
    for (const index of [0, 1]) {
      const own = pieces.filter((p) => p.index === index);
      expect(own.map((p) => p.traces!.map((t) => [t.from, t.rows, t.attentions.get(1)!.shape]))).toEqual(
        own.map((_, i) => [[49 + i, 1, [2, 1, 50 + i]]]),
      );
      const first = own[0]!.traces![0]!.attentions.get(1)!.data;
      const map = whole.attentions.get(1)!.data;
      const expected = [1, 3].flatMap((h) => [...map.subarray((h * 50 + 49) * 50, (h * 50 + 50) * 50)]);
      expect(bitsOf(first)).toEqual(bitsOf(expected));
    }
  });

  it('requests with and without probes run together with the bits they have alone', async () => {
    const requests: [number[], GenerateOptions][] = [
      [promptOf(33), options],
      [promptOf(64), { ...options, trace: { attentions: true } }],
      [promptOf(5), { ...options, n: 2, steer: [{ layer: 1, vector: noise(264, 0.5) }] }],
      [
        promptOf(90),
        { ...options, maskHeads: [{ layer: 0, heads: [0, 2] }], trace: { hiddenStates: [2], prompt: true } },
      ],
      [promptOf(20), { ...options, greedy: true, temperature: undefined, seed: undefined }],
      [promptOf(11), { ...options, logitsProcessor: prefer, trace: { attentions: [0] } }],
    ];
    const shown = (r: GenerationResult): unknown =>
      r.completions.map((c) =>
        (c.traces ?? []).map((t) => [
          t.from,
          [...t.attentions, ...t.hiddenStates].map(([i, m]) => [i, m.shape, bitsOf(m.data)]),
        ]),
      );
    const alone = [];
    for (const [prompt, own] of requests) {
      const result = await model.generate(prompt, own).result();
      alone.push([facts(result), shown(result)]);
    }
    const together = await Promise.all(requests.map(([prompt, own]) => model.generate(prompt, own).result()));
    expect(together.map((r) => [facts(r), shown(r)])).toEqual(alone);
  });

  it('steering by zero and masking no head change no bit; a vector or a head does', async () => {
    const prompt = promptOf(40);
    const plain = facts(await model.generate(prompt, options).result());
    const same = { steer: [{ layer: 1, vector: new Float32Array(264) }], maskHeads: [{ layer: 1, heads: [] }] };
    expect(facts(await model.generate(prompt, { ...options, ...same }).result())).toEqual(plain);
    const steer = [{ layer: 1, vector: noise(264, 1) }];
    const halves = [0.5, 0.5].map((scale) => ({ ...steer[0]!, scale }));
    const steered = facts(await model.generate(prompt, { ...options, steer }).result());
    expect(steered).not.toEqual(plain);
    expect(facts(await model.generate(prompt, { ...options, steer: halves }).result())).toEqual(steered);
    const masked = await model.generate(prompt, { ...options, maskHeads: [{ layer: 0, heads: [2] }] }).result();
    expect(facts(masked)).not.toEqual(plain);
  });

  it('costs nothing when off: the step is the same program with the same memory', async () => {
    const fresh = await randomModel({ config: models[name], threads: 2, prefillChunk: 48 });
    const prompt = promptOf(60);
    await fresh.generate(prompt, options).result();
    const trace = { attentions: true, hiddenStates: true };
    const other = await randomModel({ config: models[name], threads: 2, prefillChunk: 48 });
    const steer = [{ layer: 0, vector: noise(264, 1) }];
    await other.generate(prompt, { ...options, trace, steer, maskHeads: [{ layer: 1, heads: [0] }] }).result();
    await other.generate(prompt, options).result();
    expect(printProgram(stepProgram(other.host.built))).toBe(printProgram(stepProgram(fresh.host.built)));
    expect(other.host.step.profile().arenaBytes).toBe(fresh.host.step.profile().arenaBytes);
    expect(other.host.step.profile().arenaBytes).toBeGreaterThan(0);
    await fresh.dispose();
    await other.dispose();
  });
});

describe('sessions and errors', () => {
  let model: TextModel;
  beforeAll(async () => {
    model = await randomModel({ config: tinyConfig });
  });
  afterAll(() => model.dispose());

  it('a session does not continue from keys that were steered', async () => {
    const options: GenerateOptions = { maxTokens: 5, greedy: true, logprobs: true };
    const session = model.session();
    const prompt = promptOf(60);
    const steer = [{ layer: 0, vector: noise(32, 2) }];
    const steered = await session.generate(prompt, { ...options, steer }).result();
    expect(facts(steered)).toEqual(facts(await model.generate(prompt, { ...options, steer }).result()));
    const plain = await session.generate(prompt, options).result();
    expect(facts(plain)).toEqual(facts(await model.generate(prompt, options).result()));
    // The same changes again: only what is new is taken in, and traced.
    const longer = [...prompt, ...plain.ids, 5];
    const again = await session.generate(longer, { ...options, trace: { attentions: [0], prompt: true } }).result();
    expect(again.traces![0]!.from).toBeGreaterThanOrEqual(64);
    session.dispose();
  });

  it.each<[string, unknown, RegExp]>([
    ['no layer', { trace: { attentions: [2] } }, /trace\.attentions; expected numbers from 0 to 1; found 2/],
    ['no state', { trace: { hiddenStates: [3] } }, /trace\.hiddenStates; expected numbers from 0 to 2; found 3/],
    ['no head', { trace: { attentions: [0], heads: [2] } }, /trace\.heads; expected numbers from 0 to 1; found 2/],
    ['heads of nothing', { trace: { hiddenStates: [0], heads: [0] } }, /trace\.heads/],
    ['nothing', { trace: {} }, /nothing to trace/],
    ['a text', { trace: { crossAttentions: true } }, /trace\.crossAttentions/],
    ['a wrong name', { trace: { attention: true } }, /unknown option trace\.attention.*Did you mean trace\.attentions/],
    ['not a list', { trace: { attentions: 3 } }, /trace\.attentions/],
    ['a short vector', { steer: [{ layer: 0, vector: [1, 2] }] }, /steer\[0\]\.vector; expected 32 numbers; found 2/],
    ['NaN', { steer: [{ layer: 0, vector: new Float32Array(32).fill(Number.NaN) }] }, /steer\[0\]\.vector\[0\]/],
    ['a layer', { steer: [{ layer: 3, vector: new Float32Array(32) }] }, /steer\[0\]\.layer/],
    ['no vector', { steer: [{ layer: 3 }] }, /steer\[0\]\.vector/],
    ['too much', { steer: [{ layer: 0, vector: Array(32).fill(3e38), scale: 10 }] }, /steer\[0\]; expected a sum/],
    ['an object', { steer: { layer: 0, vector: [] } }, /steer is not usable; expected an array/],
    ['a mask', { maskHeads: [{ layer: 0, heads: [2] }] }, /maskHeads\[0\]\.heads; expected numbers from 0 to 1/],
    ['a masked layer', { maskHeads: [{ layer: 9, heads: [0] }] }, /maskHeads\[0\]\.layer/],
    ['cross', { maskHeads: [{ layer: 0, heads: [0], attention: 'cross' }] }, /maskHeads\[0\]\.attention/],
  ])('refuses %s', async (_, options, message) => {
    const error = await model
      .generate([1, 2, 3], options as GenerateOptions)
      .result()
      .catch((e: unknown) => e);
    expect(error).toBeInstanceOf(OptionError);
    expect((error as Error).message).toMatch(message);
  });
});

describe('many kinds of requests', () => {
  it('more programs than are kept ready, at once, and with beams', async () => {
    const model = await randomModel({ config: { ...tinyConfig, num_hidden_layers: 3 } });
    const prompt = promptOf(20);
    const options: GenerateOptions = { greedy: true, maxTokens: 4, ignoreEos: true };
    const kinds = Array.from({ length: 40 }, (_, i): GenerateOptions => {
      const bits = [0, 1, 2, 3].filter((b) => (i + 1) & (1 << b));
      if (i >= 15) return { ...options, maskHeads: bits.slice(0, 1).map((b) => ({ layer: b % 3, heads: [i % 2] })) };
      return { ...options, trace: { hiddenStates: bits } };
    });
    const alone = [];
    for (const kind of kinds) alone.push((await model.generate(prompt, kind).result()).ids);
    const together = await Promise.all(kinds.map((kind) => model.generate(prompt, kind).result()));
    expect(together.map((r) => r.ids)).toEqual(alone);
    const traces = await Promise.all(
      Array.from({ length: 40 }, (_, i) =>
        model.trace(prompt, { hiddenStates: [i % 4], attentions: [i % 3], heads: [i % 2] }),
      ),
    );
    expect(traces.map((t) => [...t.hiddenStates.keys()])).toEqual(traces.map((_, i) => [i % 4]));

    const steer = [{ layer: 1, vector: noise(32, 2) }];
    const [beams, same, plain] = await Promise.all([
      model.generate(prompt, { ...options, numBeams: 3, steer }).result(),
      model.generate(prompt, { ...options, numBeams: 3, steer: [{ layer: 1, vector: new Float32Array(32) }] }).result(),
      model.generate(prompt, { ...options, numBeams: 3 }).result(),
    ]);
    expect(same.ids).toEqual(plain.ids);
    expect(beams.ids).not.toEqual(plain.ids);
    await model.dispose();
  });
});
