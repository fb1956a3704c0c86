import { activations } from '../../lib/ops/index.js';
import type { OpTest } from '../support/compare.js';
import { Random } from '../support/random.js';
import { activations as formulas } from '../support/reference.js';
import { f32, oddSizes, out } from './inputs.js';

/** Numbers over the whole range that an activation sees, zeros among them. */
function spread(random: Random, n: number): Float32Array {
  return random.normal(n, 4).map((v, i) => (i % 50 === 7 ? 0 : v));
}

export function activationTest(fn: string, rows: number, cols: number): OpTest {
  const x = spread(new Random(rows * 1000 + cols), rows * cols);
  return {
    name: `${fn} (${rows}, ${cols})`,
    nodes: [{ op: 'activation', attrs: { fn }, inputs: { x: f32(x, rows, cols) }, outputs: [out(rows, cols)] }],
    expected: () => ({ y: Float64Array.from(x, formulas[fn]!) }),
    gate: fn === 'relu' ? 0 : 1e-12,
  };
}

export function gatedTest(fn: string, rows: number, cols: number): OpTest {
  const random = new Random(rows * 1000 + cols);
  const [gate, up] = [spread(random, rows * cols), random.normal(rows * cols)];
  const inputs = { gate: f32(gate, rows, cols), up: f32(up, rows, cols) };
  return {
    name: `gated ${fn} (${rows}, ${cols})`,
    nodes: [{ op: 'gated', attrs: { fn }, inputs, outputs: [out(rows, cols)] }],
    expected: () => ({ y: Float64Array.from(gate, (g, i) => formulas[fn]!(g) * up[i]!) }),
    gate: 1e-12,
  };
}

/** add and mul are exact: one rounding per element. `row`: b is one row for all rows of a. */
export function binaryTest(op: 'add' | 'mul', rows: number, cols: number, row = false): OpTest {
  const random = new Random(rows * 1000 + cols);
  const [a, b] = [random.normal(rows * cols), random.normal(row ? cols : rows * cols)];
  const inputs = { a: f32(a, rows, cols), b: row ? f32(b, cols) : f32(b, rows, cols) };
  const fn = op === 'add' ? (x: number, y: number) => x + y : (x: number, y: number) => x * y;
  return {
    name: `${op} (${rows}, ${cols})${row ? ' with a row' : ''}`,
    nodes: [{ op, inputs, outputs: [out(rows, cols)] }],
    expected: () => ({ y: Float32Array.from(a, (x, i) => fn(x, b[i % b.length]!)) }),
    gate: 0,
  };
}

export function scaleTest(rows: number, cols: number, factor: number, offset: number): OpTest {
  const x = new Random(rows * 1000 + cols).normal(rows * cols);
  return {
    name: `scale (${rows}, ${cols}) by ${factor} + ${offset}`,
    nodes: [{ op: 'scale', attrs: { factor, offset }, inputs: { x: f32(x, rows, cols) }, outputs: [out(rows, cols)] }],
    // One fused multiply-add in float: float64 holds the product exactly.
    expected: () => ({ y: Float32Array.from(x, (v) => v * Math.fround(factor) + Math.fround(offset)) }),
    gate: 0,
  };
}

export function softcapTest(rows: number, cols: number, cap: number): OpTest {
  const x = new Random(rows * 1000 + cols).normal(rows * cols, 2 * cap);
  return {
    name: `softcap (${rows}, ${cols}) at ${cap}`,
    nodes: [{ op: 'softcap', attrs: { cap }, inputs: { x: f32(x, rows, cols) }, outputs: [out(rows, cols)] }],
    expected: () => ({ y: Float64Array.from(x, (v) => cap * Math.tanh(v / cap)) }),
    gate: 1e-12,
  };
}

export const elementwiseTests: readonly OpTest[] = [
  ...activations.flatMap((fn) => [...oddSizes.map((n) => activationTest(fn, 3, n)), gatedTest(fn, 17, 129)]),
  ...(['add', 'mul'] as const).flatMap((op) =>
    oddSizes.flatMap((n) => [binaryTest(op, 3, n), binaryTest(op, n, 17, true)]),
  ),
  binaryTest('add', 0, 17),
  scaleTest(17, 129, 0.5, 1),
  scaleTest(3, 1, 5.65685424949238, 0),
  softcapTest(17, 129, 30),
  softcapTest(1, 3, 50),
];
