import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readAudio } from '../../lib/audio/read.js';
import { AbortError, ConfigError, DisposedError, InputError, OptionError, UnsupportedError } from '../../lib/errors.js';
import { load } from '../../lib/tasks/load.js';
import type { SpeechModel, TranscribeOptions } from '../../lib/tasks/speech.js';
import { fixture, readJson } from '../support/fixtures.js';

const { folder } = fixture('whisper', 'transcribe');

/** What transformers wrote; times are those of its segments. */
interface Call {
  readonly name: string;
  readonly seconds: readonly [number, number];
  readonly language: string | null;
  readonly task: 'transcribe' | 'translate' | null;
  readonly timestamps: boolean;
  readonly detected: string;
  readonly segments: readonly { start: number; end: number; ids: number[]; text: string }[];
}

const calls = readJson(join(folder, 'transcripts.json')) as unknown as readonly Call[];
let [model, audio]: [SpeechModel, Float32Array] = [undefined!, undefined!];

beforeAll(async () => {
  model = await load(folder, { task: 'transcribe', threads: 1 });
  audio = await readAudio(join(folder, 'audio.wav'), { sampleRate: 16_000 });
});
afterAll(() => model.dispose());

const partOf = ({ seconds: [begin, end] }: Call): Float32Array =>
  audio.slice(Math.round(begin * 16_000), Math.round(end * 16_000));

function optionsOf({ language, task, timestamps }: Call): TranscribeOptions {
  return {
    timestamps,
    ...(language === null ? {} : { language }),
    ...(task === null ? {} : { task }),
  };
}

describe('transcripts are those of transformers', () => {
  for (const call of calls)
    it(call.name, async () => {
      const found = await model.transcribe(partOf(call), optionsOf(call));
      const duration = partOf(call).length / 16_000;
      expect(found.language).toBe(call.language ?? call.detected);
      // transformers goes on into the silence that fills up the window.
      const expected = call.segments.filter((s) => s.start < duration);
      expect(found.segments!.map((s) => s.text)).toEqual(expected.map((s) => s.text.trim()));
      for (const [i, { start, end }] of expected.entries()) {
        expect(found.segments![i]!.start).toBeCloseTo(start, 3);
        // A time that comes unasked is not heeded.
        if (call.timestamps) expect(found.segments![i]!.end).toBeCloseTo(Math.min(end, duration), 3);
      }
      expect(found.confidence).toBeGreaterThan(0);
      expect(found.confidence).toBeLessThanOrEqual(1);
      expect(found.duration).toBeCloseTo(duration, 6);
    });
});

it('many at once give what each gives alone', async () => {
  const alone = [];
  for (const call of calls) alone.push(await model.transcribe(partOf(call), optionsOf(call)));
  const together = await Promise.all(calls.map((call) => model.transcribe(partOf(call), optionsOf(call))));
  expect(together).toEqual(alone);
  const list = await model.transcribe(calls.map(partOf), { timestamps: true, language: 'en' });
  for (const [i, call] of calls.entries())
    expect(list[i]).toEqual(await model.transcribe(partOf(call), { timestamps: true, language: 'en' }));
});

it('files, other rates, and names of languages', async () => {
  const long = calls.find((c) => c.name === 'long')!;
  const file = await model.transcribe(join(folder, 'audio.wav'), optionsOf(long));
  expect(file).toEqual(await model.transcribe(audio, optionsOf(long)));
  const named = await model.transcribe(partOf(calls[0]!), { ...optionsOf(calls[0]!), language: 'German' });
  expect(named).toEqual(await model.transcribe(partOf(calls[0]!), optionsOf(calls[0]!)));
  const slower = await model.transcribe({ samples: audio, sampleRate: 8_000 }, { language: 'en' });
  expect(slower.duration).toBeCloseTo(5.4, 3);
});

it('silence, one sample, and noise end in a text', async () => {
  for (const samples of [
    new Float32Array(16_000),
    Float32Array.of(0.1),
    audio.map(() => 1),
    new Float32Array(40_000),
  ]) {
    const { text, segments } = await model.transcribe(samples);
    expect(typeof text).toBe('string');
    for (const { start, end } of segments!) expect(end).toBeGreaterThanOrEqual(start);
  }
});

