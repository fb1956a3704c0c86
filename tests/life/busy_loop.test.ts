import { afterAll, beforeAll, expect, it } from 'vitest';
import { TempFolder } from '../support/bytes.js';
import { runChild } from './child.js';
import { writeQwen } from './qwen_shape.js';

interface Gaps {
  readonly p50: number;
  readonly p99: number;
}

let folder: TempFolder;
beforeAll(() => {
  folder = new TempFolder();
  // About 200 MB of weights: a step lasts some 20 ms, as one of a small language model does.
  const sizes = { vocab_size: 8192, hidden_size: 768, intermediate_size: 3072, num_attention_heads: 12 };
  writeQwen(folder.path, { ...sizes, num_hidden_layers: 12, bos_token_id: 1, eos_token_id: 2 });
});
afterAll(() => folder?.dispose());

// 2 is what a free machine stays below; others that run meanwhile make single steps longer.
it('tokens come evenly while the event loop is busy for 2 ms in every 10', { timeout: 90_000 }, async () => {
  const seen: Gaps[] = [];
  for (let run = 0; run < 3; run++) {
    const child = await runChild('tokens.mjs', [folder.path, String(Date.now() + 1500), '1', '3000', '2']);
    expect(child.stderr).toBe('');
    const gaps = child.result as Gaps;
    seen.push(gaps);
    expect(gaps.p50).toBeGreaterThan(0);
    if (gaps.p99 <= 3 * gaps.p50) return;
  }
  expect.fail(`ms between tokens: ${JSON.stringify(seen)}`);
});
