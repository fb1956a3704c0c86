import { dim, floats, Graph, ops, stepDim } from '../graph/index.js';
import type { NdArray } from '../runtime/ops_types.js';
import { openGraph } from '../runtime/run_graph.js';
import { cosine, matrixText, type Stop } from './stop.js';

/**
 * Sinusoidal positions, sines and cosines interleaved (Vaswani et al. 2017): column 2 i of row p is sin(p / 10000^(2 i / d)),
 * column 2 i + 1 its cosine. (positions, width)
 */
export async function sinusoidTable(positions: number, width: number): Promise<NdArray> {
  const graph = new Graph('sinusoids');
  const half = width / 2;
  const frequencies = Float32Array.from({ length: half }, (_, i) => 10_000 ** ((-2 * i) / width));
  const inverse = graph.weight('frequencies', floats(frequencies), [dim('variants', 1), dim('half', half)] as const);
  const places = graph.input('positions', 'i32', [stepDim('rows')] as const);
  const table = ops.ropeTable(places, inverse, { rule: 'static', attentionScaling: 1 }); // (rows, cosines | sines)
  // Row 2 i of this matrix takes sine i, row 2 i + 1 cosine i.
  const order = new Float32Array(width * width);
  for (let i = 0; i < half; i++) {
    order[2 * i * width + half + i] = 1;
    order[(2 * i + 1) * width + i] = 1;
  }
  const interleave = graph.weight('order', floats(order, width), [dim('width', width), table.dims[1]] as const);
  graph.output('table', ops.linear(table, interleave)); // (rows, width)
  const runner = await openGraph(graph);
  try {
    const data = Int32Array.from({ length: positions }, (_, p) => p);
    return (await runner.run({ positions: { data, shape: [positions] } })).table!;
  } finally {
    await runner.dispose();
  }
}

export const sinusoids: Stop = {
  name: 'positions',
  title: 'Sinusoidal positions',
  about:
    'The 2017 Transformer adds to each token a vector that says where it stands: sines and cosines of the position, each pair ' +
    'slower than the one before. How alike two positions are depends on their distance alone.',
  async show() {
    const small = await sinusoidTable(4, 4);
    const wide = await sinusoidTable(64, 64);
    const row = (p: number): Float32Array => wide.data.subarray(64 * p, 64 * p + 64);
    const distances = [0, 1, 2, 4, 8, 16, 32];
    const alike = [0, 10, 31].map((p) => distances.map((d) => cosine(row(p), row(p + d))));
    const shape = [alike.length, distances.length] as const;
    return [
      'd_model 4, positions 0 to 3 (sin, cos, sin, cos)',
      matrixText(small, ['0', '1', '2', '3']),
      '',
      `d_model 64: cosine with the position ${distances.join(', ')} places on`,
      matrixText({ data: Float32Array.from(alike.flat()), shape }, ['from 0', 'from 10', 'from 31']),
    ].join('\n');
  },
};
