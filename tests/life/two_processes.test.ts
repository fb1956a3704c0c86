import { cpus } from 'node:os';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { builtInModel } from '../../lib/tasks/load.js';
import { TempFolder } from '../support/bytes.js';
import { runChild } from './child.js';
import { writeQwen } from './qwen_shape.js';

interface Tokens {
  /** Ms that the process was ready too late. */
  readonly late: number;
  readonly perSecond: readonly number[];
}

const [windows, windowMs] = [4, 400];

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1]!;

/** Tokens per second of this many processes that decode at the same time. */
async function decoding(path: string, processes: number): Promise<number[]> {
  const start = Date.now() + 1200 + 600 * processes;
  const children = Array.from({ length: processes }, () =>
    runChild('tokens.mjs', [path, String(start), String(windows), String(windowMs)]),
  );
  return (await Promise.all(children)).map(({ result, stderr }) => {
    expect(stderr).toBe('');
    const { late, perSecond } = result as Tokens;
    // Windows that the others did not share do not count.
    return median(perSecond.slice(0, Math.max(1, windows - Math.ceil(late / windowMs))));
  });
}

describe.skipIf(cpus().length < 2)('two processes on the same cores, two threads each', () => {
  let folder: TempFolder;
  beforeAll(() => {
    folder = new TempFolder();
    const sizes = { vocab_size: 4096, hidden_size: 512, intermediate_size: 2048, num_attention_heads: 8 };
    writeQwen(folder.path, { ...sizes, num_hidden_layers: 4, bos_token_id: 1, eos_token_id: 2 });
  });
  afterAll(() => folder?.dispose());

  // The built-in model: steps of a fraction of a millisecond, where a barrier that spins against others would show most.
  it.each([
    ['the built-in model', () => builtInModel()],
    ['a model that memory bounds', () => folder.path],
  ])('%s: throughput drops in proportion, does not collapse', { timeout: 90_000 }, async (_, path) => {
    let seen: { alone: number; each: number[] }[] = [];
    for (let run = 0; run < 2; run++) {
      // What a busy machine gives changes: alone before and after.
      const before = (await decoding(path(), 1))[0]!;
      const each = await decoding(path(), 2);
      const alone = Math.min(before, (await decoding(path(), 1))[0]!);
      seen = [...seen, { alone, each }];
      expect(alone).toBeGreaterThan(0);
      if (Math.min(...each) >= 0.3 * alone && each[0]! + each[1]! >= 0.7 * alone) return;
    }
    expect.fail(`tokens per second: ${JSON.stringify(seen)}`);
  });
});
