import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { GraphError } from '../../lib/errors.js';
import { type WeightDType, weightDTypes } from '../../lib/graph/dtype.js';
import type { WeightExpr } from '../../lib/graph/weight_expr.js';
import { readWeight } from '../../lib/runtime/weights.js';
import { quantizedType } from '../../lib/weights/quantize_types.js';
import { readSafetensors } from '../../lib/weights/safetensors.js';

const folder = join(import.meta.dirname, '../fixtures/quants');
const distributions = ['gaussian', 'laplace', 'student', 'outliers'] as const;
const exact = ['q8_0', 'q4_0', 'q4_1', 'q5_0', 'q5_1'] as const;
const searched = ['q2_k', 'q3_k', 'q4_k', 'q5_k', 'q6_k', 'iq4_nl', 'iq4_xs'] as const;
const blocked: readonly WeightDType[] = [...exact, ...searched];

/** Tensors of a file as their bytes. */
async function stored(file: string): Promise<(name: string) => Uint8Array> {
  const { tensors } = await readSafetensors(join(folder, file));
  const bytes = readFileSync(join(folder, file));
  return (name) => {
    const entry = tensors.get(name);
    if (entry === undefined) throw new Error(`no tensor ${name} in ${file}`);
    return new Uint8Array(bytes.subarray(entry.offset, entry.offset + entry.bytes));
  };
}

const floatsOf = (bytes: Uint8Array): Float32Array => new Float32Array(bytes.slice().buffer);

/** A matrix of one row, stored as `dtype`. */
function row(dtype: WeightDType, data: Float32Array | Uint8Array): WeightExpr {
  const { block, bytes } = weightDTypes[dtype];
  return { kind: 'bytes', dtype, rows: 1, cols: (data.byteLength / bytes) * block, data };
}

const cast = (dtype: WeightDType, of: WeightExpr): WeightExpr => ({
  kind: 'cast',
  dtype,
  rows: of.rows,
  cols: of.cols,
  of: [of],
});

const encode = (dtype: WeightDType, x: Float32Array): Promise<Uint8Array> =>
  readWeight(cast(dtype, row('f32', x)), 0, 1);
const decode = async (dtype: WeightDType, data: Uint8Array): Promise<Float32Array> =>
  floatsOf(await readWeight(cast('f32', row(dtype, data)), 0, 1));
/** What is left of weights after a round trip. */
const recoded = async (dtype: WeightDType, x: Float32Array): Promise<Float32Array> =>
  decode(dtype, await encode(dtype, x));

function rmse(a: Float32Array, b: Float32Array): number {
  return Math.sqrt(a.reduce((sum, v, i) => sum + (v - b[i]!) ** 2, 0) / a.length);
}

describe('decoding is that of the gguf package, bit for bit', () => {
  it.each(blocked)('%s', async (dtype) => {
    const of = await stored('blocks.safetensors');
    const found = await decode(dtype, of(`${dtype}.stored`));
    expect(new Uint32Array(found.buffer)).toEqual(new Uint32Array(of(`${dtype}.decoded`).buffer));
  });
});

describe('encoding is that of ggml, byte for byte', () => {
  it.each(exact)('%s', async (dtype) => {
    const of = await stored('values.safetensors');
    for (const name of [...distributions, 'edges'])
      expect(await encode(dtype, floatsOf(of(name))), name).toEqual(of(`${dtype}.${name}`));
  });
});

describe('encoding errs no more than llama.cpp does without an importance matrix, within 5 %', () => {
  const reference = JSON.parse(readFileSync(join(folder, 'rmse.json'), 'utf8')) as Record<
    string,
    Record<string, number>
  >;
  it.each(searched)('%s', async (dtype) => {
    const of = await stored('values.safetensors');
    for (const name of distributions) {
      const x = floatsOf(of(name));
      expect(rmse(await recoded(dtype, x), x), name).toBeLessThan(1.05 * reference[dtype]![name]!);
    }
  });
});

