/** What tsc refuses and infers: checked by `npm run typecheck`, never run. */
import { describe, expectTypeOf, it } from 'vitest';
import { dim, type Graph, type State, stepDim, type Tensor, type Weight } from '../../lib/graph/index.js';
import { gatedMlp, project, type Weights } from '../../lib/layers/index.js';
import * as ops from '../../lib/ops/index.js';

declare const graph: Graph;
declare const weights: Weights;
declare const hidden: Tensor<['rows', 'hidden'], 'f32'>;
declare const ffn: Tensor<['rows', 'ffn'], 'f32'>;
declare const other: Tensor<['samples', 'hidden'], 'f32'>;
declare const ids: Tensor<['rows'], 'i32'>;
declare const scalarRow: Tensor<['rows'], 'f32'>;
declare const cube: Tensor<['heads', 'rows', 'keys'], 'f32'>;
declare const up: Weight<['ffn', 'hidden']>;
declare const down: Weight<['hidden', 'ffn']>;
declare const norm: Weight<['hidden']>;
declare const ffnBias: Weight<['ffn']>;
declare const table: Weight<['vocab', 'hidden']>;
declare const ropes: Tensor<['rows', 'rope'], 'f32'>;
declare const keys: State<'f32'>;
declare const tokens: State<'i32'>;
declare const place: ops.CachePlace<'rows'>;
declare const logits: Tensor<['rows', 'experts'], 'f32'>;
declare const ups: Weight<['experts_ffn', 'hidden']>;
declare const downs: Weight<['experts_hidden', 'ffn']>;
declare const experts: ops.MoeOptions;

describe('right programs infer their types', () => {
  it('dims go from weights and inputs to results', () => {
    expectTypeOf(graph.input('ids', 'i32', [stepDim('rows')])).toEqualTypeOf<Tensor<readonly ['rows'], 'i32'>>();
    expectTypeOf(dim('hidden', 64).name).toEqualTypeOf<'hidden'>();
    expectTypeOf(ops.embed(ids, table)).toEqualTypeOf<Tensor<['rows', 'hidden'], 'f32'>>();
    expectTypeOf(ops.linear(hidden, up)).toEqualTypeOf<Tensor<['rows', 'ffn'], 'f32'>>();
    expectTypeOf(ops.linear(hidden, up, ffnBias)).toEqualTypeOf<Tensor<['rows', 'ffn'], 'f32'>>();
    expectTypeOf(ops.rmsNorm(hidden, norm, { eps: 1e-6 })).toEqualTypeOf<Tensor<['rows', 'hidden'], 'f32'>>();
    expectTypeOf(ops.layerNorm(hidden, norm, undefined, 1e-5)).toEqualTypeOf<Tensor<['rows', 'hidden'], 'f32'>>();
    expectTypeOf(ops.matmulTransposed(hidden, other)).toEqualTypeOf<Tensor<['rows', 'samples'], 'f32'>>();
    expectTypeOf(ops.concat([hidden, ffn], 'both')).toEqualTypeOf<Tensor<['rows', 'both'], 'f32'>>();
    expectTypeOf(ops.moe(hidden, logits, ups, ups, downs, experts)).toEqualTypeOf<Tensor<['rows', 'hidden'], 'f32'>>();
    expectTypeOf(ops.slice(hidden, 0, dim('part', 8))).toEqualTypeOf<Tensor<['rows', 'part'], 'f32'>>();
    expectTypeOf(ops.tokenLogprob(hidden, ids)).toEqualTypeOf<Tensor<['rows'], 'f32'>>();
    expectTypeOf(ops.rope(hidden, ropes, 64)).toEqualTypeOf<Tensor<['rows', 'hidden'], 'f32'>>();
    expectTypeOf(project(weights, 'up', hidden, dim('ffn', 8))).toEqualTypeOf<Tensor<['rows', 'ffn'], 'f32'>>();
    expectTypeOf(gatedMlp(weights, hidden, dim('ffn', 8), 'silu')).toEqualTypeOf<Tensor<['rows', 'hidden'], 'f32'>>();
  });
});

describe('wrong programs are refused', () => {
  it('wrong dims', () => {
    // @ts-expect-error the weight takes (rows, hidden)
    ops.linear(ffn, up);
    // @ts-expect-error the bias must have the dim of the outputs
    ops.linear(hidden, up, norm);
    // @ts-expect-error the experts' matrices take (rows, hidden)
    ops.moe(ffn, logits, ups, ups, downs, experts);
    // @ts-expect-error gate and up differ
    ops.moe(hidden, logits, ups, downs, downs, experts);
    // @ts-expect-error a residual of another width
    ops.add(hidden, ffn);
    // @ts-expect-error rows of another space
    ops.add(hidden, other);
    // @ts-expect-error the norm's weight is of another width
    ops.rmsNorm(ffn, norm, { eps: 1e-6 });
    // @ts-expect-error inner dims differ
    ops.matmul(hidden, other);
    // @ts-expect-error gate and up differ
    ops.gated(hidden, ffn, 'silu');
    // @ts-expect-error the result of a projection is as wide as its out dim
    ops.add(hidden, project(weights, 'up', hidden, dim('ffn', 8)));
    // @ts-expect-error an MLP gives what it takes
    ops.add(ffn, gatedMlp(weights, hidden, dim('ffn', 8), 'silu'));
    // @ts-expect-error the bias of a norm has its width
    ops.layerNorm(hidden, norm, ffnBias, 1e-5);
    // @ts-expect-error the weight is (ffn, hidden), not (hidden, ffn)
    ops.linear(hidden, down);
    // @ts-expect-error targets of other rows
    ops.tokenLogprob(other, ids);
    // @ts-expect-error the table was made for other rows
    ops.rope(other, ropes, 64);
  });

  it('wrong ranks', () => {
    // @ts-expect-error softmax takes rows and columns
    ops.softmax(cube);
    // @ts-expect-error linear takes rows and columns
    ops.linear(scalarRow, up);
    // @ts-expect-error a matrix is no norm weight
    ops.rmsNorm(hidden, up, { eps: 1e-6 });
    // @ts-expect-error a vector is no table
    ops.embed(ids, norm);
    // @ts-expect-error two dims for three names
    graph.input<['a', 'b', 'c'], 'f32'>('x', 'f32', [stepDim('a'), stepDim('b')]);
  });

  it('wrong dtypes', () => {
    // @ts-expect-error ids are integers
    ops.embed(scalarRow, table);
    // @ts-expect-error an index is made of integers
    ops.gatherRows(hidden, scalarRow);
    // @ts-expect-error integers have no activation
    ops.activation(ids, 'silu');
    // @ts-expect-error ids go to a plane of integers
    ops.tokenWrite(ids, keys, place);
    // @ts-expect-error no such dtype
    graph.input('x', 'f64', [stepDim('rows')]);
  });

  it('wrong kinds', () => {
    // @ts-expect-error an activation is no weight
    ops.linear(hidden, hidden);
    // @ts-expect-error a table must be a weight
    ops.embed(ids, hidden);
    // @ts-expect-error keys and values are states
    ops.kvWrite(hidden, hidden, hidden, keys, place, { layer: 0, kvHeads: 1, headDim: 64 });
    // @ts-expect-error a state of integers holds no values
    ops.kvWrite(hidden, hidden, keys, tokens, place, { layer: 0, kvHeads: 1, headDim: 64 });
    // @ts-expect-error no such activation
    ops.activation(hidden, 'swish');
    // @ts-expect-error eps is not optional
    ops.rmsNorm(hidden, norm, {});
  });
});
