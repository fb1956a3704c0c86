import type { Weight } from '../graph/graph.js';
import { type Dim, dim } from '../graph/shape.js';
import { floats } from '../graph/weight_expr.js';
import type { ModelBuilder } from './builder.js';
import type { Weights } from './weights.js';

/**
 * Sines in the first half of a row, cosines in the second: position p, column i of half h: sin(p · base^(−i / step)). The paper
 * interleaves them (Vaswani et al. 2017); Marian, PEGASUS and M2M-100 do not.
 */
export function sinusoids(positions: number, cols: number, step: number, first = 0): Float32Array {
  const half = Math.ceil(cols / 2);
  const table = new Float32Array(positions * cols);
  for (let p = 0; p < positions; p++) {
    for (let c = 0; c < cols; c++) {
      const i = c < half ? c : c - half;
      const angle = (p + first) / 10_000 ** (i / step);
      table[p * cols + c] = c < half ? Math.sin(angle) : Math.cos(angle);
    }
  }
  return table;
}

/** The table under `name` where the checkpoint stores it, else the one that is computed: (positions, cols). */
export function storedOrMade<C extends string>(
  m: ModelBuilder,
  w: Weights,
  name: string,
  cols: Dim<C>,
  positions: number,
  step = (cols.size ?? 0) / 2,
): Weight<['positions', C]> {
  const places = dim('positions', positions);
  if (w.source.kind !== 'random' && w.has(name)) return w.matrix(name, places, cols, { exact: true });
  const size = cols.size ?? 0;
  const table = sinusoids(positions, size, step);
  return m.graph.weight<['positions', C]>(`${w.prefix}.${name}`, floats(table, positions), [places, cols]);
}
