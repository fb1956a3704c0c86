import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type CtcModel, type CtcOptions, load, type SpeechModel, type Transcription } from '../../lib/index.js';
import { openCheckpoint } from '../../lib/weights/checkpoint.js';
import { writeSafetensors } from '../../lib/weights/write_safetensors.js';
import { wav } from '../audio/wav.js';
import { fixture } from '../support/fixtures.js';
import { Random } from '../support/random.js';
import { error, readTensors } from '../support/safetensors.js';

/** What transformers makes of a fixture's audio. */
interface Expected {
  readonly text: string;
  readonly words: readonly { text: string; begin: number; end: number }[];
  readonly chunks: readonly { chunkSeconds: number; strideSeconds: number; text: string }[];
}

const rate = 2000;
const names = ['wav2vec2', 'wav2vec2_layer'];
const folderOf = (name: string): string => fixture('speech', name).folder;

async function audioOf(name: string): Promise<Float32Array> {
  return Float32Array.from((await readTensors(join(folderOf(name), 'audio.safetensors'))).get('audio')!.data);
}

async function codeOf(promise: Promise<unknown>): Promise<string | undefined> {
  return promise.then(
    () => undefined,
    (error: { code?: string; name: string }) => error.code ?? error.name,
  );
}

describe.each(names)('%s', (name) => {
  let model: SpeechModel;
  let samples: Float32Array;
  let expected: Expected;
  beforeAll(async () => {
    model = await load(folderOf(name), { task: 'transcribe', threads: 1 });
    samples = await audioOf(name);
    expected = JSON.parse(await readFile(join(folderOf(name), 'transcripts.json'), 'utf8')) as Expected;
  });
  afterAll(() => model.dispose());

  it('text and times of words are those of transformers', async () => {
    const found = await model.transcribe(samples);
    expect(found.text).toBe(expected.text);
    expect(found.duration).toBeCloseTo(samples.length / rate, 9);
    // 20 samples between frames; transformers gives words in the case of the vocabulary.
    expect(found.words.map((w) => [w.text.toUpperCase(), w.start, w.end])).toEqual(
      expected.words.map((w) => [w.text.toUpperCase(), (w.begin * 20) / rate, (w.end * 20) / rate]),
    );
    for (const { confidence } of found.words) {
      expect(confidence).toBeGreaterThan(1 / 33);
      expect(confidence).toBeLessThanOrEqual(1);
    }
    const mean = found.words.reduce((sum, w) => sum + w.confidence, 0) / found.words.length;
    expect(found.confidence).toBeCloseTo(mean, 12);
  });

  it('chunks give the text of the pipeline', async () => {
    for (const { text, ...options } of expected.chunks)
      expect((await model.transcribe(samples, options)).text, JSON.stringify(options)).toBe(text);
    expect(new Set(expected.chunks.map((c) => c.text)).size).toBeGreaterThan(1);
  });

  it('several inputs at once give what each gives alone, in order', async () => {
    const clips = [samples.subarray(0, 900), samples, samples.subarray(3000, 3100), samples.subarray(500, 4500)];
    const options: CtcOptions = { beams: 3 };
    const alone: Transcription[] = [];
    for (const clip of clips) alone.push(await model.transcribe(clip, options));
    expect(await model.transcribe(clips, options)).toEqual(alone);
    expect(await Promise.all(clips.map((clip) => model.transcribe(clip, options)))).toEqual(alone);
  });

  it('beams find a text at least as likely, with times that ascend', async () => {
    const [greedy, wide] = [await model.transcribe(samples), await model.transcribe(samples, { beams: 24 })];
    expect(wide.text).not.toBe(greedy.text);
    let last = 0;
    for (const { start, end } of wide.words) {
      expect(start).toBeGreaterThanOrEqual(last);
      expect(end).toBeGreaterThan(start);
      last = end;
    }
    expect(last).toBeLessThanOrEqual(wide.duration);
  });
});

