import type { OpTest } from '../support/compare.js';
import { Random } from '../support/random.js';
import { rope, ropeTable } from '../support/reference.js';
import { f32, i32, out } from './inputs.js';

const frequencies = (theta: number, half: number): Float32Array =>
  Float32Array.from({ length: half }, (_, i) => theta ** (-i / half));

const noScaling = { attention_scaling: 1, attention_scaling_long: 1, theta: 0, factor: 1, original: 0 };

/** Positions up to a million: angles in float would be off by a radian there. */
export function ropeTableTest(rows: number, half: number, scaling = 1): OpTest {
  const random = new Random(rows * 1000 + half);
  const positions = random.integers(rows, 0, 1_000_000);
  const invFreq = frequencies(10_000, half);
  const inputs = { positions: i32(positions), inv_freq: f32(invFreq, 1, half) };
  return {
    name: `table: rows ${rows}, half ${half}, scaling ${scaling}`,
    nodes: [
      {
        op: 'rope_table',
        attrs: { ...noScaling, rule: 'static', attention_scaling: scaling },
        inputs,
        outputs: [out(rows, 2 * half)],
      },
    ],
    expected: () => ({
      table: ropeTable(
        positions,
        () => invFreq,
        () => scaling,
      ),
    }),
    gate: 1e-13,
  };
}

/** Rows of short and long sequences: lengths on both sides of `original`, and equal to it. */
function lengthsOf(random: Random, rows: number, original: number): Int32Array {
  return Int32Array.from({ length: rows }, (_, r) => (r === 0 ? original : random.integer(1, 4 * original)));
}

export function longRopeTableTest(rows: number, half: number): OpTest {
  const random = new Random(rows * 1000 + half);
  const [positions, lengths, original] = [random.integers(rows, 0, 5000), lengthsOf(random, rows, 4096), 4096];
  const [short, long] = [frequencies(10_000, half), frequencies(300_000, half)];
  const attrs = { ...noScaling, rule: 'longrope', attention_scaling: 1.19, attention_scaling_long: 1.25, original };
  const inputs = {
    positions: i32(positions),
    inv_freq: f32(Float32Array.from([...short, ...long]), 2, half),
    lengths: i32(lengths),
  };
  return {
    name: `table longrope: rows ${rows}, half ${half}`,
    nodes: [{ op: 'rope_table', attrs, inputs, outputs: [out(rows, 2 * half)] }],
    expected: () => ({
      table: ropeTable(
        positions,
        (r) => (lengths[r]! > original ? long : short),
        (r) => (lengths[r]! > original ? 1.25 : 1.19),
      ),
    }),
    gate: 1e-13,
  };
}

/** Dynamic NTK as transformers has it: θ · (factor · length / original − (factor − 1))^(d / (d − 2)), frequencies in float. */
export function dynamicRopeTableTest(rows: number, half: number): OpTest {
  const random = new Random(rows * 1000 + half);
  const [original, factor, theta, dims] = [128, 4, 10_000, 2 * half];
  const [positions, lengths] = [random.integers(rows, 0, 512), lengthsOf(random, rows, original)];
  const base = frequencies(theta, half);
  const grown = (length: number): Float32Array => {
    const larger = theta * ((factor * length) / original - (factor - 1)) ** (dims / (dims - 2));
    return Float32Array.from({ length: half }, (_, i) => 1 / larger ** ((2 * i) / dims));
  };
  const inputs = { positions: i32(positions), inv_freq: f32(base, 1, half), lengths: i32(lengths) };
  return {
    name: `table dynamic: rows ${rows}, half ${half}`,
    nodes: [
      {
        op: 'rope_table',
        attrs: { ...noScaling, rule: 'dynamic', theta, factor, original },
        inputs,
        outputs: [out(rows, dims)],
      },
    ],
    expected: () => ({
      table: ropeTable(
        positions,
        (r) => (lengths[r]! > original ? grown(lengths[r]!) : base),
        () => 1,
      ),
    }),
    gate: 1e-13,
  };
}

/** 2 · half entries of each head turn, the rest passes. */
export function ropeTest(rows: number, heads: number, headDim: number, half: number, interleaved: boolean): OpTest {
  const random = new Random(rows * 1000 + headDim);
  const x = random.normal(rows * heads * headDim);
  const angles = random.normal(rows * half, 3);
  const table = Float32Array.from({ length: rows * 2 * half }, (_, i) => {
    const [row, place] = [Math.floor(i / (2 * half)), i % (2 * half)];
    return place < half ? Math.cos(angles[row * half + place]!) : Math.sin(angles[row * half + place - half]!);
  });
  const inputs = { x: f32(x, rows, heads * headDim), table: f32(table, rows, 2 * half) };
  return {
    name: `turn: rows ${rows}, heads ${heads}, ${2 * half} of ${headDim}${interleaved ? ', interleaved' : ''}`,
    nodes: [{ op: 'rope', attrs: { head_dim: headDim, interleaved }, inputs, outputs: [out(rows, heads * headDim)] }],
    expected: () => ({ y: rope(x, table, heads * headDim, headDim, half, interleaved) }),
    gate: 1e-12,
  };
}

export const ropeTests: readonly OpTest[] = [
  ropeTableTest(1, 1),
  ropeTableTest(3, 17),
  ropeTableTest(129, 64, 1.5),
  ropeTableTest(0, 4),
  longRopeTableTest(17, 24),
  dynamicRopeTableTest(17, 16),
  ...[false, true].flatMap((interleaved) => [
    ropeTest(1, 1, 2, 1, interleaved),
    ropeTest(3, 3, 34, 17, interleaved),
    ropeTest(17, 2, 128, 64, interleaved),
    ropeTest(129, 1, 129, 3, interleaved),
    ropeTest(5, 4, 20, 5, interleaved),
    ropeTest(0, 2, 8, 4, interleaved),
  ]),
];
