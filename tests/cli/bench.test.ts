import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { BenchReport } from '../../lib/bench/report.js';
import { root, start, temporaryFolder, verdant } from './cli.js';

const tiny = ['bench', 'models/verdant-tiny', '--prompt', '24', '--generate', '6', '--threads', '1'];

/** A stand-in for the package that --rivals runs: it wants a GGUF file and gives as many ids as are taken. */
const standIn = `
import { closeSync, openSync, readSync } from 'node:fs';
const sequence = {
  clearHistory: async () => {},
  async *evaluate() { for (;;) { await new Promise((resolve) => setTimeout(resolve, 1)); yield 7; } },
};
export const getLlama = async () => ({
  llamaCppRelease: { release: 'stand-in' },
  loadModel: async ({ modelPath }) => {
    const [file, magic] = [openSync(modelPath), Buffer.alloc(4)];
    readSync(file, magic);
    closeSync(file);
    if (magic.toString() !== 'GGUF' || process.env.STAND_IN_FAILS === '1') throw new Error('cannot load the model');
    return { createContext: async () => ({ getSequence: () => sequence, dispose: async () => {} }) };
  },
});
`;

/** Folders for a bench of a shape with the stand-in: its package, and an empty one for temporary files. */
function withStandIn(): { readonly args: readonly string[]; readonly temporary: string } {
  const folder = temporaryFolder();
  const root = join(folder, 'node_modules/node-llama-cpp');
  const temporary = join(folder, 'temporary');
  mkdirSync(root, { recursive: true });
  mkdirSync(temporary);
  const main = { name: 'node-llama-cpp', version: '0.0.0', type: 'module', main: 'index.js' };
  writeFileSync(join(root, 'package.json'), JSON.stringify(main));
  writeFileSync(join(root, 'index.js'), standIn);
  const sizes = ['--prompt', '4', '--generate', '2', '--threads', '1', '--repeat', '1'];
  return { args: ['bench', '--shape', 'gpt2', '--rivals', '--rival-path', folder, ...sizes], temporary };
}

/** Every opened element is closed again, in order, and the text holds no bare & or <. */
function expectWellFormed(svg: string): void {
  const open: string[] = [];
  for (const [, end, name, empty] of svg.replace(/<\?xml.*?\?>/, '').matchAll(/<(\/?)([a-z]+)[^<>]*?(\/?)>/g)) {
    if (end === '/') expect(open.pop()).toBe(name);
    else if (empty !== '/') open.push(name!);
  }
  expect(open).toEqual([]);
  expect(svg.replace(/<[^<>]*>/g, '')).not.toMatch(/[<>]|&(?!amp;|lt;|gt;|quot;)/);
}

