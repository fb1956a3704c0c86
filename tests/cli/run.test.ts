import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { start, verdant } from './cli.js';

const tiny = 'models/verdant-tiny';
const short = ['--max-tokens', '20', '--seed', '1'];

describe('verdant run', () => {
  it('tells the same story for the same seed, with nothing else on either stream', async () => {
    const [one, two, other] = await Promise.all([
      verdant(['run', tiny, ...short]),
      verdant(['run', ...short]),
      verdant(['run', tiny, '--max-tokens', '20', '--seed', '2']),
    ]);
    expect(one).toMatchObject({ code: 0, stderr: '' });
    expect(one.stdout.length).toBeGreaterThan(20);
    expect(one.stdout.endsWith('\n')).toBe(false);
    expect(two.stdout).toBe(one.stdout);
    expect(other.stdout).not.toBe(one.stdout);
  });

  it('takes the prompt as an argument, as an option and from standard input', async () => {
    const args = ['--greedy', '--max-tokens', '12'];
    const made = await Promise.all([
      verdant(['run', tiny, 'The mole dug', ...args]),
      verdant(['run', 'The mole dug', ...args]),
      verdant(['run', '--prompt', 'The mole dug', ...args]),
      verdant(['run', tiny, '-p', 'The mole dug', ...args]),
      verdant(['run', tiny, '-', ...args], { input: 'The mole dug' }),
    ]);
    for (const one of made) expect(one).toMatchObject({ code: 0, stderr: '', stdout: made[0]!.stdout });
    expect(made[0]!.stdout).toMatch(/^ \w/);
  });

  it('gives numbers on standard error, logprobs included, and on standard output as JSON', async () => {
    const [stats, json] = await Promise.all([
      verdant(['run', tiny, 'The mole dug', '--greedy', '--max-tokens', '5', '--stats', '--logprobs', '2']),
      verdant([
        'run',
        tiny,
        'The mole dug',
        '--greedy',
        '--max-tokens',
        '5',
        '--json',
        '--logprobs',
        '2',
        '--seed',
        '18446744073709551615',
      ]),
    ]);
    const document = JSON.parse(json.stdout);
    const [completion] = document.completions;
    expect(document).toMatchObject({ seed: '18446744073709551615', usage: { completionTokens: 5 } });
    expect(completion).toMatchObject({ text: stats.stdout, finishReason: 'length' });
    const lines = stats.stderr.trimEnd().split('\n');
    expect(lines.slice(0, -1).map((line) => Number.parseInt(line, 10))).toEqual(completion.ids);
    for (const line of lines.slice(0, -1)) expect(line.split('\t')).toHaveLength(3);
    expect(lines.at(-1)).toMatch(/^\d+ \+ 5 tokens, .* tokens\/s, .* seed \d+, length$/);
  });

  it('searches with beams', async () => {
    const all = [
      'run',
      tiny,
      'The mole dug',
      '--greedy',
      '--max-tokens',
      '8',
      '--num-beams',
      '3',
      '--n',
      '2',
      '--json',
    ];
    const { completions } = JSON.parse((await verdant(all)).stdout) as { completions: { text: string }[] };
    const texts = completions.map((c) => c.text);
    expect(new Set(texts).size).toBe(2);
    const best = await verdant(all.slice(0, 8));
    expect(best.stdout.trimEnd()).toBe(texts[0]!.trimEnd());
    const bad = await verdant(['run', tiny, 'x', '--num-beams', '0']);
    expect(bad.code).not.toBe(0);
    expect(bad.stderr).toMatch(/beams/i);
  });

  it('gives several continuations, and heeds stop texts, echo and penalties', async () => {
    // The stop text is taken from what the model says, so that another training run changes nothing here.
    const whole = (await verdant(['run', tiny, 'The mole dug', '--greedy', '--max-tokens', '12'])).stdout;
    const word = whole.trim().split(/\s+/)[2] ?? '';
    expect(word).not.toBe('');
    const [two, stopped, plain] = await Promise.all([
      verdant(['run', tiny, 'The mole dug', '--n', '2', '--seed', '3', '--max-tokens', '8']),
      verdant([
        'run',
        tiny,
        'The mole dug',
        '--greedy',
        '--max-tokens',
        '12',
        '--stop',
        word,
        '--stop',
        'zebra',
        '--echo',
      ]),
      verdant([
        'run',
        tiny,
        'The mole dug',
        '--max-tokens',
        '8',
        '--seed',
        '3',
        '--top-k',
        '0',
        '--min-p',
        '0.05',
        '--typical-p',
        '0.9',
        '--presence-penalty',
        '-1',
        '--dry',
        '0.8,1.75,2',
      ]),
    ]);
    const parts = two.stdout.split('\n\n');
    expect(parts).toHaveLength(2);
    expect(parts[0]).not.toBe(parts[1]!.trimEnd());
    expect(stopped.stdout).toBe(`The mole dug${whole.slice(0, whole.indexOf(word))}`);
    expect(plain).toMatchObject({ code: 0, stderr: '' });
  });

  it.each([
    [
      'a folder without a model',
      ['run', 'lib'],
      2,
      /^verdant: lib exists, but holds no model\n.*verdant run --prompt "lib"\n$/,
    ],
    [
      'a path that is none',
      ['run', './nowhere'],
      2,
      /^verdant: no such file or folder: \.\/nowhere\n.*verdant run --prompt/,
    ],
    [
      'a model that is not cached',
      ['run', 'and/or'],
      2,
      /^verdant: and\/or: .*not cached.*\n.*verdant run --prompt "and\/or"\n$/,
    ],
    ['two prompts', ['run', tiny, 'one', '--prompt', 'two'], 2, /^verdant: the prompt is given twice\n/],
    [
      'a model without a tokenizer',
      ['run', 'tests/fixtures/models/llama', 'hi'],
      1,
      /^verdant: .*no tokenizer\nGive token ids instead of text\n$/,
    ],
    [
      'more than the context holds',
      ['run', tiny, 'hi', '--max-tokens', '5000'],
      1,
      /^verdant: prompt and requested tokens do not fit the context; expected at most \d+ /,
    ],
    [
      'options that exclude each other',
      ['run', tiny, 'hi', '--greedy', '--mirostat', '5,0.1'],
      2,
      /^verdant: options greedy and mirostat exclude each other\n/,
    ],
    [
      'too many threads',
      ['run', tiny, 'hi', '--threads', '1000'],
      2,
      /^verdant: bad threads; expected an integer from 1 to 256; found 1000\n$/,
    ],
    [
      'a device that is absent',
      ['run', tiny, 'hi', '--device', 'cuda:0'],
      1,
      /^verdant: device cuda:0 cannot be used: .*expected cpu/,
    ],
    [
      'memory that holds nothing',
      ['run', tiny, 'hi', '--kv-memory', '12MooB'],
      2,
      /^verdant: bad kvMemory; expected bytes, or a text such as '1GiB'; found 12MooB\n$/,
    ],
  ])('refuses %s', async (_what, args, code, message) => {
    const made = await verdant(args);
    expect(made.stderr).toMatch(message);
    expect(made).toMatchObject({ code, stdout: '' });
  });

  it('ends with 130 on Ctrl-C, and quietly when its reader leaves', async () => {
    const args = ['run', tiny, '--ignore-eos', '--max-tokens', '500'];
    const child = start(args);
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    await once(child.stdout, 'data');
    child.kill('SIGINT');
    expect(await once(child, 'exit')).toEqual([130, null]);
    expect(stderr).toBe('');

    const headless = start(args);
    headless.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    await once(headless.stdout, 'data');
    headless.stdout.destroy();
    expect(await once(headless, 'exit')).toEqual([0, null]);
    expect(stderr).toBe('');
  });
});
