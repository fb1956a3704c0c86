import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TempFolder } from '../support/bytes.js';
import { runChild } from './child.js';
import { writeQwen } from './qwen_shape.js';

const llama = join(import.meta.dirname, '../fixtures/models/llama');
const builtIn = join(import.meta.dirname, '../../models/verdant-tiny');

interface Leaks {
  readonly slopeKiB: number;
  readonly firstKiB: number;
  readonly peakKiB: number;
  readonly before: object;
  readonly after: object;
}

describe('loading again and again', () => {
  const gc = ['--expose-gc', '--max-semi-space-size=1'];

  // The first 200 warm up: compiled code and the heap's own sizes settle.
  it('200 times with dispose: memory, descriptors and threads stay', { timeout: 120_000 }, async () => {
    const child = await runChild('leaks.mjs', [llama, 'dispose', '400'], { node: gc, timeoutMs: 110_000 });
    expect(child.stderr).toBe('');
    const result = child.result as Leaks;
    console.log('load and dispose, 200 times:', result);
    expect(result.slopeKiB).toBeLessThanOrEqual(4);
    expect(result.after).toEqual(result.before);
  });

  it('50 times without dispose: what is dropped is collected', async () => {
    const child = await runChild('leaks.mjs', [builtIn, 'drop', '50'], { node: gc });
    expect(child.stderr).toBe('');
    const result = child.result as Leaks;
    console.log('load and drop, 50 times:', result);
    // One model of this size holds about 14 MiB: weights, tables, cache and arena; without collection it were 50 of them.
    expect(result.peakKiB - result.firstKiB).toBeLessThan(64 * 1024);
    expect(result.after).toEqual(result.before);
  });
});

describe('the end of the process', () => {
  let folder: TempFolder;
  beforeAll(() => {
    folder = new TempFolder();
    // Large enough that its load is still going on when it is interrupted.
    writeQwen(folder.path, { num_hidden_layers: 4, vocab_size: 20000, bos_token_id: 1, eos_token_id: 2 });
  });
  afterAll(() => folder?.dispose());

  const path = (state: string): string => (state === 'loading' ? folder.path : builtIn);
  for (const state of ['loading', 'generating', 'idle']) {
    it(`process.exit while ${state}: its code, at once`, async () => {
      const child = await runChild('exit.mjs', [path(state), state, 'exit']);
      expect([child.code, child.signal, child.stderr]).toEqual([7, null, '']);
      expect(child.stdout).toBe('READY\n');
      expect(child.sinceLastLineMs).toBeLessThan(500);
    });

    it(`an uncaught exception while ${state}: code 1 and its message`, async () => {
      const child = await runChild('exit.mjs', [path(state), state, 'throw']);
      expect([child.code, child.signal]).toEqual([1, null]);
      expect(child.stderr).toContain('Error: on purpose');
      expect(child.sinceLastLineMs).toBeLessThan(500);
    });

    it(`SIGTERM while ${state}: the signal ends it, no handler of ours`, async () => {
      const onLine = (line: string, process: { kill(signal: NodeJS.Signals): boolean }): void => {
        if (line === 'READY') process.kill('SIGTERM');
      };
      const child = await runChild('exit.mjs', [path(state), state, state === 'idle' ? 'end' : 'wait'], { onLine });
      // An idle model does not keep the process: it may be gone before the signal comes.
      expect(child.signal === 'SIGTERM' || (state === 'idle' && child.code === 0)).toBe(true);
      expect(child.stderr).toBe('');
      expect(child.sinceLastLineMs).toBeLessThan(500);
    });

    it(`natural end while ${state}: work goes on to its end, code 0`, async () => {
      const child = await runChild('exit.mjs', [path(state), state, 'end']);
      expect([child.code, child.signal, child.stderr]).toEqual([0, null, '']);
      // A loaded model that nobody uses keeps nothing alive.
      if (state === 'idle') expect(child.sinceLastLineMs).toBeLessThan(500);
    });
  }
});

describe('worker threads that are terminated at any time', () => {
  for (const where of ['workers', 'main']) {
    it(
      where === 'main' ? '40 workers while the main thread generates too' : '40 workers, the main thread idle',
      async () => {
        const child = await runChild('workers.mjs', [builtIn, '40', where, '7']);
        expect(child.stderr).toBe('');
        expect([child.code, child.signal]).toEqual([0, null]);
        const { loaded, answers, different } = child.result as { loaded: number; answers: number; different: number };
        console.log(`40 workers, ${where}: ${loaded} loaded, ${answers} answers`);
        expect(loaded).toBeGreaterThan(5);
        expect(answers).toBeGreaterThan(5);
        expect(different).toBe(1);
      },
    );
  }
});
