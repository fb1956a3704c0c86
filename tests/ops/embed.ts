import { type WeightDType, weightDTypes } from '../../lib/graph/dtype.js';
import { concatRows, type WeightExpr } from '../../lib/graph/weight_expr.js';
import type { OpTest } from '../support/compare.js';
import { Random } from '../support/random.js';
import { storedWeight } from '../support/weights.js';
import { i32, out } from './inputs.js';

/** Exact: rows of the table decoded. Some ids lie outside: their rows are NaN. Tables of several types stand under each other. */
export function embedTest(dtypes: readonly WeightDType[], rows: number, vocab: number, cols: number): OpTest {
  const random = new Random(rows * 1000 + vocab * 10 + cols);
  const parts = dtypes.map((dtype) => storedWeight(random, dtype, vocab, cols));
  const weight: WeightExpr = parts.length === 1 ? parts[0]!.expr : concatRows(parts.map((p) => p.expr));
  const total = vocab * parts.length;
  const ids = random.integers(rows, -1, total + 1);
  if (rows > 1) ids[1] = 2147483647;
  const row = (id: number): number[] => {
    if (id < 0 || id >= total) return Array<number>(cols).fill(Number.NaN);
    const start = (id % vocab) * cols;
    return [...parts[Math.floor(id / vocab)]!.values.subarray(start, start + cols)];
  };
  return {
    name: `${dtypes.join(' + ')}, rows ${rows}, table (${total}, ${cols})`,
    nodes: [
      { op: 'embed', inputs: { ids: i32(ids), table: { weight, shape: [total, cols] } }, outputs: [out(rows, cols)] },
    ],
    expected: () => ({ y: Float32Array.from([...ids].flatMap(row)) }),
    gate: 0,
  };
}

export const embedTests: readonly OpTest[] = [
  ...(['f32', 'f16', 'bf16'] as const).flatMap((t) => [
    embedTest([t], 1, 1, 1),
    embedTest([t], 3, 129, 17),
    embedTest([t], 129, 17, 3),
    embedTest([t], 17, 3, 129),
  ]),
  ...(['q8_0', 'q4_0'] as const).flatMap((t) => [
    embedTest([t], 1, 1, 32),
    embedTest([t], 3, 129, 96),
    embedTest([t], 129, 17, 32),
    embedTest([t], 17, 3, 288),
  ]),
  ...(Object.keys(weightDTypes) as WeightDType[]).map((t) => embedTest([t], 33, 9, 768)),
  embedTest(['q8_0', 'bf16', 'q4_0'], 129, 17, 64),
  embedTest(['q6_k', 'f32', 'q4_k', 'iq4_nl'], 65, 5, 256),
  embedTest(['f32'], 0, 17, 3),
];
