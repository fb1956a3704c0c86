import type { Program, ProgramValue } from '../../lib/graph/program.js';
import { randomWeight } from '../../lib/graph/weight_expr.js';

/** x (rows, size) through `layers` square linears: a step that takes as long as one likes. */
export function tower(size: number, layers: number, seed = 1): Program {
  const values: ProgramValue[] = [{ kind: 'input', name: 'x', dtype: 'f32', shape: ['rows', size] }];
  const nodes = Array.from({ length: layers }, (_, i) => {
    const weight =
      values.push({
        kind: 'weight',
        name: `w${i}`,
        dtype: 'f32',
        shape: [size, size],
        weight: randomWeight('f32', size, size, seed + i, 1 / Math.sqrt(size)),
      }) - 1;
    const made = values.push({ kind: 'temp', name: `y${i}`, dtype: 'f32', shape: ['rows', size] }) - 1;
    return {
      op: 'linear',
      name: `layer${i}`,
      inputs: [i === 0 ? 0 : weight - 1, weight, -1],
      outputs: [made],
      attrs: { compute: 'f32' },
    };
  });
  return { name: 'tower', dims: ['rows'], values, nodes, outputs: [{ name: 'y', value: values.length - 1 }] };
}

/** Two dims in one sum: a (rows, 4) + b (rows, 4). */
export const sum: Program = {
  name: 'sum',
  dims: ['rows'],
  values: [
    { kind: 'input', name: 'a', dtype: 'f32', shape: ['rows', 4] },
    { kind: 'input', name: 'b', dtype: 'f32', shape: ['rows', 4] },
    { kind: 'temp', name: 'y', dtype: 'f32', shape: ['rows', 4] },
  ],
  nodes: [{ op: 'add', name: 'add', inputs: [0, 1], outputs: [2], attrs: {} }],
  outputs: [{ name: 'y', value: 2 }],
};