describe('encoding any block', () => {
  const fill = (f: (i: number) => number): Float32Array => Float32Array.from({ length: 256 }, (_, i) => f(i));
  const wave = (i: number): number => Math.sin(i * 1.7) * 0.1;
  /** Largest error as a share of the largest weight: half a step, for blocks all on one side of 0 a whole one. */
  const gates: Readonly<Record<string, number>> = { q2_k: 0.34, q3_k: 0.25, q6_k: 0.03, q8_0: 0.01 };

  it.each(blocked)('%s: zeros stay zero, constants and small numbers keep their value', async (dtype) => {
    const gate = gates[dtype] ?? 0.13;
    const zeros = await recoded(dtype, new Float32Array(256));
    expect(zeros.every((v) => v === 0)).toBe(true);
    for (const x of [fill(() => 0.3), fill(() => -0.3), fill(wave), fill((i) => Math.abs(wave(i))), fill(() => 1e-3)]) {
      const scale = Math.max(...x.map(Math.abs));
      const found = await recoded(dtype, x);
      expect(Math.max(...found.map((v, i) => Math.abs(v - x[i]!))) / scale).toBeLessThan(gate);
    }
    // Below what any scale holds.
    const tiny = fill((i) => wave(i) * 1e-42);
    expect((await recoded(dtype, tiny)).every((v) => v === 0)).toBe(true);
  });

  it.each(blocked)('%s: out of range and not finite become finite; the other weights of NaN live on', async (dtype) => {
    const huge = fill((i) => (i % 3 === 0 ? 3e38 : wave(i)));
    const infinite = fill((i) => (i % 5 === 0 ? Number.POSITIVE_INFINITY : i % 5 === 1 ? Number.NEGATIVE_INFINITY : 1));
    for (const x of [huge, infinite, fill(() => Number.NaN), fill((i) => i * 1e36)])
      expect((await recoded(dtype, x)).every(Number.isFinite)).toBe(true);
    const holes = fill((i) => (i % 16 === 3 ? Number.NaN : wave(i)));
    const patched = holes.map((v) => (Number.isNaN(v) ? 0 : v));
    expect(await encode(dtype, holes)).toEqual(await encode(dtype, patched));
  });
});

describe('sizes', () => {
  it.each(blocked)('%s: columns that are no whole blocks are refused', async (dtype) => {
    const { block } = weightDTypes[dtype];
    const expr = cast(dtype, row('f32', new Float32Array(block + 16)));
    await expect(readWeight(expr, 0, 1)).rejects.toThrow(GraphError);
    await expect(readWeight(expr, 0, 1)).rejects.toThrow(`blocks of ${block}`);
  });

  it.each(blocked)('%s: missing bytes are refused', async (dtype) => {
    const { block, bytes } = weightDTypes[dtype];
    const expr: WeightExpr = { kind: 'bytes', dtype, rows: 2, cols: block, data: new Uint8Array(2 * bytes - 1) };
    await expect(readWeight(expr, 0, 1)).rejects.toThrow(`expected ${2 * bytes} bytes`);
  });

  it.each(blocked)('%s: any columns of a decoded matrix can be read, as a transposition does', async (dtype) => {
    const of = await stored('blocks.safetensors');
    const { block, bytes } = weightDTypes[dtype];
    const data = of(`${dtype}.stored`);
    const rows = data.length / bytes;
    const plain = cast('f32', { kind: 'bytes', dtype, rows, cols: block, data });
    const turned: WeightExpr = { kind: 'transpose', dtype: 'f32', rows: block, cols: rows, of: [plain] };
    const values = floatsOf(await readWeight(plain, 0, rows));
    const found = floatsOf(await readWeight(turned, 5, 3));
    expect(found).toEqual(
      Float32Array.from({ length: 3 * rows }, (_, i) => values[(i % rows) * block + 5 + Math.floor(i / rows)]!),
    );
  });
});

describe('quantizedType', () => {
  it('keeps a type whose blocks divide the columns', () => {
    for (const type of blocked) expect(quantizedType(type, 512)).toBe(type);
    expect(quantizedType('q4_0', 96)).toBe('q4_0');
    expect(quantizedType('bf16', 7)).toBe('bf16');
  });

  it('takes the stand-ins of llama-quantize, then f16', () => {
    const found = searched.map((type) => [type, quantizedType(type, 288), quantizedType(type, 100)]);
    expect(found).toEqual([
      ['q2_k', 'q4_0', 'f16'],
      ['q3_k', 'q4_0', 'f16'],
      ['q4_k', 'q5_0', 'f16'],
      ['q5_k', 'q5_1', 'f16'],
      ['q6_k', 'q8_0', 'f16'],
      ['iq4_nl', 'iq4_nl', 'f16'],
      ['iq4_xs', 'iq4_nl', 'f16'],
    ]);
  });
});
