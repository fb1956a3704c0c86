import { expect, it } from 'vitest';
import { DeviceError, DisposedError, GraphError, InputError, OptionError, OutOfMemoryError } from '../../lib/errors.js';
import { dim, Graph, ops, stepDim } from '../../lib/graph/index.js';
import { array } from '../../lib/runtime/ops.js';
import { openGraph } from '../../lib/runtime/run_graph.js';
import { stepBytes } from '../../lib/runtime/step_memory.js';

/** y = rows of a (m, 3) named by index (n), w = a aᵀ. */
function sample(): Graph {
  const graph = new Graph('sample');
  const a = graph.input('a', 'f32', [stepDim('m'), dim('k', 3)] as const);
  const index = graph.input('index', 'i32', [stepDim('n')] as const);
  graph.output('y', ops.gatherRows(a, index));
  graph.output('w', ops.matmulTransposed(a, a));
  return graph;
}

const a = array([
  [1, 2, 3],
  [4, 5, 6],
]);
const index = { data: Int32Array.of(1, 0, 1), shape: [3] };

it('runs a graph of one’s own, with shapes from the inputs', async () => {
  await using runner = await openGraph(sample(), { device: 'cpu:generic', threads: 1 });
  const { y, w } = await runner.run({ a, index });
  expect(y).toEqual({ data: Float32Array.of(4, 5, 6, 1, 2, 3, 4, 5, 6), shape: [3, 3] });
  expect(w).toEqual({ data: Float32Array.of(14, 32, 32, 77), shape: [2, 2] });
  const [first, second] = await Promise.all([
    runner.run({ a: array([[1, 0, 0]]), index: { data: Int32Array.of(0), shape: [1] } }),
    runner.run({ a, index }),
  ]);
  expect(first.w!.data).toEqual(Float32Array.of(1));
  expect(second.y!.shape).toEqual([3, 3]);
});

it('computes the outputs that are asked for', async () => {
  await using runner = await openGraph(sample(), { outputs: ['w'] });
  expect(Object.keys(await runner.run({ a }))).toEqual(['w']);
  await expect(runner.run({ a, index })).rejects.toThrow(/no such input; expected \["a"\]/);
});

it('refuses what does not fit memory before it runs, values inside and outputs', async () => {
  const graph = new Graph('wide');
  const x = graph.input('x', 'f32', [stepDim('m'), dim('k', 1)] as const);
  const scores = ops.softmax(ops.matmulTransposed(x, x)); // (m, m)
  graph.output('y', ops.matmul(scores, x)); // (m, 1)
  graph.output('scores', scores);
  const m = 2 ** 20; // 4 TiB of scores
  for (const outputs of [['y'], ['scores']]) {
    await using runner = await openGraph(graph, { outputs });
    const refused = expect(runner.run({ x: { data: new Float32Array(m), shape: [m, 1] } })).rejects;
    await refused.toThrow(OutOfMemoryError);
    const small = await runner.run({ x: array([[1], [1]]) });
    expect(small[outputs[0]!]!.data[0]).toBe(outputs[0] === 'y' ? 1 : 0.5);
  }
});

it('counts the bytes of a step: outputs, and temps that live together', async () => {
  const graph = new Graph('bytes');
  const x = graph.input('x', 'f32', [stepDim('m'), dim('k', 3)] as const);
  const w = ops.matmulTransposed(x, x); // (m, m)
  graph.output('y', ops.matmul(ops.softmax(w), x)); // (m, 3)
  await using runner = await openGraph(graph);
  expect(stepBytes(runner.program, { m: 5 })).toBe(4 * (5 * 5 * 2 + 5 * 3)); // both of (m, m), then y
  expect(stepBytes(runner.program, {})).toBeNaN();
});

it('is what the README says', async () => {
  const graph = new Graph('simple attention');
  const x = graph.input('x', 'f32', [stepDim('tokens'), dim('features', 3)] as const);
  const weights = ops.softmax(ops.matmulTransposed(x, x)); // (tokens, tokens)
  graph.output('contexts', ops.matmul(weights, x)); // (tokens, features)
  await using runner = await openGraph(graph);
  const { contexts } = await runner.run({
    x: array([
      [0.43, 0.15, 0.89],
      [0.55, 0.87, 0.66],
    ]),
  });
  expect(contexts!.shape).toEqual([2, 3]);
  for (const [i, row] of [0, 1].entries()) {
    const first = 1 / (1 + Math.exp(row === 0 ? 0.9544 - 0.9995 : 1.495 - 0.9544));
    expect(contexts!.data[3 * i]!).toBeCloseTo(first * 0.43 + (1 - first) * 0.55, 4);
  }
});

it('refuses what does not fit', async () => {
  const runner = await openGraph(sample());
  const bad = (inputs: object) => expect(runner.run(inputs as never)).rejects;
  await bad({ a }).toBeInstanceOf(InputError);
  await bad({ a, index: array([1, 0]) }).toThrow(/Int32Array.*found Float32Array/);
  await bad({ a: array([[1, 2]]), index }).toThrow(/expected \(m, 3\); found \(1, 2\)/);
  await bad({ a: { data: a.data, shape: [3, 3] }, index }).toThrow(/of 6 values/);
  await bad({ a: a.data, index }).toBeInstanceOf(InputError);
  await expect(runner.run({ a, index }, { m: 3 })).rejects.toThrow(/m = 3/);
  await bad(null as never).toBeInstanceOf(InputError);
  await bad({ a: { data: new Float32Array(new SharedArrayBuffer(12)), shape: [1, 3] }, index }).toThrow(
    /shared memory/,
  );
  await expect(runner.run({ a, index }, null as never)).rejects.toBeInstanceOf(InputError);
  for (const graph of [null, undefined, {}, 'graph'])
    await expect(openGraph(graph as never)).rejects.toBeInstanceOf(InputError);
  await expect(openGraph(sample(), null as never)).rejects.toBeInstanceOf(OptionError);
  await expect(openGraph(sample(), { outputs: 'w' } as never)).rejects.toBeInstanceOf(OptionError);
  await runner.dispose();
  await runner.dispose();
  await expect(runner.run({ a, index })).rejects.toBeInstanceOf(DisposedError);
  await expect(openGraph(sample(), { outputs: ['z'] })).rejects.toBeInstanceOf(GraphError);
  await expect(openGraph(sample(), { device: 'abacus' })).rejects.toBeInstanceOf(DeviceError);
  await expect(openGraph(sample(), { speed: 1 } as never)).rejects.toBeInstanceOf(OptionError);
});