it('refuses what is no audio, and options that mean nothing', async () => {
  await expect(model.transcribe(new Float32Array(0))).rejects.toThrow(InputError);
  await expect(model.transcribe([])).rejects.toThrow(InputError);
  await expect(model.transcribe(Array(9).fill(audio), { signal: AbortSignal.abort() })).rejects.toThrow(AbortError);
  // biome-ignore lint/suspicious/noSparseArray: a hole is no audio
  await expect(model.transcribe([, audio] as never)).rejects.toThrow(InputError);
  await expect(model.transcribe(Float32Array.of(Number.NaN))).rejects.toThrow(InputError);
  await expect(model.transcribe('absent.wav')).rejects.toThrow(InputError);
  await expect(model.transcribe(new Float32Array(1000).fill(3e38))).rejects.toThrow(InputError);
  const wrong: object[] = [
    { language: 'xx' },
    { language: '' },
    { language: 7 },
    { task: 'summarize' },
    { timestamps: 1 },
    { beams: 2 },
    { signal: 1 },
  ];
  for (const options of wrong)
    await expect(model.transcribe(audio, options as TranscribeOptions), JSON.stringify(options)).rejects.toThrow(
      OptionError,
    );
  const signal = AbortSignal.abort();
  await expect(model.transcribe(audio, { signal })).rejects.toThrow(AbortError);
  const late = new AbortController();
  const running = model.transcribe(audio, { signal: late.signal });
  setTimeout(() => late.abort(), 5);
  await expect(running).rejects.toThrow(AbortError);
});

describe('other checkpoints', () => {
  const made: string[] = [];
  afterAll(async () => {
    for (const path of made) await rm(path, { recursive: true });
  });

  async function changed(file: string, patch: object, remove: readonly string[] = []): Promise<string> {
    const to = await mkdtemp(join(tmpdir(), 'verdant-whisper-'));
    made.push(to);
    await cp(folder, to, { recursive: true });
    const kept = Object.entries({ ...readJson(join(to, file)), ...patch }).filter(([key]) => !remove.includes(key));
    await writeFile(join(to, file), JSON.stringify(Object.fromEntries(kept)));
    return to;
  }

  it('an English-only model takes neither language nor task', async () => {
    const path = await changed('generation_config.json', { is_multilingual: false }, ['lang_to_id', 'task_to_id']);
    await using english = await load(path, { task: 'transcribe', threads: 1 });
    const { language, segments } = await english.transcribe(audio);
    expect(language).toBeUndefined();
    expect(segments!.length).toBeGreaterThan(0);
    await expect(english.transcribe(audio, { language: 'en' })).rejects.toThrow(OptionError);
    await expect(english.transcribe(audio, { task: 'translate' })).rejects.toThrow(OptionError);
  });

  it('without times only a window is heard', async () => {
    const path = await changed('generation_config.json', {}, ['no_timestamps_token_id']);
    await using plain = await load(path, { task: 'transcribe', threads: 1 });
    await expect(plain.transcribe(audio)).rejects.toThrow(InputError);
    await expect(plain.transcribe(audio.slice(0, 100), { timestamps: true })).rejects.toThrow(OptionError);
    expect((await plain.transcribe(audio.slice(0, 16_000))).segments).toHaveLength(1);
  });

  it('times of words want alignment heads that the decoder has', async () => {
    const none = await changed('generation_config.json', {}, ['alignment_heads']);
    await using plain = await load(none, { task: 'transcribe', threads: 1 });
    await expect(plain.transcribe(audio, { timestamps: 'word' })).rejects.toThrow(OptionError);
    const far = await changed('generation_config.json', { alignment_heads: [[9, 1]] });
    await using other = await load(far, { task: 'transcribe', threads: 1 });
    await expect(other.transcribe(audio, { timestamps: 'word' })).rejects.toThrow(ConfigError);
    expect((await other.transcribe(audio)).words).toEqual([]);
  });

  it('ids beyond the vocabulary, and spectrograms of other sizes, are refused', async () => {
    const bad: [string, object][] = [
      ['generation_config.json', { lang_to_id: { '<|en|>': 99_999 } }],
      ['generation_config.json', { no_timestamps_token_id: -1 }],
      ['generation_config.json', { alignment_heads: [[0, 0.5]] }],
      ['generation_config.json', { logprob_threshold: '-1' }],
      ['config.json', { median_filter_width: 4 }],
      ['preprocessor_config.json', { feature_size: 80 }],
      ['preprocessor_config.json', { chunk_length: 30 }],
    ];
    for (const [file, patch] of bad) {
      const path = await changed(file, patch);
      await expect(load(path, { task: 'transcribe' }), JSON.stringify(patch)).rejects.toThrow(ConfigError);
    }
  });

  it('Whisper neither generates from text nor does other tasks', async () => {
    await expect(load(folder)).rejects.toThrow(UnsupportedError);
    await expect(load(folder, { task: 'embed' })).rejects.toThrow(UnsupportedError);
    const gone = await load(folder, { task: 'transcribe', threads: 1 });
    await gone.dispose();
    await expect(gone.transcribe(audio)).rejects.toThrow(DisposedError);
  });
});
