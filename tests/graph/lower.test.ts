import { describe, expect, it } from 'vitest';
import { GraphError } from '../../lib/errors.js';
import { Graph, type Tensor } from '../../lib/graph/graph.js';
import { lower } from '../../lib/graph/lower.js';
import { printProgram } from '../../lib/graph/program.js';
import { dim, stepDim } from '../../lib/graph/shape.js';
import { concatRows, floats, permuteRows, randomWeight, sliceRows, transpose } from '../../lib/graph/weight_expr.js';
import { add, copyBlocks, linear, rmsNorm, scale, softmax } from '../../lib/ops/index.js';

const rows = stepDim('rows');
const hidden = dim('hidden', 8);
const ffn = dim('ffn', 12);

function sampleGraph(): Graph {
  const g = new Graph('sample');
  const x = g.input('x', 'f32', [rows, hidden] as const);
  const norm = g.weight('norm.weight', floats(new Float32Array(8).fill(1)), [hidden] as const);
  const up = g.weight('up.weight', randomWeight('f32', 12, 8, 1, 0.02), [ffn, hidden] as const);
  const h = g.scoped('layers.0', () => rmsNorm(x, norm, { eps: 1e-5 }));
  g.output('h', h as unknown as Tensor);
  const wide = linear(h, up);
  g.output('wide', wide as unknown as Tensor);
  g.output('probs', softmax(wide) as unknown as Tensor);
  g.output('twice', add(h, scale(h, 2)) as unknown as Tensor);
  return g;
}

describe('lower', () => {
  it('keeps only what the outputs need', () => {
    const program = lower(sampleGraph(), { outputs: ['h'] });
    expect(program.nodes.map((n) => n.op)).toEqual(['rms_norm']);
    expect(program.values.map((v) => v.name)).toEqual(['x', 'norm.weight', 'layers.0/rms_norm']);
    expect(program.dims).toEqual(['rows']);
    expect(lower(sampleGraph(), { outputs: ['probs', 'twice'] }).nodes.map((n) => n.op)).toEqual([
      'rms_norm',
      'linear',
      'softmax',
      'scale',
      'add',
    ]);
  });

  it('keeps nodes that write a state, and orders values before their use', () => {
    const g = sampleGraph();
    const state = g.state('cache', 'f32', [dim('blocks', 4), dim('width', 16)]);
    copyBlocks(state, g.input('copies', 'i32', [stepDim('copies'), dim('pair', 2)] as const));
    const program = lower(g, { outputs: ['h'] });
    expect(program.nodes.map((n) => n.op)).toEqual(['rms_norm', 'copy_blocks']);
    const made = new Set<number>();
    for (const node of program.nodes) {
      for (const i of node.inputs) expect(i < 0 || program.values[i]?.kind !== 'temp' || made.has(i)).toBe(true);
      for (const o of node.outputs) made.add(o);
    }
  });

  it('is plain data that survives JSON but for the bytes of weights', () => {
    const program = lower(sampleGraph(), { outputs: ['wide'], compute: 'f32' });
    const again = JSON.parse(JSON.stringify(program));
    expect(again.nodes).toEqual(program.nodes);
    expect(program.nodes[1]?.attrs).toEqual({ compute: 'f32' });
    expect(printProgram(program)).toBe(
      [
        'program sample',
        'dims rows',
        'input x f32(rows, 8)',
        'weight norm.weight f32(8) = f32 1x8 bytes',
        'weight up.weight f32(12, 8) = f32 12x8 random(seed 1, std 0.02)',
        '%2 f32(rows, 8) = rms_norm(x, norm.weight) eps=0.00001 offset=0  # layers.0',
        '%4 f32(rows, 12) = linear(%2, up.weight, -) compute=f32  # linear',
        'output wide = %4',
        '',
      ].join('\n'),
    );
  });

  it('leaves optional inputs out unless they are asked for', () => {
    const g = new Graph('optional');
    const x = g.input('x', 'f32', [rows, hidden] as const);
    const extra = g.optionalInput('extra', 'f32', [rows, hidden] as const);
    const [y] = g.node('concat', [x, x, extra] as unknown as Tensor[], {}, [
      { dims: [rows, dim('wide', 24)], dtype: 'f32' },
    ]);
    g.output('y', y as Tensor);
    expect(lower(g, { outputs: ['y'] }).nodes[0]?.inputs).toEqual([0, 0, -1]);
    expect(lower(g, { outputs: ['y'], optional: ['extra'] }).nodes[0]?.inputs).toEqual([0, 0, 1]);
  });

  it('refuses unknown and doubled names, mixed graphs and dims of two sizes', () => {
    const g = sampleGraph();
    expect(() => lower(g, { outputs: ['nothing'] })).toThrow(GraphError);
    expect(() => lower(g, { outputs: ['h'], compute: 'int3' })).toThrow(
      /auto, f32, bf16, int8\/32, int8\/256; found int3/,
    );
    expect(() => g.output('h', g.outputs.get('wide') as Tensor)).toThrow(/declared twice/);
    expect(() => g.input('x', 'f32', [rows, hidden] as const)).toThrow(/declared twice/);
    expect(() => g.input('z', 'f32', [rows, dim('hidden', 9)] as const)).toThrow(/two sizes.*hidden = 8.*hidden = 9/);
    const other = sampleGraph();
    const [a, b] = [g.outputs.get('h'), other.outputs.get('h')] as unknown as [
      Tensor<['rows', 'hidden'], 'f32'>,
      Tensor<['rows', 'hidden'], 'f32'>,
    ];
    expect(() => add(a, b)).toThrow(/another graph/);
    expect(() => dim('bad', 0)).toThrow(/positive integer/);
  });
});

describe('weight expressions', () => {
  const w = randomWeight('f16', 12, 8, 1, 1);

  it('carry the sizes of what they make', () => {
    expect(transpose(w)).toMatchObject({ kind: 'transpose', rows: 8, cols: 12, dtype: 'f16' });
    expect(sliceRows(w, 4, 3)).toMatchObject({ kind: 'slice', rows: 3, cols: 8, begin: 4 });
    expect(concatRows([w, randomWeight('q8_0', 4, 8, 2, 1)])).toMatchObject({ rows: 16, cols: 8 });
    expect(permuteRows(w, 3)).toMatchObject({ kind: 'permute_rows', heads: 3 });
  });

  it('refuse what cannot be', () => {
    expect(() => sliceRows(w, 10, 3)).toThrow(/within 12/);
    expect(() => concatRows([w, randomWeight('f16', 12, 9, 1, 1)])).toThrow(/different widths/);
    expect(() => permuteRows(w, 5)).toThrow(/multiple of 10/);
    expect(() => transpose(randomWeight('q8_0', 32, 32, 1, 1))).toThrow(/cannot be transposed/);
  });
});
