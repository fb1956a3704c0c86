import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { traceModel } from '../../lib/tasks/trace.js';
import { openCheckpoint } from '../../lib/weights/checkpoint.js';
import { fixtures } from '../support/fixtures.js';
import { testDevices } from '../support/run_op.js';
import { error, readTensors } from '../support/safetensors.js';

/** Largest |Δ| as a share of the largest expected value: the promise of every architecture. */
const kTolerance = 1e-4;

for (const kind of ['models', 'gguf', 'encoders', 'seq2seq'] as const) {
  describe(`${kind}: logits, hidden states and attention maps are those of transformers`, () => {
    for (const { name, folder } of fixtures(kind)) {
      for (const device of testDevices()) {
        it(`${name} on ${device}`, async () => {
          const checkpoint = await openCheckpoint(kind === 'gguf' ? join(folder, 'model.gguf') : folder);
          const inputs = await readTensors(join(folder, 'inputs.safetensors'));
          const expected = await readTensors(join(folder, 'expected.safetensors'));
          const traced = await traceModel(
            checkpoint,
            {
              inputIds: inputs.get('input_ids')!,
              attentionMask: inputs.get('attention_mask'),
              tokenTypeIds: inputs.get('token_type_ids'),
              decoderInputIds: inputs.get('decoder_input_ids'),
              decoderAttentionMask: inputs.get('decoder_attention_mask'),
            },
            { device, threads: 1 },
          );
          expect([...traced.keys()].sort()).toEqual([...expected.keys()].sort());
          for (const [output, { shape, data }] of expected) {
            const made = traced.get(output)!;
            expect(made.shape, output).toEqual(shape);
            expect(error(made.data, data), output).toBeLessThan(kTolerance);
            // Padding and what masks and windows hide is exactly zero in both.
            expect(
              data.every((v, i) => v !== 0 || made.data[i] === 0 || !output.startsWith('attentions.')),
              output,
            ).toBe(true);
          }
        });
      }
    }
  });
}
