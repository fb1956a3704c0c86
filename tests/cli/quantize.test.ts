import { existsSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { temporaryFolder, verdant } from './cli.js';

const llama = 'tests/fixtures/models/llama';

describe('verdant quantize', () => {
  it('writes a file that runs, and lists what its widths forced', async () => {
    const out = join(temporaryFolder(), 'm.gguf');
    const made = await verdant(['quantize', llama, out, '--type', 'q8_0']);
    expect(made).toMatchObject({ code: 0, stderr: '' });
    expect(made.stdout).toMatch(/^size +\d.* in \d+\.\d s$/m);
    // Rows of 42 and 90 elements hold no blocks of 32.
    expect(made.stdout).toMatch(/^types +.*f16: \d+ tensors/m);
    expect(made.stdout).toMatch(/^fallback +blk\.0\.ffn_down\.weight \[\d+, \d+\]: f16 in place of q8_0/m);
    const inspected = await verdant(['inspect', out]);
    expect(inspected.stdout).toMatch(/^dtypes +.*f16: \d+ tensors/m);
    expect(inspected.stdout).toMatch(/^packed as +f16: \d+ matrices$/m);
  });

  it('gives its result as data', async () => {
    const out = join(temporaryFolder(), 'm.gguf');
    const { stdout } = await verdant(['quantize', 'models/verdant-tiny', out, '--type', 'q8_0', '--json']);
    const found = JSON.parse(stdout);
    expect(found).toMatchObject({ path: out, bytes: statSync(out).size });
    expect(found.tensors).toContainEqual({ name: 'output_norm.weight', shape: [192], wanted: 'f32', type: 'f32' });
    expect(found.tensors).toContainEqual({
      name: 'blk.0.attn_k.weight',
      shape: [64, 192],
      wanted: 'q8_0',
      type: 'q8_0',
    });
    const prompt = ['--prompt', 'The fluffy', '--greedy', '--max-tokens', '12', '--compute', 'f32'];
    const [file, folder] = await Promise.all([
      verdant(['run', out, ...prompt]),
      verdant(['run', 'models/verdant-tiny', '--quantize', 'q8_0', ...prompt]),
    ]);
    expect(file).toMatchObject({ code: 0 });
    expect(file.stdout).toBe(folder.stdout);
  });

  it('says what is wrong', async () => {
    const folder = temporaryFolder();
    const [out, taken] = [join(folder, 'm.gguf'), join(folder, 'taken.gguf')];
    writeFileSync(taken, 'precious');
    const run = (...args: string[]) => verdant(['quantize', ...args]);
    const [untyped, type, upper, name, exists, missing, quantised, nowhere] = await Promise.all([
      run(llama, out),
      run(llama, out, '--type', 'q9_z'),
      run(llama, out, '--type', 'Q8_0'),
      run(llama, join(folder, 'm.bin'), '--type', 'f16'),
      run(llama, taken, '--type', 'f16'),
      run(join(folder, 'none'), out, '--type', 'f16'),
      run('tests/fixtures/gguf/llama_q8_0', out, '--type', 'q4_0'),
      run(llama, join(folder, 'no', 'm.gguf'), '--type', 'f16'),
    ]);
    expect(untyped).toMatchObject({ code: 2, stdout: '' });
    expect(untyped.stderr).toMatch(/--type <type>/);
    expect(type).toMatchObject({ code: 2, stdout: '' });
    expect(type.stderr).toMatch(/q9_z.*f32, f16, bf16, q8_0, q4_0.*q4_k_m/);
    expect(upper.code).toBe(2);
    expect(name.code).toBe(2);
    expect(name.stderr).toMatch(/NAME\.gguf/);
    expect(exists.code).toBe(1);
    expect(exists.stderr).toMatch(/taken\.gguf: the file exists\n.*--overwrite/);
    expect(missing.code).toBe(1);
    expect(missing.stderr).toMatch(/none/);
    expect(quantised.code).toBe(1);
    expect(quantised.stderr).toMatch(/already quantised.*found q8_0\nQuantise the original/);
    expect(nowhere.code).toBe(1);
    expect(nowhere.stderr).toMatch(/cannot write there.*ENOENT/);
    expect(existsSync(out)).toBe(false);
    expect(readdirSync(folder)).toEqual(['taken.gguf']);
    expect(await run(llama, taken, '--type', 'f16', '--overwrite')).toMatchObject({ code: 0 });
  });
});

describe('--quantize', () => {
  it('shows in inspect and in the program', async () => {
    const [json, graph, twice] = await Promise.all([
      verdant(['inspect', 'models/verdant-tiny', '--quantize', 'q8_0', '--compute', 'f32', '--json']),
      verdant(['graph', 'models/verdant-tiny', '--quantize', 'q8_0']),
      verdant(['run', 'tests/fixtures/gguf/llama_q8_0', 'x', '--quantize', 'q8_0']),
    ]);
    const { matrices, dtypes } = JSON.parse(json.stdout);
    expect(Object.keys(dtypes)).toEqual(['bf16']);
    expect(matrices[0]).toEqual({
      name: 'model.embed_tokens.weight',
      rows: 1536,
      cols: 192,
      stored: 'bf16',
      wanted: 'q8_0',
      type: 'q8_0',
    });
    expect(matrices.every((m: { type: string }) => m.type === 'q8_0')).toBe(true);
    expect(graph.stdout).toContain('q8_0');
    expect(twice.code).toBe(1);
    expect(twice.stderr).toMatch(/already quantised/);
  });

  it('takes only the names that it lists', async () => {
    const made = await verdant(['inspect', llama, '--quantize', 'int4']);
    expect(made).toMatchObject({ code: 2, stdout: '' });
    expect(made.stderr).toMatch(/int4.*q8_0, q4_0/);
  });
});
