import { describe, expect, it } from 'vitest';
import { checkBench } from '../../lib/bench/options.js';
import { buildRandom } from '../../lib/bench/random_model.js';
import { arithmeticOf, between } from '../../lib/bench/report.js';
import { type Arrival, type Runner, runSection } from '../../lib/bench/sections.js';
import { shapeConfig, shapeNames } from '../../lib/bench/shapes.js';
import { quantile, spread } from '../../lib/bench/statistics.js';
import { columns, short } from '../../lib/bench/text.js';
import { countWork, decodeOperations, prefillOperations } from '../../lib/bench/work.js';
import { stepProgram } from '../../lib/engine/programs.js';
import { OptionError } from '../../lib/errors.js';

const ceilings = { stream: 40, f32: 500, bf16: 1000, int8: 2000 };

/** Gives each sequence its arrivals, whatever is asked. */
function fakeRunner(sequences: readonly (readonly Arrival[])[]): Runner {
  return { vocab: 1000, run: async () => sequences };
}

describe('shapes', () => {
  it.each(shapeNames)('%s builds, with random weights', (name) => {
    const built = buildRandom(shapeConfig(name), name, 'q8_0');
    const work = countWork(stepProgram(built));
    expect(work.dtype).toBe('q8_0');
    expect(work.attention).toHaveLength(built.layers);
    expect(work.stepBytes).toBeGreaterThan(((work.rowMacs + work.logitMacs) * 34) / 32);
  });

  it('counts what the published sizes say', () => {
    const of = (name: string, quant: 'q8_0' | 'bf16'): ReturnType<typeof countWork> =>
      countWork(stepProgram(buildRandom(shapeConfig(name), name, quant)));
    // Bytes of llama.cpp's files, tied head once.
    expect(of('llama-3.2-1b', 'q8_0').stepBytes / 1e9).toBeCloseTo(1.313, 3);
    expect(of('llama-3.2-1b', 'bf16').stepBytes / 1e9).toBeCloseTo(2.472, 3);
    expect(of('qwen2.5-0.5b', 'q8_0').stepBytes / 1e9).toBeCloseTo(0.525, 3);
    const llama = of('llama-3.2-1b', 'q8_0');
    expect(llama.rowMacs).toBe(16 * (2048 * 3072 + 2048 * 2048 + 3 * 2048 * 8192));
    expect(llama.logitMacs).toBe(128_256 * 2048);
    expect((prefillOperations(llama, 512) - 2 * llama.logitMacs) / 512 / 1e9).toBeCloseTo(1.98, 2);
    expect(decodeOperations(llama, 0)).toBe(2 * (llama.rowMacs + llama.logitMacs));
  });

  it('counts windows in attention', () => {
    const work = { stepBytes: 0, rowMacs: 0, logitMacs: 0, attention: [{ width: 1, window: 3 }], dtype: 'f32' };
    // Rows see 1, 2, 3, 3, 3 keys.
    expect(prefillOperations(work, 5)).toBe(2 * 2 * 12);
    expect(prefillOperations(work, 2)).toBe(2 * 2 * 3);
    expect(decodeOperations(work, 100)).toBe(2 * 2 * 3);
  });
});

describe('sections', () => {
  const decode = { kind: 'decode', batch: 2, prompt: 16, tokens: 4 } as const;

  it('counts from when the last sequence has begun', async () => {
    const at = (...ms: number[]): Arrival[] => ms.map((m) => ({ ms: m, delivery: m }));
    const sample = await runSection(fakeRunner([at(10, 40, 50, 60), at(30, 40, 50, 60)]), decode, 1);
    expect(sample.firstTokenMs).toBe(30);
    expect(sample.tokensPerSecond).toBeCloseTo((1000 * 6) / 30, 9);
    expect(sample.interTokenMs).toEqual([30, 10, 10, 10, 10, 10]);
  });

  it('divides a gap among the ids that arrive together', async () => {
    const arrivals = [0, 20, 20, 20, 60].map((ms) => ({ ms, delivery: ms }));
    const sample = await runSection(fakeRunner([arrivals]), { ...decode, batch: 1, tokens: 5 }, 1);
    expect(sample.interTokenMs).toEqual([20 / 3, 20 / 3, 20 / 3, 40]);
  });

  it('says when what counts begins: before a prefill, in a decode when its runner says so', async () => {
    const seen: string[] = [];
    const arrivals = [0, 20, 40, 60].map((ms) => ({ ms, delivery: ms }));
    const runner: Runner = {
      vocab: 1000,
      run: async (_, tokens, begun) => {
        seen.push(`run ${tokens}`);
        begun?.();
        return [arrivals, arrivals];
      },
    };
    await runSection(runner, { kind: 'prefill', batch: 1, prompt: 9, tokens: 1 }, 1, () => seen.push('begun'));
    await runSection(runner, decode, 1, () => seen.push('begun'));
    expect(seen).toEqual(['begun', 'run 1', 'run 4', 'begun']);
  });

  it('takes prefill from the first id', async () => {
    const sample = await runSection(
      fakeRunner([[{ ms: 250, delivery: 1 }]]),
      { kind: 'prefill', batch: 1, prompt: 500, tokens: 1 },
      1,
    );
    expect(sample).toEqual({ tokensPerSecond: 2000, firstTokenMs: 250, interTokenMs: [] });
  });
});

