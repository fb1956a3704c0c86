import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readAudio } from '../../lib/audio/read.js';
import { AbortError, ContextOverflowError, OptionError } from '../../lib/errors.js';
import { logSum } from '../../lib/generation/log_sum.js';
import { compressionRatio, keepBest, keepTop } from '../../lib/generation/whisper_quality.js';
import { load } from '../../lib/tasks/load.js';
import type { SpeechModel, TranscribeOptions, Transcription } from '../../lib/tasks/speech.js';
import type { WhisperModel } from '../../lib/tasks/transcribe_whisper.js';
import { alignRows } from '../../lib/tasks/whisper_align.js';
import { wordsOf } from '../../lib/tasks/whisper_words.js';
import { fixture, readJson } from '../support/fixtures.js';

const { folder } = fixture('whisper', 'transcribe');

/** What transformers was asked for, and wrote; `windows`: each attempt at each window. */
interface Call {
  readonly name: string;
  readonly seconds: readonly [number, number];
  readonly language?: string | null;
  readonly times?: boolean;
  readonly temperatures?: readonly number[];
  readonly logprob_threshold?: number;
  readonly compression_ratio_threshold?: number;
  readonly no_speech_threshold?: number;
  readonly num_beams?: number;
  readonly prompt?: string;
  readonly words?: boolean | readonly { text: string; start: number; end: number }[];
  readonly condition_on_prev_tokens?: boolean;
  readonly prompt_condition_type?: 'all-segments';
  readonly windows: readonly {
    readonly temperature: number;
    readonly again: boolean;
    readonly skip: boolean;
    readonly compression_ratio: number;
    readonly avg_logprob?: number;
    readonly no_speech_prob?: number;
  }[];
  readonly segments: readonly { start: number; end: number; ids: number[]; text: string }[];
}

const calls = readJson(join(folder, 'options.json')) as unknown as readonly Call[];
const named = (name: string): Call => calls.find((c) => c.name === name)!;
let [model, audio]: [SpeechModel, Float32Array] = [undefined!, undefined!];

beforeAll(async () => {
  model = await load(folder, { task: 'transcribe', threads: 1 });
  audio = await readAudio(join(folder, 'audio.wav'), { sampleRate: 16_000 });
});
afterAll(() => model.dispose());

const partOf = ({ seconds: [begin, end] }: Call): Float32Array =>
  audio.slice(Math.round(begin * 16_000), Math.round(end * 16_000));

function optionsOf(call: Call): TranscribeOptions {
  const { language, temperatures = [0] } = call;
  // Thresholds that only make transformers tell numbers would do nothing here.
  const again = temperatures.length > 1;
  const silent = call.no_speech_threshold !== undefined && call.no_speech_threshold < 1;
  return {
    ...(language == null ? {} : { language }),
    ...(call.words !== undefined ? { timestamps: 'word' } : call.times === true ? { timestamps: true } : {}),
    ...(call.num_beams === undefined ? {} : { numBeams: call.num_beams }),
    prompt: call.prompt,
    promptCondition: call.prompt_condition_type,
    conditionOnPrevTokens: call.condition_on_prev_tokens,
    ...(again ? { temperatures } : {}),
    ...(again || silent ? { logprobThreshold: call.logprob_threshold } : {}),
    ...(again ? { compressionRatioThreshold: call.compression_ratio_threshold } : {}),
    ...(silent ? { noSpeechThreshold: call.no_speech_threshold } : {}),
  };
}

/** Texts and times are those of transformers, and so is how good they are. */
function expectLike(found: Transcription, call: Call): void {
  const duration = partOf(call).length / 16_000;
  // transformers goes on into the silence that fills up a window.
  const expected = call.segments.filter((s) => duration >= 1 || s.start < duration);
  expect(found.segments!.map((s) => s.text)).toEqual(expected.map((s) => s.text.trim()));
  for (const [i, { start }] of expected.entries())
    expect(found.segments![i]!.start).toBeCloseTo(Math.min(start, duration), 3);
  const last = call.temperatures?.at(-1) ?? 0;
  // The attempts that were kept, in order; a segment belongs to one of them.
  const kept = call.windows.filter((w) => !w.skip && (!w.again || w.temperature === last));
  for (const { temperature, avgLogprob, compressionRatio: ratio, noSpeechProb } of found.segments!) {
    const window = kept.find(
      (w) => w.avg_logprob === undefined || Math.abs(w.avg_logprob - avgLogprob) < 1e-4 * Math.abs(w.avg_logprob),
    );
    expect(window, `${avgLogprob} of ${JSON.stringify(kept)}`).toBeDefined();
    if (window!.avg_logprob === undefined) continue;
    expect(temperature).toBe(window!.temperature);
    expect(ratio).toBeCloseTo(window!.compression_ratio, 10);
    if (window!.no_speech_prob !== undefined)
      expect(Math.abs(noSpeechProb! - window!.no_speech_prob)).toBeLessThan(1e-4 * window!.no_speech_prob);
  }
}