describe('transcribe', () => {
  let model: SpeechModel;
  let samples: Float32Array;
  let temp: string;
  beforeAll(async () => {
    model = await load(folderOf('wav2vec2_layer'), { task: 'transcribe', threads: 1 });
    samples = await audioOf('wav2vec2_layer');
    temp = await mkdtemp(join(tmpdir(), 'verdant-transcribe-'));
  });
  afterAll(async () => {
    await model.dispose();
    await rm(temp, { recursive: true });
  });

  it('reads files, and resamples', async () => {
    const file = join(temp, 'tone.wav');
    await writeFile(file, wav([samples], rate, { float: true }));
    const expected = await model.transcribe(samples);
    expect(await model.transcribe(file)).toEqual(expected);
    expect(await model.transcribe({ samples, sampleRate: rate })).toEqual(expected);
    const slow = await model.transcribe({ samples, sampleRate: 1000 });
    expect(slow.duration).toBeCloseTo(2 * expected.duration, 2);
  });

  it('chunks of a model whose frames hear only their surroundings give what the whole gives', async () => {
    const folder = join(temp, 'local');
    await cp(folderOf('wav2vec2_layer'), folder, { recursive: true });
    const checkpoint = await openCheckpoint(folder);
    const tensors = await readTensors(join(folder, 'model.safetensors'));
    // Without what attention says a frame depends on its own and the seven frames of the positional convolution.
    await writeSafetensors(
      join(folder, 'model.safetensors'),
      new Map(
        [...checkpoint.tensors.keys()].map((key) => {
          const { shape, data } = tensors.get(key)!;
          return [key, { shape, data: Float32Array.from(data, (v) => (key.includes('out_proj.weight') ? 0 : v)) }];
        }),
      ),
    );
    await writeFile(
      join(folder, 'preprocessor_config.json'),
      JSON.stringify({ do_normalize: false, sampling_rate: rate }),
    );
    await using local = await load(folder, { task: 'transcribe', threads: 1 });
    const whole = await local.transcribe(samples, { chunkSeconds: 0 });
    expect(new Set(whole.text).size).toBeGreaterThan(3);
    for (const [chunkSeconds, strideSeconds] of [
      [1, 0.2],
      [0.31, 0.07],
      [2.2, 0.05],
    ] as const)
      expect(await local.transcribe(samples, { chunkSeconds, strideSeconds })).toEqual(whole);
    // Less than the seven frames' reach: now the seams show.
    const seams = await local.transcribe(samples, { chunkSeconds: 0.2, strideSeconds: 0.01 });
    expect(seams.words.map((w) => w.confidence)).not.toEqual(whole.words.map((w) => w.confidence));
  });

  it('silence is a text, the same at any length of chunk', async () => {
    const silence = await model.transcribe(new Float32Array(rate));
    expect(silence.duration).toBe(1);
    expect(Number.isFinite(silence.confidence)).toBe(true);
  });

  it.each([
    ['nothing', () => new Float32Array(0)],
    ['one sample', () => new Float32Array(1)],
    ['less than a frame hears', () => new Float32Array(29)],
    ['NaN', () => samples.slice(0, 500).fill(Number.NaN, 100, 101)],
    ['infinity', () => samples.slice(0, 500).fill(Number.POSITIVE_INFINITY, 100, 101)],
    ['a file that is not there', () => join(temp, 'absent.wav')],
    ['a number', () => 17],
    ['null', () => null],
    ['undefined', () => undefined],
    ['doubles', () => new Float64Array(500)],
    ['an empty list', () => []],
    ['a list with bad audio', () => [samples, new Float32Array(1)]],
  ])('refuses %s with InputError', async (_, input) => {
    expect(await codeOf(model.transcribe(input() as Float32Array))).toBe('ERR_INPUT');
  });

  it('30 samples make one frame', async () => {
    const random = new Random(1);
    expect((await model.transcribe(random.normal(30))).duration).toBe(0.015);
  });

  it.each([
    [{ beams: 0 }],
    [{ beams: 1.5 }],
    [{ beams: 257 }],
    [{ beams: '4' }],
    [{ chunkSeconds: -1 }],
    [{ chunkSeconds: Number.NaN }],
    [{ chunkSeconds: 0.001 }],
    [{ chunkSeconds: 1, strideSeconds: 0.5 }],
    [{ strideSeconds: 0 }],
    [{ strideSeconds: 1e9 }],
    [{ signal: {} }],
    [{ language: 'en' }],
  ])('refuses %o with OptionError', async (options) => {
    expect(await codeOf(model.transcribe(samples, options as CtcOptions))).toBe('ERR_OPTION');
  });

  it('stops where the signal fires', async () => {
    expect(await codeOf(model.transcribe(samples, { signal: AbortSignal.abort() }))).toBe('ERR_ABORTED');
    const stop = new AbortController();
    const long = new Float32Array(600 * rate).fill(0.1);
    const running = model.transcribe(long, { signal: stop.signal, chunkSeconds: 10 });
    setTimeout(() => stop.abort(), 50);
    expect(await codeOf(running)).toBe('ERR_ABORTED');
    expect((await model.transcribe(samples)).words.length).toBeGreaterThan(0);
  });

  it('stops in the middle of many beams', async () => {
    const stop = new AbortController();
    const long = new Float32Array(20 * rate);
    for (let at = 0; at < long.length; at += samples.length) long.set(samples.subarray(0, long.length - at), at);
    let [after, ended] = [0, false];
    // One chunk, 2,000 frames of some ms each: nothing but the search itself can notice.
    const running = model.transcribe(long, { signal: stop.signal, beams: 256, chunkSeconds: 0 });
    const turn = (): void => {
      if (stop.signal.aborted) after++;
      if (!ended) setImmediate(turn);
    };
    turn();
    setTimeout(() => stop.abort(), 1500);
    expect(await codeOf(running)).toBe('ERR_ABORTED');
    ended = true;
    expect(after).toBeLessThan(50);
  });

  it('ten minutes, and the event loop goes on', async () => {
    const long = new Float32Array(600 * rate);
    for (let at = 0; at < long.length; at += samples.length) long.set(samples.subarray(0, long.length - at), at);
    const delay = monitorEventLoopDelay({ resolution: 1 });
    delay.enable();
    const found = await model.transcribe(long, { beams: 2 });
    delay.disable();
    expect(found.duration).toBe(600);
    expect(found.words.at(-1)!.end).toBeGreaterThan(590);
    expect(delay.max / 1e6).toBeLessThan(250); // other processes share these cores: the promise is 50
  });

  it('a model that was disposed refuses', async () => {
    const other = await load(folderOf('wav2vec2'), { task: 'transcribe', threads: 1 });
    await other.dispose();
    await other.dispose();
    expect(await codeOf(other.transcribe(samples))).toBe('ERR_DISPOSED');
  });
});

