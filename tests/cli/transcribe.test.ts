import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { wav } from '../audio/wav.js';
import { fixture } from '../support/fixtures.js';
import { readTensors } from '../support/safetensors.js';
import { verdant } from './cli.js';

const { folder } = fixture('speech', 'wav2vec2_layer');
const expected = JSON.parse(readFileSync(join(folder, 'transcripts.json'), 'utf8')) as {
  text: string;
  words: { text: string; begin: number; end: number }[];
  chunks: { chunkSeconds: number; strideSeconds: number; text: string }[];
};

describe('verdant transcribe', () => {
  let file: string;
  const model = ['--model', folder, '--threads', '1'];
  beforeAll(async () => {
    const audio = (await readTensors(join(folder, 'audio.safetensors'))).get('audio')!;
    file = join(mkdtempSync(join(tmpdir(), 'verdant-transcribe-')), 'speech.wav');
    writeFileSync(file, wav([Float32Array.from(audio.data)], 2000, { float: true }));
  });

  afterAll(() => rmSync(dirname(file), { recursive: true }));

  it('writes the text that transformers gives', async () => {
    expect(await verdant(['transcribe', file, ...model])).toEqual({
      code: 0,
      stdout: `${expected.text}\n`,
      stderr: '',
    });
    const [{ chunkSeconds, strideSeconds, text }] = expected.chunks as [(typeof expected.chunks)[0]];
    const chunks = ['--chunk-seconds', String(chunkSeconds), '--stride-seconds', String(strideSeconds)];
    const two = await verdant(['transcribe', file, file, ...model, ...chunks]);
    expect(two.stdout).toBe(`${file}\t${text}\n${file}\t${text}\n`);
  });

  it('writes words and JSON', async () => {
    const { stdout } = await verdant(['transcribe', file, ...model, '--words']);
    const rows = stdout
      .trimEnd()
      .split('\n')
      .map((line) => line.split('\t'));
    expect(rows.map((row) => row[3]!.toUpperCase())).toEqual(expected.words.map((w) => w.text.toUpperCase()));
    expect(rows.map((row) => row[0])).toEqual(expected.words.map((w) => (w.begin / 100).toFixed(2)));
    const json = JSON.parse((await verdant(['transcribe', file, ...model, '--json', '--beams', '4'])).stdout) as object;
    expect(json).toMatchObject({ file, duration: 3.1, words: expect.any(Array) });
  });

  it('writes the segments of Whisper', async () => {
    const { folder: whisper } = fixture('whisper', 'transcribe');
    const calls = JSON.parse(readFileSync(join(whisper, 'transcripts.json'), 'utf8')) as {
      name: string;
      segments: { start: number; end: number; text: string }[];
    }[];
    const { segments } = calls.find((c) => c.name === 'long')!;
    const args = ['transcribe', join(whisper, 'audio.wav'), '--model', whisper, '--threads', '1', '--language', 'en'];
    const json = JSON.parse((await verdant([...args, '--json'])).stdout) as { segments: object[]; language: string };
    expect(json.language).toBe('en');
    expect(json.segments).toHaveLength(segments.length);
    const { stdout } = await verdant([...args, '--timestamps']);
    expect(stdout.startsWith(`${segments[0]!.start.toFixed(2)}\t${segments[0]!.end.toFixed(2)}\t`)).toBe(true);
    expect((await verdant([...args, '--translate'])).code).toBe(0);
    expect(await verdant([...args, '--beams', '4'])).toMatchObject({
      ...{ code: 2, stdout: '', stderr: 'verdant: --beams has no meaning for this model\n' },
    });
    const drawn = ['--temperatures', '0,1', '--logprob-threshold', '0', '--seed', '3', '--json'];
    const again = JSON.parse((await verdant([...args, ...drawn])).stdout) as { segments: { temperature: number }[] };
    expect(again.segments[0]!.temperature).toBe(1);
    const prompted = ['--prompt', 'on the', '--condition-on-prev-tokens', '--num-beams', '2'];
    expect((await verdant([...args, ...prompted])).code).toBe(0);
    expect((await verdant([...args, '--prompt-condition', 'all-segments'])).stderr).toContain('bad --prompt-condition');
    expect(await verdant([...args, '--silence-threshold', '2'])).toMatchObject({
      ...{ code: 2, stdout: '', stderr: expect.stringContaining('bad --silence-threshold') },
    });
    expect((await verdant([...args, '--silence-threshold', '0.5'])).stderr).toContain('--logprob-threshold');
    const words = (await verdant([...args, '--words'])).stdout.trimEnd().split('\n');
    expect(words.length).toBeGreaterThan(segments.length);
    for (const line of words) expect(line).toMatch(/^\d+\.\d\d\t\d+\.\d\d\t[01]\.\d{3}\t./);
  });

  it('says what is wrong', async () => {
    expect(await verdant(['transcribe', 'absent.wav', ...model])).toMatchObject({
      ...{ code: 1, stdout: '', stderr: expect.stringContaining('absent.wav') },
    });
    expect(await verdant(['transcribe', file, ...model, '--beams', '0'])).toMatchObject({
      ...{ code: 2, stdout: '', stderr: expect.stringContaining('bad --beams') },
    });
    expect(await verdant(['transcribe', file, ...model, '--temperatures', '0'])).toMatchObject({
      ...{ code: 2, stdout: '', stderr: 'verdant: --temperatures has no meaning for this model\n' },
    });
    expect(await verdant(['transcribe', file])).toMatchObject({ code: 2, stdout: '' });
  });
});
