/** A trained encoder-decoder of the field: graphemes to phonemes, against an independent float64 reference. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { load } from '../../lib/index.js';
import { traceModel } from '../../lib/tasks/trace.js';
import { openCheckpoint } from '../../lib/weights/checkpoint.js';
import { error } from '../support/safetensors.js';
import { sharedModels } from '../support/shared.js';

interface Golden {
  readonly word: string;
  readonly encoder_ids: readonly number[];
  readonly greedy_ids: readonly number[];
  readonly text: string;
  readonly encoder_last_hidden_first_row: readonly number[];
  /** (steps, vocab): what each id was chosen from. */
  readonly logits: readonly (readonly number[])[];
}

const shared = sharedModels();

describe.skipIf(shared === undefined)('bart-g2p-us', () => {
  const folder = join(shared ?? '', 'bart-g2p-us');
  const goldens = (): readonly Golden[] =>
    (JSON.parse(readFileSync(join(shared!, 'goldens/bart-g2p.json'), 'utf8')) as { items: { us: Golden[] } }).items.us;

  it('logits and encoder states are those of the reference, its greedy ids the best at each place', async () => {
    const checkpoint = await openCheckpoint(folder);
    for (const golden of goldens()) {
      const written = golden.greedy_ids.slice(0, -1);
      const traced = await traceModel(checkpoint, {
        inputIds: { shape: [1, golden.encoder_ids.length], data: golden.encoder_ids },
        decoderInputIds: { shape: [1, written.length], data: written },
      });
      const logits = traced.get('logits')!;
      const vocab = logits.shape[2]!;
      const expected = golden.logits.flat();
      expect(error(logits.data.subarray(0, expected.length), expected), golden.word).toBeLessThan(1e-4);
      const first = traced.get('encoder_last_hidden_state')!.data.subarray(0, 128);
      expect(error(first, golden.encoder_last_hidden_first_row), golden.word).toBeLessThan(1e-4);
      const best = written.map((_, i) => {
        const row = logits.data.subarray(i * vocab, (i + 1) * vocab);
        return row.indexOf(row.reduce((a, b) => Math.max(a, b)));
      });
      // The second id of the goldens is the start of text that generation forces.
      expect(best.slice(1), golden.word).toEqual(golden.greedy_ids.slice(2));
    }
  });

  it('score() is the log-softmax of these logits', async () => {
    await using model = await load(folder, { task: 'translate', compute: 'f32', threads: 1 });
    for (const golden of goldens()) {
      const written = golden.greedy_ids.slice(1);
      const logprobs = await model.scoreTokens(golden.encoder_ids, written);
      for (const [i, id] of written.entries()) {
        const row = golden.logits[i]!;
        const most = Math.max(...row);
        const expected = row[id]! - most - Math.log(row.reduce((sum, x) => sum + Math.exp(x - most), 0));
        expect(Math.abs(logprobs[i]! - expected), `${golden.word} ${i}`).toBeLessThan(1e-3);
      }
    }
  });
});