describe('poor text is written again, silence passed over, as transformers does', () => {
  for (const name of [
    ...['quality of a window', 'quality of a long audio', 'not likely enough', 'too repetitive'],
    ...['some windows again', 'silent windows', 'all silent'],
  ])
    it(name, async () => {
      const call = named(name);
      expectLike(await model.transcribe(partOf(call), optionsOf(call)), call);
    });

  it('windows are not all alike', () => {
    const again = named('some windows again').windows;
    expect(again.some((w) => w.again) && again.some((w) => !w.again)).toBe(true);
    const silent = named('silent windows').windows;
    expect(silent.some((w) => w.skip) && silent.some((w) => !w.skip)).toBe(true);
  });
});

describe('beams find what those of transformers find', () => {
  for (const name of ['3 beams', '4 beams, times', '4 beams, long'])
    it(name, async () => {
      const call = named(name);
      expectLike(await model.transcribe(partOf(call), optionsOf(call)), call);
    });

  it('not what is found without, alone or with others the same, drawn where they do not suffice', async () => {
    const call = named('4 beams, long');
    const one = await model.transcribe(partOf(call), optionsOf(call));
    expect(one.text).not.toBe((await model.transcribe(partOf(call), { language: 'en' })).text);
    expect(await model.transcribe([audio, partOf(call), partOf(call)], optionsOf(call))).toEqual([
      ...[expect.anything(), one, one],
    ]);
    const again = { ...optionsOf(call), temperatures: [0, 1], logprobThreshold: 0, seed: 5 };
    const drawn = await model.transcribe(partOf(call), again);
    expect(drawn).toEqual(await model.transcribe(partOf(call), { ...again, numBeams: 1 }));
    expect(drawn.segments![0]!.temperature).toBe(1);
  });
});

describe('windows begin after a prompt and earlier text as those of transformers', () => {
  for (const name of [
    ...['earlier text', 'earlier text, beams', 'prompt', 'prompt of all windows', 'prompt before earlier text'],
    'prompt of all segments',
  ])
    it(name, async () => {
      const call = named(name);
      const found = await model.transcribe(partOf(call), optionsOf(call));
      expectLike(found, call);
      const { prompt: _, promptCondition: __, conditionOnPrevTokens: ___, ...plain } = optionsOf(call);
      expect((await model.transcribe(partOf(call), plain)).segments).not.toEqual(found.segments);
    });

  it('a prompt may be ids, and a language is heard without it', async () => {
    const call = named('prompt');
    const found = await model.transcribe(partOf(call), optionsOf(call));
    const start = readJson(join(folder, 'generation_config.json')).prev_sot_token_id as number;
    const tokenizer = (model as WhisperModel).tokenizer;
    const prompt = [start, ...(await tokenizer.encode(` ${call.prompt}`, { addSpecial: false }))];
    expect(await model.transcribe(partOf(call), { ...optionsOf(call), prompt })).toEqual(found);
    expect(await model.transcribe(partOf(call), { ...optionsOf(call), prompt: Int32Array.from(prompt) })).toEqual(
      found,
    );
    for (const text of ['t', 'at on', 'in in'])
      for (const from of [0, 4000, 20_000]) {
        const part = audio.slice(from, from + 16_000);
        const { language } = await model.transcribe(part, { prompt: text });
        expect(language).toBe((await model.transcribe(part)).language);
      }
  });

  it('a window after one that was drawn at 0.5 or more begins anew', async () => {
    const drawn = { language: 'en', temperatures: [0.5], seed: 3 };
    const plain = await model.transcribe(audio, drawn);
    expect(await model.transcribe(audio, { ...drawn, conditionOnPrevTokens: true })).toEqual(plain);
    const cool = { language: 'en', temperatures: [0.4], seed: 3 };
    const other = await model.transcribe(audio, cool);
    expect(await model.transcribe(audio, { ...cool, conditionOnPrevTokens: true })).not.toEqual(other);
  });

  it('a prompt that leaves no room is refused', async () => {
    const long = Array.from({ length: 21 }, () => 40);
    await expect(model.transcribe(audio, { prompt: long })).rejects.toThrow(ContextOverflowError);
    const { segments } = await model.transcribe(audio, { prompt: long, conditionOnPrevTokens: true });
    expect(segments!.length).toBeGreaterThan(0);
  });
});