describe('verdant bench', () => {
  it('measures a model next to the ceilings of the same run', async () => {
    const folder = temporaryFolder();
    const [json, svg] = [join(folder, 'bench.json'), join(folder, 'bench.svg')];
    const more = ['--batch', '1,3', '--context', '40', '--repeat', '2', '--profile', '--json', json, '--svg', svg];
    const made = await verdant([...tiny, ...more]);
    expect(made.code, made.stderr).toBe(0);
    const report = JSON.parse(readFileSync(json, 'utf8')) as BenchReport;
    expect(report.sections.map((s) => s.name)).toEqual([
      'prefill 24',
      'decode 6',
      'decode 6, batch 3',
      'decode 6 at 40',
    ]);
    expect(report.environment).toMatchObject({ node: process.version, device: 'cpu', threads: 1 });
    expect(report.options).toMatchObject({ prompt: 24, generate: 6, batch: [1, 3], context: 40, repeat: 2 });
    for (const kind of ['stream', 'f32'] as const) expect(report.ceilings[kind]!.min).toBeGreaterThan(0.01);
    // One measurement before the first section and one after each run of a section.
    expect(report.ceilings.stream!.samples).toHaveLength(1 + 2 * 4);
    for (const s of report.sections) {
      expect(s.measurements).toHaveLength(2);
      expect(s.tokensPerSecond.min).toBeGreaterThan(0);
      expect(s.tokensPerSecond.median).toBeGreaterThanOrEqual(s.tokensPerSecond.min);
      expect(s.tokensPerSecond.max).toBeGreaterThanOrEqual(s.tokensPerSecond.median);
      const { stream } = s.fractions;
      const [gigabytes, ceiling] = [s.gigabytesPerSecond.samples, s.measurements.map((m) => m.ceilings.stream)];
      expect(stream!.samples[1]).toBeCloseTo(gigabytes[1]! / ceiling[1]!, 9);
      expect(s.interTokenMs === null).toBe(s.kind === 'prefill');
      if (s.kind === 'decode') expect(s.measurements[0]!.interTokenMs).toHaveLength(5 * s.batch);
    }
    expect(report.load.ms).toBeGreaterThan(0);
    expect(report.peakRssBytes).toBeGreaterThan(report.model.packedBytes);
    expectWellFormed(readFileSync(svg, 'utf8'));
    expect(readFileSync(svg, 'utf8')).toContain('decode 6, batch 3');
    expect(made.stdout).toMatch(/^ceilings +memory stream [\d.]+ .*GB\/s, f32 [\d.]+ .*GFLOP\/s, bf16 /m);
    expect(made.stdout).toMatch(/^decode 6, batch 3 +[\d.]+ \([\d.]+–[\d.]+\) +p50 [\d.]+, p99 [\d.]+ /m);
    const shares = report.profile!.filter((e) => e.section === 'decode 6').map((e) => e.share);
    expect(shares.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 6);
    expect(made.stdout).toMatch(/^profile of decode 6: .*linear [\d.]+ %/m);
    // The step that takes the prompt in and gives the first id does not count, behind a context neither.
    const steps = (section: string): number =>
      Math.min(...report.profile!.filter((e) => e.section === section).map((e) => e.calls));
    expect(report.sections.map((s) => steps(s.name))).toEqual([1, 5, 5, 5]);
  });

  it('counts bytes and operations of the graph', async () => {
    const folder = temporaryFolder();
    const json = join(folder, 'bench.json');
    const made = await verdant([...tiny, '--repeat', '1', '--quant', 'q8_0', '--json', json]);
    expect(made.code, made.stderr).toBe(0);
    const { work, model, sections } = JSON.parse(readFileSync(json, 'utf8')) as BenchReport;
    const c = JSON.parse(readFileSync(join(root, 'models/verdant-tiny/config.json'), 'utf8'));
    const headDim = c.head_dim ?? c.hidden_size / c.num_attention_heads;
    const projections = c.hidden_size * headDim * (2 * c.num_attention_heads + 2 * c.num_key_value_heads);
    const layers = c.num_hidden_layers * (projections + 3 * c.hidden_size * c.intermediate_size);
    expect(work.rowMacs).toBe(layers);
    expect(work.logitMacs).toBe(c.vocab_size * c.hidden_size);
    // Vectors stay as they are stored: bf16.
    const norms = 2 * c.hidden_size * (2 * c.num_hidden_layers + 1);
    expect(model.stepBytes).toBe(((layers + work.logitMacs) * 34) / 32 + norms);
    const attention = c.num_hidden_layers * 2 * c.num_attention_heads * headDim * ((24 * 25) / 2);
    const flops = 2 * (24 * layers + work.logitMacs + attention);
    const [prefill] = sections;
    expect(prefill!.gigaflops.median).toBeCloseTo((flops * prefill!.tokensPerSecond.median) / 24 / 1e9, 9);
  });

  it.each([
    [[], 'nothing to measure'],
    [['--shape', 'gpt3'], 'no shape gpt3; expected gpt2, .*llama-3.1-8b'],
    [['--shape', 'gpt2', '--batch', '1,x'], 'It is not a number'],
    [['--shape', 'gpt2', '--json', 'absent/x.json'], 'json: its folder does not exist'],
    [['models/verdant-tiny', '--prompt', '100000', '--threads', '1'], 'at most 512 ids in a sequence; found 100001'],
  ] as const)('refuses %j', async (args, message) => {
    const made = await verdant(['bench', ...args]);
    expect(made).toMatchObject({ code: 2, stdout: '' });
    expect(made.stderr).toMatch(new RegExp(`^verdant: .*${message}`));
  });

  it('refuses devices and rivals that are not there', async () => {
    const folder = temporaryFolder();
    writeFileSync(join(folder, 'x.gguf'), '');
    const [device, rival] = await Promise.all([
      verdant([...tiny, '--device', 'cpu:neon']),
      verdant(['bench', join(folder, 'x.gguf'), '--rivals', '--rival-path', folder]),
    ]);
    expect(device).toMatchObject({ code: 1, stdout: '' });
    expect(device.stderr).toMatch(/^verdant: no device cpu:neon; expected cpu, /);
    expect(rival).toMatchObject({ code: 2, stdout: '' });
    expect(rival.stderr).toMatch(
      /node-llama-cpp is not installed\nIn a folder of its own: npm install node-llama-cpp@/,
    );
  });

  it('writes a shape for both engines and takes the file away again', async () => {
    const { args, temporary } = withStandIn();
    const json = join(temporaryFolder(), 'bench.json');
    const env = { TMPDIR: temporary, TEMP: temporary };
    const made = await verdant([...args, '--quant', 'q4_0', '--json', json], { env });
    expect(made.code, made.stderr).toBe(0);
    const report = JSON.parse(readFileSync(json, 'utf8')) as BenchReport;
    expect(report.model).toMatchObject({ name: 'gpt2', weights: 'random q4_0', architecture: 'GPT2LMHeadModel' });
    expect(report.options).toMatchObject({ shape: 'gpt2', quant: 'q4_0', rivals: true });
    // 4.5 bits of each weight, the tied table in q6_k.
    expect(report.model.stepBytes / 1e6).toBeCloseTo((85e6 * 4.5 + 38.6e6 * 6.5625) / 8e6, 0);
    expect(report.rival).toMatchObject({ package: 'node-llama-cpp', version: '0.0.0', about: 'stand-in' });
    expect(report.rival!.sections.map((s) => s.name)).toEqual(['prefill 4', 'decode 2']);
    for (const s of report.rival!.sections) expect(s.ratio).toBe(s.ours.median / s.theirs.median);
    expect(readdirSync(temporary)).toEqual([]);
  });

  it('takes the file of a shape away when an engine fails', async () => {
    const { args, temporary } = withStandIn();
    const made = await verdant(args, { env: { TMPDIR: temporary, TEMP: temporary, STAND_IN_FAILS: '1' } });
    expect(made).toMatchObject({ code: 1, stdout: '' });
    expect(made.stderr).toMatch(/^verdant: .*node-llama-cpp: cannot load the model/m);
    expect(readdirSync(temporary)).toEqual([]);
  });

  it('takes the file of a shape away on Ctrl-C, while it is written', async () => {
    const { args, temporary } = withStandIn();
    const child = start(args, { TMPDIR: temporary, TEMP: temporary });
    let written: readonly string[] = [];
    const code = await new Promise((resolve) => {
      const timer = setInterval(() => {
        const [folder] = readdirSync(temporary);
        written = folder === undefined ? [] : readdirSync(join(temporary, folder));
        if (written.length > 0) child.kill('SIGINT');
        if (written.length > 0) clearInterval(timer);
      }, 5);
      child.on('exit', resolve);
    });
    expect(code).toBe(130);
    expect(written).toEqual([expect.stringMatching(/^\.gpt2-q8_0\.gguf\..*\.tmp$/)]);
    expect(readdirSync(temporary)).toEqual([]);
  });

  it('leaves with 130 on Ctrl-C and writes nothing', async () => {
    const folder = temporaryFolder();
    const json = join(folder, 'bench.json');
    const child = start([...tiny, '--generate', '400', '--repeat', '1000', '--json', json]);
    let stderr = '';
    const code = await new Promise((resolve) => {
      child.stderr.setEncoding('utf8').on('data', (text: string) => {
        stderr += text;
        if (/round 1 of/.test(stderr)) child.kill('SIGINT');
      });
      child.on('exit', resolve);
    });
    expect(code, stderr).toBe(130);
    expect(existsSync(json)).toBe(false);
  });
});
