/** `trace()` of a loaded Whisper, against what Hugging Face transformers gives. */
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readAudio } from '../../lib/audio/read.js';
import { ContextOverflowError, DisposedError, InputError, OptionError } from '../../lib/errors.js';
import type { SpectrogramInput, WhisperTrace } from '../../lib/tasks/inspect_whisper.js';
import { load } from '../../lib/tasks/load.js';
import { type TraceTensor, traceModel } from '../../lib/tasks/trace.js';
import type { WhisperModel } from '../../lib/tasks/transcribe_whisper.js';
import { openCheckpoint } from '../../lib/weights/checkpoint.js';
import { fixture } from '../support/fixtures.js';
import { error, readTensors } from '../support/safetensors.js';

const { folder: talking } = fixture('whisper', 'transcribe');
const tolerance = 1e-4;

describe('the committed fixture', () => {
  const { folder } = fixture('whisper', 'whisper');
  let [model, temp]: [WhisperModel, string] = [undefined!, undefined!];
  beforeAll(async () => {
    temp = await mkdtemp(join(tmpdir(), 'verdant-whisper-'));
    await cp(folder, temp, { recursive: true });
    await cp(join(talking, 'tokenizer.json'), join(temp, 'tokenizer.json'));
    // 38 frames of 7 bands.
    const preprocessor = { feature_size: 7, chunk_length: 1, hop_length: 421 };
    await writeFile(join(temp, 'preprocessor_config.json'), JSON.stringify(preprocessor));
    model = (await load(temp, { task: 'transcribe', threads: 1, compute: 'f32' })) as WhisperModel;
  });
  afterAll(async () => {
    await model.dispose();
    await rm(temp, { recursive: true });
  });

  it.each([0, 1])('row %i: all maps, hidden states and logits', async (row) => {
    const expected = await readTensors(join(folder, 'expected.safetensors'));
    const inputs = await readTensors(join(folder, 'inputs.safetensors'));
    const features = inputs.get('input_features')!;
    const [, bands, frames] = features.shape as [number, number, number];
    const data = features.data.subarray(row * bands * frames, (row + 1) * bands * frames);
    const all = inputs.get('decoder_input_ids')!;
    const ids = [...all.data.subarray(row * all.shape[1]!, (row + 1) * all.shape[1]!)];
    expect(ids[0]).toBe(model.config.start);
    const own = { inputFeatures: { shape: [bands, frames], data } };
    const everything = { attentions: true, hiddenStates: true, crossAttentions: true } as const;
    const trace = await model.trace(own, {
      ...{ ...everything, encoderAttentions: true, encoderHiddenStates: true, target: ids.slice(1) },
    });
    expect([...trace.ids]).toEqual(ids);
    const seen = new Set<string>();
    const near = (name: string, { shape, data: made }: TraceTensor): void => {
      const { shape: whole, data: wanted } = expected.get(name)!;
      expect(shape, name).toEqual(whole.slice(1));
      expect(error(made, wanted.subarray(row * made.length, (row + 1) * made.length)), name).toBeLessThan(tolerance);
      seen.add(name);
    };
    near('logits', trace.logits!);
    for (const [i, t] of trace.attentions) near(`decoder_attentions.${i}`, t);
    for (const [i, t] of trace.hiddenStates) near(`decoder_hidden_states.${i}`, t);
    for (const [i, t] of trace.crossAttentions) near(`cross_attentions.${i}`, t);
    for (const [i, t] of trace.source.attentions) near(`encoder_attentions.${i}`, t);
    for (const [i, t] of trace.source.hiddenStates) near(`encoder_hidden_states.${i}`, t);
    expect([...seen, 'encoder_last_hidden_state'].sort()).toEqual([...expected.keys()].sort());
    expect(trace.source.times).toHaveLength(19);
    expect(trace.source.times[3]).toBeCloseTo((3 * 2 * 421) / 16_000, 12);
  });

  it('refuses other spectrograms', async () => {
    const of = (shape: number[], value = 0): SpectrogramInput => ({
      inputFeatures: { shape, data: new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(value) },
    });
    for (const bad of [of([7, 37]), of([1, 7, 38]), of([7, 38], Number.NaN), { inputFeatures: undefined as never }])
      await expect(model.trace(bad)).rejects.toBeInstanceOf(InputError);
  });
});