describe('figures', () => {
  it('medians, quantiles and ranges', () => {
    expect(spread([3, 1, 2])).toEqual({ median: 2, min: 1, max: 3, samples: [3, 1, 2] });
    expect(spread([])).toBeUndefined();
    expect(quantile([1, 2, 3, 4], 0.5)).toBe(2.5);
    expect(quantile([...Array(101).keys()], 0.99)).toBeCloseTo(99, 9);
    expect(quantile([], 0.5)).toBeNaN();
    expect(between(ceilings, { stream: 50, f32: 400, bf16: null, int8: 2200 })).toEqual({
      ...{ stream: 45, f32: 450, bf16: null, int8: 2100 },
    });
  });

  it('the arithmetic that a type could use', () => {
    expect(arithmeticOf('q8_0', undefined, ceilings)).toBe('int8');
    expect(arithmeticOf('bf16', 'auto', ceilings)).toBe('bf16');
    expect(arithmeticOf('f16', undefined, ceilings)).toBe('f32');
    expect(arithmeticOf('q4_k', 'f32', ceilings)).toBe('f32');
    expect(arithmeticOf('q4_k', undefined, { ...ceilings, int8: null })).toBe('f32');
  });

  it('short numbers and columns', () => {
    expect([1234.5, 12.345, 0.12345, 0, Number.NaN].map(short)).toEqual(['1235', '12.3', '0.123', '0.000', '-']);
    expect(
      columns([
        ['a', 'bb', ''],
        ['ccc', 'd', ''],
      ]),
    ).toBe('a    bb\nccc  d\n');
  });

  it('a shape may be compared with rivals, in any type', () => {
    const made = checkBench({ shape: 'gpt2', quant: 'q4_k_m', rivals: true });
    expect(made).toMatchObject({ shape: 'gpt2', quant: 'q4_k_m', rivals: true });
  });

  it('options get their defaults, each number once', () => {
    const made = checkBench({ shape: 'gpt2', batch: [4, 1, 4] });
    expect(made).toMatchObject({ prompt: 512, generate: 128, batch: [4, 1], repeat: 3, device: 'cpu' });
    expect(made.threads).toBeGreaterThan(0);
  });

  it.each([
    [{}, 'nothing to measure'],
    [{ model: 'x', shape: 'gpt2' }, 'exclude each other'],
    [{ shape: 'gpt3' }, 'no shape gpt3; expected gpt2, .*llama-3.1-8b'],
    [{ shape: 'toString' }, 'no shape toString'],
    [{ shape: 'gpt2', quant: 'q9' }, 'no weight type q9; expected f32, .*q8_0'],
    [{ shape: 'gpt2', batch: [] }, 'bad batch'],
    [{ shape: 'gpt2', batch: [1, 0] }, 'bad batch; expected an integer from 1'],
    [{ shape: 'gpt2', generate: 1 }, 'bad generate; expected an integer from 2'],
    [{ shape: 'gpt2', prompt: 0 }, 'bad prompt'],
    [{ shape: 'gpt2', prompt: 1.5 }, 'bad prompt'],
    [{ shape: 'gpt2', repeat: 0 }, 'bad repeat'],
    [{ shape: 'gpt2', context: -1 }, 'bad context'],
    [{ shape: 'gpt2', threads: 0 }, 'bad threads'],
    [{ shape: 'gpt2', svg: 'tests' }, 'svg: it is no file'],
    [{ shape: 'gpt2', json: '' }, 'json: the name is empty'],
    [{ model: 'models/verdant-tiny', rivals: true }, 'expected a .gguf file as MODEL, or --shape'],
    [{ model: 'x.gguf', rivals: true, quant: 'q8_0' }, 'exclude each other'],
    [{ shape: 'gpt2', rivalPath: '.' }, 'rivalPath is for --rivals'],
  ] as const)('refuses %j', (request, message) => {
    const found = expect(() => checkBench(request));
    found.toThrow(OptionError);
    found.toThrow(new RegExp(message));
  });
});
