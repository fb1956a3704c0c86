import { type WeightDType, weightDTypes } from '../../lib/graph/dtype.js';
import { concatRows, type WeightExpr } from '../../lib/graph/weight_expr.js';
import type { OpTest } from '../support/compare.js';
import { quantTypes } from '../support/quants.js';
import { Random } from '../support/random.js';
import { activations, moe } from '../support/reference.js';
import type { OpCase } from '../support/run_op.js';
import { type StoredWeight, storedWeight } from '../support/weights.js';
import { f32, out } from './inputs.js';

export interface MoeSizes {
  readonly hidden: number;
  readonly ffn: number;
  readonly experts: number;
  readonly top: number;
}

export interface MoeData extends MoeSizes {
  readonly x: Float32Array;
  readonly router: Float32Array;
  /** Of each expert. */
  readonly gate: readonly StoredWeight[];
  readonly up: readonly StoredWeight[];
  readonly down: readonly StoredWeight[];
}

export interface MoeChoice {
  readonly normalise?: boolean;
  readonly fn?: 'silu' | 'relu';
  readonly compute?: string;
}

/** Expert e has the types of entry e modulo their number; smaller row counts take the first rows. */
export function moeData(
  types: readonly { readonly up: WeightDType; readonly down: WeightDType }[],
  rows: number,
  sizes: MoeSizes,
): MoeData {
  const { hidden, ffn, experts } = sizes;
  const random = new Random(rows * 1000 + hidden * 10 + ffn);
  const make = (which: 'up' | 'down', n: number, k: number): StoredWeight[] =>
    Array.from({ length: experts }, (_, e) => storedWeight(random, types[e % types.length]![which], n, k));
  return {
    ...sizes,
    x: random.normal(rows * hidden),
    router: random.normal(rows * experts, 2),
    gate: make('up', ffn, hidden),
    up: make('up', ffn, hidden),
    down: make('down', hidden, ffn),
  };
}

const stacked = (parts: readonly StoredWeight[]): WeightExpr => concatRows(parts.map((p) => p.expr));

export function moeCase(d: MoeData, rows: number, choice: MoeChoice = {}, from = 0): OpCase {
  const { hidden, ffn, experts, top } = d;
  const { normalise = true, fn = 'silu', compute = 'f32' } = choice;
  return {
    op: 'moe',
    attrs: { top, normalise, fn, compute },
    inputs: {
      x: f32(d.x.subarray(from * hidden, (from + rows) * hidden), rows, hidden),
      router: f32(d.router.subarray(from * experts, (from + rows) * experts), rows, experts),
      gate: { weight: stacked(d.gate), shape: [experts * ffn, hidden] },
      up: { weight: stacked(d.up), shape: [experts * ffn, hidden] },
      down: { weight: stacked(d.down), shape: [experts * hidden, ffn] },
    },
    outputs: [out(rows, hidden)],
  };
}

export function moeTest(name: string, d: MoeData, rows: number, choice: MoeChoice, gate: number): OpTest {
  const { normalise = true, fn = 'silu', compute = 'f32' } = choice;
  const numbers = (parts: readonly StoredWeight[]): Float64Array => {
    const all = new Float64Array(parts.length * parts[0]!.values.length);
    for (const [e, p] of parts.entries()) all.set(p.values, e * p.values.length);
    return all;
  };
  return {
    name: `${name}, rows ${rows}, hidden ${d.hidden}, ffn ${d.ffn}, ${d.top} of ${d.experts} experts, ${normalise ? 'normalised, ' : ''}${fn}, compute ${compute}`,
    nodes: [moeCase(d, rows, choice)],
    expected: () => {
      const about = {
        rows,
        hidden: d.hidden,
        ffn: d.ffn,
        experts: d.experts,
        top: d.top,
        normalise,
        fn: activations[fn]!,
      };
      return { y: moe(d.x, d.router, numbers(d.gate), numbers(d.up), numbers(d.down), about) };
    },
    gate,
  };
}

/** Sizes that the blocks of a type divide and, where they may, panels do not. */
export function sizesFor(dtype: WeightDType): MoeSizes {
  const { block } = weightDTypes[dtype];
  if (block === 256) return { hidden: 256, ffn: 256, experts: 3, top: 2 };
  return block === 32 ? { hidden: 96, ffn: 32, experts: 5, top: 2 } : { hidden: 37, ffn: 21, experts: 5, top: 2 };
}

export const allTypes: readonly WeightDType[] = ['f32', 'f16', 'bf16', ...quantTypes];

/** What int8 may cost: x and the product of gate and up are rounded. */
const int8Gates = { 1: 0, 32: 3e-4, 256: 5e-4 };

function typeTests(dtype: WeightDType): OpTest[] {
  const data = moeData([{ up: dtype, down: dtype }], 33, sizesFor(dtype));
  const block = weightDTypes[dtype].block as keyof typeof int8Gates;
  const plain = [1, 2, 7, 33].map((rows) =>
    moeTest(dtype, data, rows, { normalise: rows !== 7, fn: rows === 2 ? 'relu' : 'silu' }, 1e-11),
  );
  if (block === 1) return plain;
  return [...plain, moeTest(dtype, data, 33, { compute: `int8/${block}` }, int8Gates[block])];
}

const f32Both = { up: 'f32', down: 'f32' } as const;

export const moeTests: readonly OpTest[] = [
  ...allTypes.flatMap(typeTests),
  moeTest('q4_k + q6_k', moeData([{ up: 'q4_k', down: 'q6_k' }], 5, sizesFor('q4_k')), 5, {}, 1e-11),
  moeTest(
    'experts of three types',
    moeData(
      [
        { up: 'q8_0', down: 'f32' },
        { up: 'f32', down: 'q4_0' },
        { up: 'bf16', down: 'f16' },
      ],
      9,
      { hidden: 64, ffn: 32, experts: 7, top: 3 },
    ),
    9,
    {},
    1e-11,
  ),
  moeTest('f32', moeData([f32Both], 3, { hidden: 1, ffn: 1, experts: 1, top: 1 }), 3, { normalise: false }, 1e-11),
  moeTest('f32', moeData([f32Both], 5, { hidden: 16, ffn: 64, experts: 3, top: 3 }), 5, {}, 1e-11),
  moeTest('f32', moeData([f32Both], 129, { hidden: 33, ffn: 130, experts: 64, top: 8 }), 129, {}, 1e-11),
  moeTest(
    'f32',
    moeData([f32Both], 401, { hidden: 19, ffn: 70, experts: 2, top: 1 }),
    401,
    { normalise: false },
    1e-11,
  ),
  moeTest('f32', moeData([f32Both], 0, { hidden: 19, ffn: 70, experts: 2, top: 1 }), 0, {}, 1e-11),
];