describe('words are said when transformers says so', () => {
  for (const name of ['words', 'words of half a window', 'words of a long audio', 'words of beams'])
    it(name, async () => {
      const call = named(name);
      const found = await model.transcribe(partOf(call), optionsOf(call));
      expectLike(found, call);
      const duration = partOf(call).length / 16_000;
      const expected = (call.words as { text: string; start: number; end: number }[])
        .filter((w) => w.text.trim() !== '')
        .map((w) => [w.text.trim(), Math.min(w.start, duration), Math.min(w.end, duration)]);
      expect(found.words.map((w) => [w.text, w.start, w.end])).toEqual(expected);
      for (const { confidence } of found.words) expect(confidence > 0 && confidence <= 1).toBe(true);
      const { words, ...rest } = await model.transcribe(partOf(call), { ...optionsOf(call), timestamps: true });
      expect(words).toEqual([]);
      const { words: _, ...same } = found;
      expect(same).toEqual(rest);
    });
});

describe('words', () => {
  it('are grouped as WhisperTokenizer groups them', async () => {
    const groups = readJson(join(folder, 'words.json')) as unknown as readonly {
      text: string;
      language: string;
      words: string[];
      tokens: number[][];
    }[];
    const codes: Record<string, string> = { english: 'en', japanese: 'ja', german: 'de', spanish: 'es' };
    const { tokenizer } = model as WhisperModel;
    for (const { text, language, words, tokens } of groups) {
      const ids = await tokenizer.encode(text, { addSpecial: false });
      const timed = Array.from(ids, (id, i) => ({ id, start: i, end: i + 1, logprob: Math.log(0.5) }));
      const found = wordsOf(timed, codes[language], (part) => tokenizer.decode(part, { skipSpecial: false }));
      expect(found.map((w) => w.text)).toEqual(words);
      expect(found.map((w) => [w.start, w.end])).toEqual(tokens.map((list) => [list[0], list.at(-1)! + 1]));
      for (const { confidence } of found) expect(confidence).toBeCloseTo(0.5, 12);
    }
  });

  it('rows that attend to one place after another begin there', async () => {
    const begins = [2, 9, 10, 30];
    const row = (i: number): Float32Array =>
      Float32Array.from({ length: 50 }, (_, p) => (p >= begins[i]! && p < (begins[i + 1] ?? 50) ? 0.9 : 0.01));
    const maps = [begins.map((_, i) => row(i)), begins.map((_, i) => row(i))];
    expect(await alignRows(maps, 50, 1)).toEqual([0, 9, 10, 30]);
    expect(await alignRows(maps, 20, 1)).toEqual([0, 9, 10, 19]);
    expect(await alignRows([[], []], 50, 7)).toEqual([]);
    expect(await alignRows([[new Float32Array(50).fill(0.02)]], 50, 7)).toEqual([0]);
    expect(await alignRows([[new Float32Array(1).fill(1)]], 1, 7)).toEqual([0]);
  });
});

describe('drawn text', () => {
  const options = { language: 'en', temperatures: [1.5], seed: 7 } as const;

  it('same seed, same text, alone or with others', async () => {
    const one = await model.transcribe(audio, options);
    expect(await model.transcribe([audio.slice(0, 9000), audio, audio], options)).toEqual([
      expect.anything(),
      ...[one, one],
    ]);
    const texts = new Set<string>();
    for (let seed = 0n; seed < 4n; seed++) texts.add((await model.transcribe(audio, { ...options, seed })).text);
    expect(texts.size).toBe(4);
    expect(one.segments!.every((s) => s.temperature === 1.5)).toBe(true);
    const drawn = await Promise.all([0, 0].map(() => model.transcribe(audio, { ...options, seed: undefined })));
    expect(drawn[0]!.text).not.toBe(drawn[1]!.text);
  });

  it('windows and temperatures draw anew, and the language is never drawn', async () => {
    const part = audio.slice(0, 16_000);
    const heard = (await model.transcribe(part)).language;
    const same = { temperatures: [50, 50, 50], logprobThreshold: 0 };
    for (let seed = 0; seed < 8; seed++) {
      const three = await model.transcribe(part, { ...same, seed });
      expect(three.language).toBe(heard);
      const first = await model.transcribe(part, { temperatures: [50], seed });
      expect(three.text).not.toBe(first.text);
    }
  });
});

