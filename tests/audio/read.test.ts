import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { pathToFileURL } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { type AudioInput, readAudio } from '../../lib/audio/read.js';
import { CorruptFileError, InputError, OptionError, UnsupportedError, type VerdantError } from '../../lib/errors.js';
import { sharedModels } from '../support/shared.js';
import { sine, wav } from './wav.js';

const folder = mkdtempSync(join(tmpdir(), 'verdant-audio-'));
afterAll(() => rmSync(folder, { recursive: true }));

function file(name: string, bytes: Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, bytes);
  return path;
}

/** Greatest difference apart from the ends, where the filter sees the silence around. */
function worst(found: Float32Array, expected: Float32Array, margin = 64): number {
  let most = 0;
  for (let i = margin; i < expected.length - margin; i++) most = Math.max(most, Math.abs(found[i]! - expected[i]!));
  return most;
}

function patched(bytes: Buffer, patch: () => number): Buffer {
  patch();
  return bytes;
}

async function failure(input: AudioInput, sampleRate = 16_000): Promise<VerdantError> {
  try {
    await readAudio(input, { sampleRate });
  } catch (error) {
    return error as VerdantError;
  }
  throw new Error('it was read');
}

describe('readAudio', () => {
  it('reads 16-bit and float WAV, by path and by URL, and averages channels', async () => {
    const [left, right] = [sine(440, 0.5, 16_000), sine(300, 0.5, 16_000)];
    const mean = left.map((v, i) => (v + right[i]!) / 2);
    const pcm = await readAudio(file('pcm.wav', wav([left, right], 16_000)), { sampleRate: 16_000 });
    expect(pcm.length).toBe(8000);
    expect(worst(pcm, mean, 0)).toBeLessThan(4e-5);
    const path = file('float.wav', wav([left, right], 16_000, { float: true }));
    const float = await readAudio(pathToFileURL(path), { sampleRate: 16_000 });
    expect(worst(float, mean, 0)).toBeLessThan(1e-7);
  });

  it('scales integers by a power of two, whatever their sign', async () => {
    const bytes = wav([[0, 0, 0, 0, 0]], 16_000);
    for (const [i, value] of [16_384, -16_384, 32_767, -32_768, 1].entries()) bytes.writeInt16LE(value, 44 + 2 * i);
    const found = await readAudio(file('scale.wav', bytes), { sampleRate: 16_000 });
    expect([...found]).toEqual([0.5, -0.5, 32_767 / 32_768, -1, 1 / 32_768]);
  });

  it('goes by the contents of a file, not by its name', async () => {
    const path = file('music.mp3', wav([sine(440, 0.1, 16_000)], 16_000));
    expect((await readAudio(path, { sampleRate: 16_000 })).length).toBe(1600);
  });

  it.each([8_000, 44_100, 48_000])('resamples %i Hz to 16 kHz', async (rate) => {
    const found = await readAudio({ samples: sine(440, 2, rate), sampleRate: rate }, { sampleRate: 16_000 });
    expect(found.length).toBe(2 * 16_000);
    expect(worst(found, sine(440, 2, 16_000), 400)).toBeLessThan(2e-5);
    const path = file(`${rate}.wav`, wav([sine(440, 2, rate)], rate, { float: true }));
    expect(await readAudio(path, { sampleRate: 16_000 })).toEqual(found);
  });

  it('lets nothing above half of the new rate through', async () => {
    const found = await readAudio({ samples: sine(11_000, 1, 44_100), sampleRate: 44_100 }, { sampleRate: 16_000 });
    expect(worst(found, new Float32Array(16_000), 400)).toBeLessThan(1e-4);
  });

  it('takes samples as they are and copies them', async () => {
    const samples = sine(440, 0.01, 16_000);
    const found = await readAudio(samples, { sampleRate: 16_000 });
    expect(found).toEqual(samples);
    expect(found.buffer).not.toBe(samples.buffer);
    expect(await readAudio({ samples: Float32Array.of(0.5), sampleRate: 44_100 }, { sampleRate: 16_000 })).toHaveLength(
      1,
    );
  });

  it('reads a length that a pipe did not know', async () => {
    const bytes = wav([sine(440, 0.1, 16_000)], 16_000);
    bytes.writeUInt32LE(0xffff_ffff, 40);
    expect(await readAudio(file('pipe.wav', bytes), { sampleRate: 16_000 })).toHaveLength(1600);
  });

  it('refuses what is no audio', async () => {
    for (const input of [
      join(folder, 'absent.wav'),
      folder,
      '',
      file('empty.wav', Buffer.alloc(0)),
      file('text.wav', Buffer.from('This is a text, whatever its name says.')),
      file('zero.wav', wav([[]], 16_000)),
      file('nan.wav', wav([[0, NaN, 0]], 16_000, { float: true })),
      new Float32Array(0),
      Float32Array.of(0, Number.POSITIVE_INFINITY),
      null as unknown as string,
      [1, 2, 3] as unknown as Float32Array,
      new URL('file://elsewhere/a.wav'),
      new URL('file:///a%2Fb.wav'),
    ])
      expect(await failure(input)).toBeInstanceOf(InputError);
    expect(await failure(new URL('http://localhost/a.wav'))).toBeInstanceOf(UnsupportedError);
  });

  it('refuses headers that lie', async () => {
    const good = wav([sine(440, 0.1, 16_000)], 16_000);
    const cases: [string, (bytes: Buffer) => Uint8Array, new (message: string) => VerdantError][] = [
      ['cut', (b) => b.subarray(0, 1000), CorruptFileError],
      ['head', (b) => b.subarray(0, 20), CorruptFileError],
      ['channels', (b) => patched(b, () => b.writeUInt16LE(0, 22)), UnsupportedError],
      ['channels65535', (b) => patched(b, () => b.writeUInt16LE(65_535, 22)), UnsupportedError],
      ['rate0', (b) => patched(b, () => b.writeUInt32LE(0, 24)), UnsupportedError],
      ['rate', (b) => patched(b, () => b.writeUInt32LE(0xffff_ffff, 24)), UnsupportedError],
      ['block', (b) => patched(b, () => b.writeUInt16LE(0, 32)), CorruptFileError],
      ['bits', (b) => patched(b, () => b.writeUInt16LE(7, 34)), UnsupportedError],
      ['kind', (b) => patched(b, () => b.writeUInt16LE(85, 20)), UnsupportedError],
      ['fmt0', (b) => patched(b, () => b.writeUInt32LE(0, 16)), CorruptFileError],
    ];
    for (const [name, change, Class] of cases)
      expect(await failure(file(`${name}.wav`, change(Buffer.from(good)))), name).toBeInstanceOf(Class);
  });

  it('refuses bad rates and audio that is too long', async () => {
    for (const rate of [0, -1, 1.5, NaN, 999, 1e9])
      expect(await failure(sine(1, 1, 1000), rate)).toBeInstanceOf(OptionError);
    expect(await failure({ samples: Float32Array.of(1), sampleRate: 0 })).toBeInstanceOf(OptionError);
    expect((await failure(new Float32Array(7_200_001), 1_000)).message).toContain('too long');
  });

  it('noise behind the header of a FLAC or MP3 ends in an error or in audio', async () => {
    const header = Buffer.from('664c614300000022100010000000000000000ac442f0', 'hex');
    for (let i = 0; i < 12; i++) {
      const noise = Buffer.from(Array.from({ length: 3000 }, (_, k) => (k * 2654435761 * (i + 7)) >>> 24));
      const head = i % 2 === 0 ? header : Buffer.from([0xff, 0xfb, 0x90, 0x44]);
      const path = file('noise.flac', Buffer.concat([head, noise]));
      const result = await readAudio(path, { sampleRate: 16_000 }).catch((error) => error as VerdantError);
      if (!(result instanceof Float32Array)) expect(result.code).toMatch(/^ERR_/);
    }
  });

  it('leaves the event loop free while it reads ten minutes, or resamples', { timeout: 60_000 }, async () => {
    const long = file('long.wav', wav([sine(440, 600, 8_000)], 8_000));
    const high = file('high.wav', wav([sine(440, 20, 44_100)], 44_100));
    const delay = monitorEventLoopDelay({ resolution: 1 });
    delay.enable();
    expect(await readAudio(long, { sampleRate: 8_000 })).toHaveLength(600 * 8_000);
    expect(await readAudio(high, { sampleRate: 16_000 })).toHaveLength(20 * 16_000);
    delay.disable();
    expect(delay.max / 1e6).toBeLessThan(250);
  });

  const shared = sharedModels();
  it.skipIf(shared === undefined)('reads a real FLAC, and refuses it when it is cut', async () => {
    const path = join(shared!, 'audio/jfk.flac');
    const found = await readAudio(path, { sampleRate: 16_000 });
    expect(found.length / 16_000).toBeCloseTo(11, 1);
    expect(found.reduce((most, v) => Math.max(most, Math.abs(v)), 0)).toBeGreaterThan(0.1);
    const bytes = readFileSync(path);
    expect(await failure(file('cut.flac', bytes.subarray(0, bytes.length >> 1)))).toBeInstanceOf(CorruptFileError);
  });
});
