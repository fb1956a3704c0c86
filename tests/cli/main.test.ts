import { spawn } from 'node:child_process';
import { closeSync, existsSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { root, temporaryFolder, verdant } from './cli.js';

const commands = ['run', 'chat', 'inspect', 'graph', 'trace', 'lens', 'quantize', 'tour', 'bench', 'pull', 'doctor'];

describe('verdant', () => {
  it('prints its version', async () => {
    const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
    expect(await verdant(['--version'])).toMatchObject({ code: 0, stdout: `${version}\n`, stderr: '' });
  });

  it('lists its commands', async () => {
    const [option, word, nothing] = await Promise.all([verdant(['--help']), verdant(['help']), verdant([])]);
    for (const made of [option, word, nothing]) {
      expect(made).toMatchObject({ code: 0, stderr: '' });
      for (const name of commands) expect(made.stdout).toMatch(new RegExp(`^  ${name} `, 'm'));
    }
    expect(word.stdout).toBe(option.stdout);
  });

  it.each(commands)('explains %s', async (name) => {
    const made = await verdant([name, '--help']);
    expect(made).toMatchObject({ code: 0, stderr: '' });
    expect(made.stdout).toContain(`Usage: verdant ${name} [options]`);
    expect(made.stdout).toContain('--debug');
    if (name === 'graph') expect((await verdant(['help', name])).stdout).toBe(made.stdout);
  });

  it('answers help without loading the library', async () => {
    const folder = temporaryFolder();
    await verdant(['--help'], { env: { NODE_V8_COVERAGE: folder } });
    const [report] = readdirSync(folder);
    const { result } = JSON.parse(readFileSync(join(folder, report!), 'utf8')) as { result: { url: string }[] };
    const loaded = result.map(({ url }) => url.split('/dist/')[1]).filter((name) => name !== undefined);
    expect(loaded.sort()).toEqual(['cli/command.js', 'cli/main.js', 'cli/output.js', 'errors.js']);
  });

  it.each([
    ['an unknown command', ['rum'], /^verdant: unknown command 'rum'\n\(Did you mean run\?\)\n$/],
    [
      'an unknown option',
      ['run', '--temprature', '1'],
      /^verdant: unknown option '--temprature'\n\(Did you mean --temperature\?\)\n$/,
    ],
    ['a missing argument', ['pull'], /^verdant: missing required argument 'id'\n$/],
    ['a superfluous argument', ['run', 'a', 'b', 'c'], /^verdant: too many arguments/],
    [
      'a number that is none',
      ['run', '--top-k', 'many'],
      /^verdant: option '--top-k <k>' argument 'many' is invalid\. It is not an integer\.\n$/,
    ],
    [
      'a compute type that is none',
      ['graph', 'x', '--compute', 'f8'],
      /Allowed choices are auto, f32, bf16, int8\/32, int8\/256\.\n$/,
    ],
    [
      'a value out of range',
      ['run', '--temperature', '-1'],
      /^verdant: option temperature is not usable; .*found -1\n$/,
    ],
    [
      'a missing required option',
      ['trace', 'x', '--out', 'y'],
      /^verdant: required option '--inputs <file>' not specified\n$/,
    ],
  ])('refuses %s with exit code 2', async (_what, args, message) => {
    const made = await verdant(args);
    expect(made.stderr).toMatch(message);
    expect(made).toMatchObject({ code: 2, stdout: '' });
  });

  it.skipIf(!existsSync('/dev/full'))('says that standard output is full, without a stack', async () => {
    const out = openSync('/dev/full', 'w');
    onTestFinished(() => closeSync(out));
    const child = spawn(process.execPath, [join(root, 'dist/cli/main.js'), '--help'], {
      stdio: ['ignore', out, 'pipe'],
    });
    let stderr = '';
    child.stderr!.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    const code = await new Promise((resolve) => child.on('close', resolve));
    expect(stderr).toMatch(/^verdant: standard output: ENOSPC.*\n$/);
    expect(code).toBe(1);
  });

  it('prints the stack of an error only with --debug', async () => {
    const [plain, debug] = await Promise.all([
      verdant(['graph', './nowhere']),
      verdant(['graph', './nowhere', '--debug']),
    ]);
    expect(plain).toMatchObject({ code: 1, stdout: '' });
    expect(plain.stderr).toMatch(/^verdant: \.\/nowhere: no such file or folder\n.*\n$/);
    expect(debug.code).toBe(1);
    expect(debug.stderr).toMatch(/\n {4}at /);
  });
});
