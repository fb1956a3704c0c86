import { expect, it } from 'vitest';
import { AbortError, InputError } from '../../lib/errors.js';
import { fewAtOnce } from '../../lib/tasks/few_at_once.js';
import { load } from '../../lib/tasks/load.js';
import { fixture } from '../support/fixtures.js';

const soon = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 1));

it('gives results in order with no more than so many under way', async () => {
  let [running, most] = [0, 0];
  const list = Array.from({ length: 20 }, (_, i) => i);
  const found = await fewAtOnce(list, 3, undefined, async (i) => {
    most = Math.max(most, ++running);
    if (i === 0) list.length = 0; // the caller's own list is not looked at again
    for (let k = 0; k < 1 + ((7 * i) % 4); k++) await soon();
    running--;
    return 2 * i;
  });
  expect(found).toEqual(Array.from({ length: 20 }, (_, i) => 2 * i));
  expect(most).toBe(3);
});

it('begins nothing more after a failure, and stops what runs', async () => {
  const begun: number[] = [];
  const stopped: boolean[] = [];
  const call = fewAtOnce([0, 1, 2, 3, 4, 5], 2, undefined, async (i, signal) => {
    begun.push(i);
    if (i === 1) throw new InputError('bad');
    await soon();
    await soon();
    stopped.push(signal.aborted);
  });
  await expect(call).rejects.toThrow(InputError);
  for (let k = 0; k < 20; k++) await soon();
  expect(begun).toEqual([0, 1]);
  expect(stopped).toEqual([true]);
  await expect(fewAtOnce([], 2, undefined, () => soon())).rejects.toThrow(InputError);
});

it('a long list of Whisper is read a few at a time, each result as alone', async () => {
  const { folder } = fixture('whisper', 'transcribe');
  await using model = await load(folder, { task: 'transcribe', threads: 1 });
  const clip = Float32Array.from({ length: 8000 }, (_, i) => 0.3 * Math.sin(i / 7));
  let [read, done] = [0, 0];
  // The samples are asked for when an input is read.
  const inputs = Array.from({ length: 20 }, () => ({
    sampleRate: 16_000,
    get samples(): Float32Array {
      read++;
      return clip;
    },
  }));
  const call = model.transcribe(inputs).then((found) => {
    done = found.length;
    return found;
  });
  for (let k = 0; k < 3; k++) await new Promise((resolve) => setImmediate(resolve));
  const touched = read; // by the inputs that were begun at once
  const found = await call;
  expect(done).toBe(20);
  expect(touched).toBeGreaterThan(0);
  expect(touched).toBeLessThanOrEqual((8 / 20) * read);
  expect(found).toEqual(Array(20).fill(await model.transcribe(clip)));
  const gone = new AbortController();
  const late = model.transcribe(inputs, { signal: gone.signal });
  gone.abort();
  await expect(late).rejects.toThrow(AbortError);
});