describe('trace', () => {
  it('gives what verdant trace gives of the prepared waveform', async () => {
    const folder = folderOf('wav2vec2_layer');
    const expected = await readTensors(join(folder, 'expected.safetensors'));
    const inputs = await readTensors(join(folder, 'inputs.safetensors'));
    const temp = await mkdtemp(join(tmpdir(), 'verdant-inspect-'));
    await cp(folder, temp, { recursive: true });
    await writeFile(
      join(temp, 'preprocessor_config.json'),
      JSON.stringify({ do_normalize: false, sampling_rate: rate }),
    );
    const model = (await load(temp, { task: 'transcribe', threads: 1, compute: 'f32' })) as CtcModel;
    try {
      const { shape, data } = inputs.get('input_values')!;
      const clip = Float32Array.from(data.subarray(0, shape[1])); // the first row has no padding
      const found = await model.trace(clip, { attentions: [1], hiddenStates: true, heads: [1] });
      const frames = found.times.length;
      expect(found.times[3]).toBeCloseTo((3 * 20) / rate, 12);
      const near = (name: string, made: Float32Array, from: number): void => {
        const all = expected.get(name)!.data;
        expect(error(made, all.subarray(from, from + made.length)), name).toBeLessThan(1e-4);
      };
      near('logits', found.logits!.data, 0);
      expect([...found.hiddenStates.keys()]).toEqual([0, 1, 2]);
      for (const [i, tensor] of found.hiddenStates) near(`hidden_states.${i}`, tensor.data, 0);
      expect(found.attentions.get(1)!.shape).toEqual([1, frames, frames]);
      near('attentions.1', found.attentions.get(1)!.data, frames * frames);
      expect(await codeOf(model.trace(clip, { logits: false }))).toBe('ERR_OPTION');
      expect(await codeOf(model.trace(clip, { attentions: [2] }))).toBe('ERR_OPTION');
      expect(await codeOf(model.trace(clip, { steer: [] } as object))).toBe('ERR_OPTION');
      expect(await codeOf(model.trace(new Float32Array(3), {}))).toBe('ERR_INPUT');
      // 720 000 frames: 2 maps of 2 heads of 4 terabytes in all.
      expect(await codeOf(model.trace(new Float32Array(7200 * rate), { attentions: true }))).toBe('ERR_OUT_OF_MEMORY');
    } finally {
      await model.dispose();
      await rm(temp, { recursive: true });
    }
    expect(await codeOf(model.trace(new Float32Array(100), {}))).toBe('ERR_DISPOSED');
  });
});