describe('audio', () => {
  let [model, audio]: [WhisperModel, Float32Array] = [undefined!, undefined!];
  beforeAll(async () => {
    model = (await load(talking, { task: 'transcribe', threads: 1, compute: 'f32' })) as WhisperModel;
    audio = (await readAudio(join(talking, 'audio.wav'), { sampleRate: 16_000 })).slice(0, 12_000);
  });
  afterAll(() => model.dispose());

  it('is traced as the window that it is, after the ids that transcribe() begins with', async () => {
    const [de, task, none] = [277, 280, 284];
    const trace = await model.trace(audio, {
      ...{ language: 'German', target: 'a b', crossAttentions: [1], heads: [3, 0], encoderHiddenStates: [1] },
    });
    expect([...trace.ids.subarray(0, 4)]).toEqual([model.config.start, de, task, none]);
    expect(trace.tokens![1]).toBe('<|de|>');
    expect(model.tokenizer.decode(trace.ids.subarray(4))).toBe('a b');
    expect(trace.crossAttentions.get(1)!.shape).toEqual([2, trace.ids.length, 50]);
    const features = (await readTensors(join(talking, 'spectrograms.safetensors'))).get('short')!;
    expect(features.shape).toEqual([16, 100]);
    // What verdant trace gives of the same spectrogram and ids.
    const ids = { shape: [1, trace.ids.length], data: trace.ids };
    const batch = { inputFeatures: { shape: [1, 16, 100], data: features.data }, decoderInputIds: ids };
    const whole = await traceModel(await openCheckpoint(talking), batch, { threads: 1 });
    const own = await model.trace({ inputFeatures: features }, { language: 'de', target: 'a b' });
    expect([...own.logits!.data]).toEqual([...whole.get('logits')!.data]);
  });

  it('hears the language that transcribe() hears, and the task and times that are asked for', async () => {
    const { language } = await model.transcribe(audio);
    const trace = await model.trace(audio, { task: 'translate', timestamps: true });
    expect([...trace.ids]).toEqual([model.config.start, model.config.languages.get(language!)!, 279]);
    expect(trace.logits!.shape).toEqual([3, 336]);
    expect(trace.source.hiddenStates.size).toBe(0);
    expect(model.host.engine.load).toMatchObject({ blocksUsed: 0, textBlocksUsed: 0 });
  });

  it('steered and masked, the decoder says something else', async () => {
    const plain = await model.trace(audio, { language: 'en' });
    const steer = [{ layer: 1, vector: new Float32Array(24) }];
    const same = await model.trace(audio, { language: 'en', steer });
    expect([...same.logits!.data]).toEqual([...plain.logits!.data]);
    const maskHeads = [{ layer: 1, heads: [0, 2], attention: 'cross' as const }];
    const masked = await model.trace(audio, { language: 'en', maskHeads });
    expect(error(masked.logits!.data, plain.logits!.data)).toBeGreaterThan(1e-4);
  });

  it('refuses what it cannot do', async () => {
    const refused = async (promise: Promise<WhisperTrace>, kind: new (...args: never[]) => Error): Promise<void> =>
      expect(promise).rejects.toBeInstanceOf(kind);
    await refused(model.trace(audio, { logits: false }), OptionError);
    await refused(model.trace(audio, { attentions: [2] }), OptionError);
    await refused(model.trace(audio, { encoderAttentions: [1] }), OptionError);
    await refused(model.trace(audio, { language: 'Klingon' }), OptionError);
    await refused(model.trace(audio, { numBeams: 2 } as object), OptionError);
    await refused(model.trace(audio, { target: [336] }), InputError);
    await refused(model.trace(audio, { target: [] }), InputError);
    await refused(model.trace(audio, { target: Array(24).fill(5) }), ContextOverflowError);
    await refused(model.trace(new Float32Array(16_001)), InputError);
    await refused(model.trace(new Float32Array(0)), InputError);
    const other = (await load(talking, { task: 'transcribe', threads: 1 })) as WhisperModel;
    await other.dispose();
    await refused(other.trace(audio), DisposedError);
  });
});
