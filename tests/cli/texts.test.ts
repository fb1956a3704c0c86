import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { root, verdant } from './cli.js';

const m2m = 'tests/fixtures/translate/m2m_100';
const t5 = 'tests/fixtures/translate/t5';
const expected = (model: string) =>
  JSON.parse(readFileSync(join(root, model, 'expected.json'), 'utf8')) as {
    rows: { text: string; written: string }[];
  };

describe('verdant translate and summarize', () => {
  it('a text, and lines in their order and places', async () => {
    const { rows } = expected(t5);
    const args = ['translate', t5, '--from', 'en', '--to', 'de', '--greedy', '--max-tokens', '12'];
    const input = `${rows[0]!.text}\n\n\n${rows[1]!.text}\n${rows[2]!.text}\n\n`;
    const [one, many] = await Promise.all([verdant([...args, rows[0]!.text]), verdant(args, { input })]);
    const [a, b, c] = rows.map((row) => row.written.trim());
    expect(one).toEqual({ code: 0, stderr: '', stdout: `${a}\n` });
    expect(many).toEqual({ code: 0, stderr: '', stdout: `${a}\n\n\n${b}\n${c}\n\n` });
  });

  it('a line that fails stays empty, the others do not; unknown languages and decoders are refused', async () => {
    const long = 'mole '.repeat(300);
    const args = ['translate', m2m, '--from', 'en', '--greedy', '--max-tokens', '5'];
    const [some, unknown, decoder, summary] = await Promise.all([
      verdant([...args, '--to', 'de'], { input: `A model\n${long}\nthe mole\n` }),
      verdant([...args, '--to', 'dee', 'x']),
      verdant(['translate', 'models/verdant-tiny', 'x']),
      verdant(['summarize', t5, 'the garden', '--greedy', '--max-tokens', '5', '--num-beams', '2']),
    ]);
    expect(some.code).toBe(1);
    expect(some.stdout.split('\n')).toHaveLength(4);
    expect(some.stdout.split('\n')[1]).toBe('');
    expect(some.stderr).toMatch(/^line 2: the text is longer than the model reads/);
    expect(some.stderr).toMatch(/1 of 3 texts failed/);
    expect(unknown).toMatchObject({ code: 2, stdout: '' });
    expect(unknown.stderr).toMatch(/no such language: to.*\n.*Nearest: de/);
    expect(decoder).toMatchObject({ code: 1, stdout: '' });
    expect(decoder.stderr).toMatch(/no encoder-decoder/);
    expect(summary.stdout.trim().length).toBeGreaterThan(0);
  });

  it('verdant run gives a text to an encoder-decoder, and wants one', async () => {
    const args = ['--greedy', '--max-tokens', '6'];
    const [run, bare] = await Promise.all([
      verdant(['run', t5, '--prompt', 'the mole', ...args]),
      verdant(['run', t5, ...args]),
    ]);
    expect(run).toMatchObject({ code: 0, stderr: '' });
    expect(run.stdout.length).toBeGreaterThan(0);
    expect(bare.code).toBe(1);
    expect(bare.stderr).toMatch(/an encoder-decoder needs a text to read/);
  });
});