describe('load refuses', () => {
  let temp: string;
  beforeAll(async () => {
    temp = await mkdtemp(join(tmpdir(), 'verdant-load-'));
  });
  afterAll(() => rm(temp, { recursive: true }));

  async function changed(name: string, files: Readonly<Record<string, unknown>>): Promise<string | undefined> {
    const folder = await mkdtemp(join(temp, 'model-'));
    await cp(folderOf(name), folder, { recursive: true });
    for (const [file, content] of Object.entries(files)) {
      if (content === undefined) await rm(join(folder, file));
      else await writeFile(join(folder, file), typeof content === 'string' ? content : JSON.stringify(content));
    }
    return codeOf(load(folder, { task: 'transcribe' }).then((m) => m.dispose()));
  }

  it.each([
    ['no vocabulary', { 'vocab.json': undefined }, 'ERR_TOKENIZER'],
    ['a vocabulary without padding', { 'vocab.json': { a: 0, b: 1 } }, 'ERR_TOKENIZER'],
    ['an empty vocabulary', { 'vocab.json': {} }, 'ERR_TOKENIZER'],
    ['ids that are no ids', { 'vocab.json': { '<pad>': 0, a: -1 } }, 'ERR_TOKENIZER'],
    ['broken JSON', { 'vocab.json': '{"a": ' }, 'ERR_TOKENIZER'],
    ['several languages and none chosen', { 'vocab.json': { eng: { a: 0 }, deu: { b: 0 } } }, 'ERR_UNSUPPORTED'],
    ['phonemes', { 'tokenizer_config.json': { tokenizer_class: 'Wav2Vec2PhonemeCTCTokenizer' } }, 'ERR_UNSUPPORTED'],
    ['a wrong sampling rate', { 'preprocessor_config.json': { sampling_rate: 0 } }, 'ERR_CONFIG'],
    ['log-mel features', { 'preprocessor_config.json': { feature_size: 80 } }, 'ERR_CONFIG'],
  ])('%s', async (_, files, code) => {
    expect(await changed('wav2vec2', files)).toBe(code);
  });

  it('nothing where files have what is needed', async () => {
    const lists = { eng: { '<pad>': 0, '|': 1, a: 2 } };
    expect(await changed('wav2vec2', { 'vocab.json': lists, 'tokenizer_config.json': { target_lang: 'eng' } })).toBe(
      undefined,
    );
    expect(await changed('wav2vec2', { 'preprocessor_config.json': undefined })).toBe(undefined);
  });

  it('classes without the head, other tasks, and options of text generation', async () => {
    const hubert = folderOf('hubert_base');
    expect(await codeOf(load(hubert, { task: 'transcribe' }))).toBe('ERR_UNSUPPORTED');
    expect(await codeOf(load(fixture('encoders', 'bert').folder, { task: 'transcribe' }))).toBe('ERR_UNSUPPORTED');
    expect(await codeOf(load(folderOf('wav2vec2'), { task: 'embed' }))).toBe('ERR_UNSUPPORTED');
    expect(await codeOf(load(folderOf('wav2vec2')))).toBe('ERR_UNSUPPORTED');
    expect(await codeOf(load(folderOf('wav2vec2'), { task: 'transcribe', maxContext: 5 }))).toBe('ERR_OPTION');
  });
});
