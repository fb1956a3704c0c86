/** What every kernel's source must hold to. */
import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';

const folder = resolve(import.meta.dirname, '../../native/cuda');
const wait = 'wait_for_predecessors();';

/** Kernels that prepare shared memory or look at weights before they wait. */
const prepared: ReadonlySet<string> = new Set([
  'linear_codes_kernel',
  'linear_few_kernel',
  'linear_gated_kernel',
  'linear_split_kernel',
  'linear_wide_kernel',
  'norm_kernel',
]);

interface Kernel {
  readonly name: string;
  readonly before: string | undefined; // the body up to the wait; undefined: there is none
}

const kernels = (text: string): Kernel[] =>
  text
    .split(/^(?:static )?__global__ /m)
    .slice(1)
    .map((source) => {
      const open = source.indexOf('{');
      const name = /\w+_kernel(?=\()/.exec(source.slice(0, open))?.[0] ?? source.slice(0, open);
      const body = source.slice(open + 1, source.search(/\n}\n/));
      const at = body.indexOf(wait);
      return { name, before: at < 0 ? undefined : body.slice(0, at).trim() };
    });

describe('the kernels', () => {
  const all = readdirSync(folder)
    .filter((name) => /\.cuh?$/.test(name))
    .flatMap((name) => kernels(readFileSync(join(folder, name), 'utf8')));

  it('are found', () => {
    const text = readdirSync(folder)
      .filter((name) => /\.(cuh?|h|cc)$/.test(name))
      .map((name) => readFileSync(join(folder, name), 'utf8'))
      .join('');
    expect(all.length).toBe(text.split('__global__').length - 1);
    for (const name of prepared) expect(all.map((k) => k.name)).toContain(name);
  });

  it.each(all)('$name waits for the kernels before it first', ({ name, before }) => {
    expect(before).toBeDefined();
    if (prepared.has(name)) expect(before).not.toMatch(/\breturn;/);
    else expect(before).toBe('');
  });
});
