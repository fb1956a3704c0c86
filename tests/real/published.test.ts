/**
 * Published decoders, encoders and models of speech against the outputs that Hugging Face's and Bumblebee's own tests state. Each
 * needs its checkpoint in the hub's cache: `verdant pull NAME`, then these tests run.
 */
import { expect } from 'vitest';
import { load } from '../../lib/index.js';
import { traceModel } from '../../lib/tasks/trace.js';
import { openCheckpoint } from '../../lib/weights/checkpoint.js';
import { published } from '../support/published.js';

const i64 = (values: readonly number[]) => ({ shape: [1, values.length], data: Int32Array.from(values) });

/** Rows and columns 1 to 3 of (1, rows, cols). */
function corner(value: { readonly shape: readonly number[]; readonly data: ArrayLike<number> }): number[][] {
  const cols = value.shape[2]!;
  return [1, 2, 3].map((r) => [1, 2, 3].map((c) => value.data[r * cols + c]!));
}

function expectNear(found: readonly (readonly number[])[], wanted: readonly (readonly number[])[]): void {
  for (const [r, row] of wanted.entries())
    for (const [c, value] of row.entries()) expect(Math.abs(found[r]![c]! - value)).toBeLessThan(1e-4);
}

await published('google-bert/bert-base-uncased', 'hidden states and logits of masked words', async (path) => {
  const checkpoint = await openCheckpoint(path);
  const ids = [0, 345, 232, 328, 740, 140, 1695, 69, 6078, 1588, 2];
  const masked = { inputIds: i64(ids), attentionMask: i64([0, ...Array<number>(10).fill(1)]) };
  const traced = await traceModel(checkpoint, masked, { device: 'cpu' });
  const states = [...traced.keys()].filter((name) => name.startsWith('hidden_states.'));
  expectNear(corner(traced.get(`hidden_states.${states.length - 1}`)!), [
    [0.4249, 0.1008, 0.7531],
    [0.3771, 0.1188, 0.7467],
    [0.4152, 0.1098, 0.7108],
  ]);
  const words = { inputIds: i64([101, 1996, 3007, 1997, 2605, 2003, 103, 1012, 102]) };
  const { logits } = Object.fromEntries(await traceModel(checkpoint, words, { device: 'cpu' }));
  expectNear(corner(logits!), [
    [-14.724, -14.212, -14.6434],
    [-10.3125, -9.7459, -9.9923],
    [-15.1105, -14.8048, -14.9276],
  ]);
});

await published('openai-community/gpt2', 'the dog, greedily', async (path) => {
  await using model = await load(path, { compute: 'f32' });
  const { ids } = await model.generate([464, 3290], { greedy: true, maxTokens: 18 }).result();
  const written = [373, 1043, 287, 257, 2214, 1474, 262, 16246, 286, 2688, 290, 2688, 27262, 13, 198, 198, 464, 3290];
  expect([...ids]).toEqual(written);
});

await published('facebook/wav2vec2-base-960h', 'silence is no text', async (path) => {
  await using model = await load(path, { task: 'transcribe', compute: 'f32' });
  expect((await model.transcribe(new Float32Array(34_000))).text).toBe('');
});