it('refuses options that are wrong or would do nothing', async () => {
  const wrong: [object, string][] = [
    [{ temperatures: [] }, 'temperatures'],
    [{ temperatures: 0.2 }, 'temperatures'],
    [{ temperatures: [0, Number.NaN], logprobThreshold: -1 }, 'temperatures'],
    [{ temperatures: [0, 101], logprobThreshold: -1 }, 'temperatures'],
    [{ temperatures: [0, 0.2] }, 'temperatures'],
    [{ logprobThreshold: -1 }, 'logprobThreshold'],
    [{ logprobThreshold: 1, temperatures: [0, 0.2] }, 'logprobThreshold'],
    [{ logprobThreshold: '-1', temperatures: [0, 0.2] }, 'logprobThreshold'],
    [{ compressionRatioThreshold: 2.4 }, 'compressionRatioThreshold'],
    [{ compressionRatioThreshold: -1, temperatures: [0, 0.2] }, 'compressionRatioThreshold'],
    [{ noSpeechThreshold: 0.6 }, 'noSpeechThreshold'],
    [{ noSpeechThreshold: 1.1, logprobThreshold: -1 }, 'noSpeechThreshold'],
    [{ seed: 1 }, 'seed'],
    [{ numBeams: 0 }, 'numBeams'],
    [{ timestamps: 'words' }, 'timestamps'],
    [{ prompt: ' ' }, 'prompt'],
    [{ prompt: 7 }, 'prompt'],
    [{ prompt: [] }, 'prompt'],
    [{ prompt: [1, -1] }, 'prompt'],
    [{ prompt: [1, undefined] }, 'prompt'],
    [{ prompt: [99_999] }, 'prompt'],
    [{ prompt: 'a <|endoftext|>' }, 'prompt'],
    [{ prompt: '\ud800' }, 'prompt'],
    [{ promptCondition: 'all-segments' }, 'promptCondition'],
    [{ prompt: 'a', promptCondition: 'all-segments' }, 'promptCondition'],
    [{ prompt: 'a', promptCondition: 'some' }, 'promptCondition'],
    [{ conditionOnPrevTokens: 1 }, 'conditionOnPrevTokens'],
    [{ numBeams: 65 }, 'numBeams'],
    [{ numBeams: 2, temperatures: [0.5] }, 'numBeams'],
    [{ seed: -1, temperatures: [1] }, 'seed'],
  ];
  for (const [options, name] of wrong) {
    const error = await model.transcribe(audio, options as TranscribeOptions).catch((e: unknown) => e);
    expect(error, JSON.stringify(options)).toBeInstanceOf(OptionError);
    expect((error as OptionError).facts.name).toBe(name);
  }
});

it('stops between attempts too', async () => {
  const controller = new AbortController();
  const running = model.transcribe(audio, {
    ...{ temperatures: Array.from({ length: 64 }, () => 1), logprobThreshold: 0, signal: controller.signal },
  });
  setTimeout(() => controller.abort(), 40);
  await expect(running).rejects.toThrow(AbortError);
});

describe('helpers', () => {
  it('compression is that of Python', () => {
    // len(raw) / len(zlib.compress(raw)) for lists of ids, 2 bytes each.
    const cases: [number[], number][] = [
      [[50_257], 2 / 10],
      [Array.from({ length: 40 }, () => 314), 80 / 13],
      [Array.from({ length: 30 }, (_, i) => (i * i * 7919) % 51_865), 60 / 71],
    ];
    for (const [ids, ratio] of cases) expect(compressionRatio(ids, 51_865)).toBeCloseTo(ratio, 12);
    expect(compressionRatio([7, 7, 7, 7], 200)).toBeCloseTo(4 / 12, 12);
  });

  it('the most likely stay', () => {
    const infinite = Number.NEGATIVE_INFINITY;
    const logits = Float32Array.of(1, 5, 3, 3, -2, infinite);
    keepTop(logits, 2);
    expect([...logits]).toEqual([infinite, 5, 3, 3, infinite, infinite]);
    keepTop(logits, 0);
    expect(logSum(logits)).toBeCloseTo(Math.log(Math.exp(5) + 2 * Math.exp(3)), 6);
    keepBest(logits, [3, 1]);
    expect([...logits]).toEqual([infinite, 5, infinite, infinite, infinite, infinite]);
    expect(logSum(logits, 2)).toBe(infinite);
  });
});
