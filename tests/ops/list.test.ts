import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { opList, sampleIntegerColumns, sampleNumberColumns } from '../../lib/ops/index.js';
import { native } from '../../lib/runtime/native.js';

describe('the list of ops', () => {
  it('is the same in TypeScript and in native code', () => {
    const found = native().ops();
    expect(
      found.map(({ name, inputs, outputs, attrs }) => ({
        name,
        inputs,
        outputs: outputs.map((o) => o.replace('?', '')),
        attrs,
      })),
    ).toEqual(
      opList.map(({ name, inputs, outputs, attrs }) => ({
        name,
        inputs,
        outputs: outputs.map((o) => o.replace('?', '')),
        attrs,
      })),
    );
    const sample = found.find((o) => o.name === 'sample')!;
    expect(sample.numberColumns).toEqual(sampleNumberColumns);
    expect(sample.integerColumns).toEqual(sampleIntegerColumns);
  });
});

/** Undefined names that a tier's object may have: C library and C++ ABI that kernels cannot help. */
const allowed =
  /^(_GLOBAL_OFFSET_TABLE_|__stack_chk_fail|mem(cpy|set|move|cmp)|(sin|cos|sincos|pow|exp|log|log10|exp2|log2|erf|tanh|ceil|floor|round|rint|nearbyint|trunc|lrint|sqrt|fma)f?)(@.*)?$/;

const build = join(import.meta.dirname, '../../build/Release/obj.target');
const objects = existsSync(build)
  ? readdirSync(build, { recursive: true, encoding: 'utf8' })
      .filter((f) => f.startsWith('isa_') && f.endsWith('.o'))
      .map((f) => join(build, f))
  : [];
const hasNm = spawnSync('nm', ['--version']).status === 0;

describe.skipIf(!hasNm || objects.length === 0)('ISA objects (needs nm and a local build)', () => {
  it.each(objects.map((f) => [f.split('/').at(-1)!, f] as const))(
    '%s is sealed: no weak or unique symbols, nothing from outside but C',
    (_, file) => {
      const lines = execFileSync('nm', [file], { encoding: 'utf8' }).trim().split('\n');
      const symbols = lines.map((l) => l.trim().split(/\s+/).slice(-2) as [string, string]);
      // W, V, u: code that the linker may take from another object, compiled for other instructions.
      expect(symbols.filter(([type]) => 'WwVvu'.includes(type)).map(([, name]) => name)).toEqual([]);
      expect(symbols.filter(([type, name]) => type === 'U' && !allowed.test(name)).map(([, name]) => name)).toEqual([]);
    },
  );
});
