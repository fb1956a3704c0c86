/** Long texts take near-linear time, and neither loading nor encoding blocks the event loop. */
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { describe, expect, it } from 'vitest';
import { InputError } from '../../lib/errors.js';
import { loadTokenizer } from '../../lib/text/tokenizer.js';
import { sharedModels } from '../support/shared.js';

const shared = sharedModels();
const fixtures = join(import.meta.dirname, 'fixtures');
const mebibyte = 1024 * 1024;
const prose = 'The mole dug a long tunnel under the garden, and nobody heard it. '.repeat(mebibyte / 66);
const texts: [string, string][] = [
  ['a', 'a'.repeat(mebibyte)],
  ['_', '_'.repeat(mebibyte)],
  ['spaces', ' '.repeat(mebibyte)],
  ['prose', prose],
];
const folders = ['byte_bpe', 'fallback_bpe', 'unigram', 'wordpiece'].map((name) => join(fixtures, name));
const real = ['gpt2', 'qwen2', 'llama2', 't5-small', 'all-MiniLM-L6-v2'];
if (shared !== undefined) folders.push(...real.map((name) => join(shared, 'tokenizers', name)));

describe.each(folders)('one MiB with %s', (folder) => {
  it('takes seconds at most', async () => {
    const tok = await loadTokenizer({ folder });
    await tok.encode('warm');
    const times: Record<string, number> = {};
    for (const [name, text] of texts) {
      const start = performance.now();
      const ids = await tok.encode(text, { addSpecial: false });
      times[name] = Math.round(performance.now() - start);
      // Spaces or one long word may be few tokens; prose never is.
      if (name === 'prose') expect(ids.length).toBeGreaterThan(100_000);
    }
    if (process.env.VERDANT_PRINT_TIMES !== undefined) console.log(folder.split('/').at(-1), times);
    for (const time of Object.values(times)) expect(time).toBeLessThan(10_000);
    tok.close();
  });
});

describe('limits and the event loop', () => {
  it('a text beyond the cap is refused', async () => {
    const tok = await loadTokenizer({ folder: folders[0] as string });
    await expect(tok.encode('a'.repeat(16 * mebibyte + 1))).rejects.toBeInstanceOf(InputError);
    tok.close();
  });

  it.skipIf(shared === undefined)('Qwen2 (150k tokens): loading and encoding leave the loop free', async () => {
    const warm = await loadTokenizer({ folder: folders[0] as string });
    const delay = monitorEventLoopDelay({ resolution: 1 });
    delay.enable();
    const started = performance.now();
    const tok = await loadTokenizer({ folder: join(shared as string, 'tokenizers', 'qwen2') });
    const loaded = performance.now();
    await tok.encode(prose);
    delay.disable();
    const round: number[] = [];
    for (let i = 0; i < 200; i += 1) {
      const start = performance.now();
      await tok.encode('What digs tunnels under the garden, and who hears it at night?');
      round.push(performance.now() - start);
    }
    round.sort((a, b) => a - b);
    const [p99, max] = [delay.percentile(99) / 1e6, delay.max / 1e6];
    if (process.env.VERDANT_PRINT_TIMES !== undefined) {
      console.log({ loadMs: loaded - started, p99, max, shortTextMs: round[100] });
    }
    expect(p99).toBeLessThan(50);
    expect(max).toBeLessThan(500);
    expect(tok.tokenToId('Hello')).toBe(9707);
    tok.close();
    warm.close();
  });
});
