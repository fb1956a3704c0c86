import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { start, verdant } from './cli.js';

const args = ['chat', '--greedy', '--max-tokens', '40'];

describe('verdant chat', () => {
  it('answers standard input line by line and remembers until /reset', async () => {
    const [one, fresh, long] = await Promise.all([
      verdant(args, { input: 'what is a mole?\n' }),
      verdant(args, { input: 'hello\n/reset\n\nwhat is a mole?\n/exit\nwhat is a model?\n' }),
      verdant(args, { input: 'hello\nwhat is a mole?\n' }),
    ]);
    expect(one).toMatchObject({ code: 0, stderr: '' });
    expect(one.stdout).toMatch(/\w.*\n$/s);
    const lines = fresh.stdout.split('\n');
    expect(fresh).toMatchObject({ code: 0, stderr: '' });
    expect(fresh.stdout.endsWith(`\n${one.stdout}`)).toBe(true);
    expect(lines.length).toBe(one.stdout.split('\n').length + 1);
    expect(long.stdout.startsWith(`${lines[0]}\n`)).toBe(true);
  });

  it('takes commands', async () => {
    const made = await verdant([...args, '--system', 'Be kind.'], {
      input: '/help\n/sytem x\n/system Be brief.\n//hello\n/quit\n',
    });
    expect(made.code).toBe(0);
    expect(made.stderr).toContain('/reset');
    expect(made.stderr).toContain('verdant: unknown command /sytem; /help lists them\n');
    expect(made.stdout.length).toBeGreaterThan(1);
  });

  it('refuses a model without a chat template', async () => {
    const made = await verdant(['chat', 'tests/fixtures/models/llama'], { input: 'hi\n' });
    expect(made).toMatchObject({ code: 1, stdout: '' });
    expect(made.stderr).toMatch(/^verdant: .*no chat template\nUse: verdant run\n$/);
  });

  it('leaves with 130 on Ctrl-C while it waits', async () => {
    const child = start(args);
    child.stdin.write('hello\n');
    await once(child.stdout, 'data');
    child.kill('SIGINT');
    expect(await once(child, 'exit')).toEqual([130, null]);
  });
});
