/** Models with bf16 weights on CUDA against the same weights in f32 arithmetic on the CPU. */
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { traceModel } from '../../lib/tasks/trace.js';
import { openCheckpoint } from '../../lib/weights/checkpoint.js';
import { nmse } from '../support/compare.js';
import { fixtures } from '../support/fixtures.js';
import { testDevices } from '../support/run_op.js';
import { readTensors } from '../support/safetensors.js';

const [device] = testDevices();

/** Distance as a share of the length of what is expected, of logits and of each hidden state. */
const kTolerance = 2e-2;

/**
 * Random weights that multiply what rounding of x does: on a CPU in bf16 they lie 2.0e-2 (smollm3, modernbert), 3.8e-2
 * (t5) and 2.6e-2 (marian_two_vocabs, whose encoder's attention rounds as well here) from f32.
 */
const sensitive: ReadonlyMap<string, number> = new Map([
  ['smollm3', 3e-2],
  ['modernbert', 3e-2],
  ['t5', 6e-2],
  ['marian_two_vocabs', 8e-2],
]);

for (const kind of ['models', 'encoders', 'seq2seq'] as const) {
  describe(`${kind} in bf16 are near to f32`, () => {
    it.each(fixtures(kind).map((f) => [f.name, f.folder] as const))('%s', async (name, folder) => {
      const checkpoint = await openCheckpoint(folder);
      const inputs = await readTensors(join(folder, 'inputs.safetensors'));
      const given = {
        inputIds: inputs.get('input_ids')!,
        attentionMask: inputs.get('attention_mask'),
        tokenTypeIds: inputs.get('token_type_ids'),
        decoderInputIds: inputs.get('decoder_input_ids'),
        decoderAttentionMask: inputs.get('decoder_attention_mask'),
      };
      const expected = await traceModel(checkpoint, given, { device: 'cpu', quantize: 'bf16', compute: 'f32' });
      const traced = await traceModel(checkpoint, given, { device: device!, quantize: 'bf16', compute: 'auto' });
      for (const [output, { data }] of expected) {
        if (output.includes('attentions')) continue;
        const error = Math.sqrt(nmse(traced.get(output)!.data, Float64Array.from(data)));
        expect(error, output).toBeLessThan(sensitive.get(name) ?? kTolerance);
      }
      const differ = [...expected].some(([output, { data }]) => traced.get(output)!.data.some((x, i) => x !== data[i]));
      expect(differ).toBe(true); // it is rounded indeed
    });
  });
}
