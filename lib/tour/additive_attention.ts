import { type Dim, dim, floats, Graph, ops, stepDim, type Tensor, type Weight } from '../graph/index.js';
import type { NdArray } from '../runtime/ops_types.js';
import { openGraph } from '../runtime/run_graph.js';
import { matrixText, type Stop } from './stop.js';
import { TorchRandom } from './torch_random.js';

type Seqs<N extends string> = Tensor<['seqs', N], 'f32'>;

/** Sizes: words of each language, their vectors, states of the GRUs, the attention's inner width. */
const [sourceWords, targetWords, embedSize, stateSize, innerSize] = [9, 7, 6, 8, 5];
const [embed, state, both, one] = [
  dim('embed', embedSize),
  dim('state', stateSize),
  dim('both', 2 * stateSize),
  dim('one', 1),
];
const [inner, gates, target] = [dim('inner', innerSize), dim('gates', 3 * stateSize), dim('target', targetWords)];

/** Parameters drawn in PyTorch's order from one generator. */
class Drawn {
  readonly graph: Graph;
  readonly #random: TorchRandom;

  constructor(graph: Graph, seed: number) {
    this.graph = graph;
    this.#random = new TorchRandom(seed);
  }

  /** torch.rand(words, embed) */
  table(name: string, words: number): Weight<[string, 'embed']> {
    return this.graph.weight(name, floats(this.#random.rand(words * embedSize), words), [
      dim(`${name}.words`, words),
      embed,
    ]);
  }

  matrix<O extends string, I extends string>(
    name: string,
    out: Dim<O>,
    into: Dim<I>,
    fan = into.size!,
  ): Weight<[O, I]> {
    return this.graph.weight<[O, I]>(name, floats(this.#random.uniform(out.size! * into.size!, fan), out.size!), [
      out,
      into,
    ]);
  }

  vector<O extends string>(name: string, out: Dim<O>, fan: number): Weight<[O]> {
    return this.graph.weight<[O]>(name, floats(this.#random.uniform(out.size!, fan)), [out]);
  }
}

/** A gated recurrent unit (Cho et al. 2014), as nn.GRUCell: x (seqs, in), h (seqs, state) → the next h. */
function gruCell<I extends string>(
  w: Drawn,
  name: string,
  into: Dim<I>,
): (x: Seqs<I>, h: Seqs<'state'>) => Seqs<'state'> {
  const fromX = w.matrix(`${name}.ih`, gates, into, stateSize);
  const fromH = w.matrix(`${name}.hh`, gates, state, stateSize);
  const [biasX, biasH] = [w.vector(`${name}.ih.bias`, gates, stateSize), w.vector(`${name}.hh.bias`, gates, stateSize)];
  return (x, h) => {
    const [a, b] = [ops.linear(x, fromX as Weight<['gates', I]>, biasX), ops.linear(h, fromH, biasH)]; // (seqs, 3 · state)
    const part = (y: Seqs<'gates'>, i: number): Seqs<'state'> => ops.slice(y, i * stateSize, state);
    const reset = ops.activation(ops.add(part(a, 0), part(b, 0)), 'sigmoid');
    const keep = ops.activation(ops.add(part(a, 1), part(b, 1)), 'sigmoid');
    const fresh = ops.activation(ops.add(part(a, 2), ops.mul(reset, part(b, 2))), 'tanh');
    return ops.add(fresh, ops.mul(keep, ops.add(h, ops.scale(fresh, -1)))); // (1 − keep) fresh + keep h
  };
}

/**
 * Bahdanau et al. 2015, unrolled for `reads` source words and `writes` target words: a GRU in each direction reads, and before
 * each word that it writes the decoder weighs what was read by softmax_j(vᵀ tanh(W s + U h_j)).
 */
export function translator(reads: number, writes: number, seed: number): Graph {
  const graph = new Graph('additive_attention');
  const w = new Drawn(graph, seed);
  const ids = (name: string) => graph.input(name, 'i32', [stepDim('seqs')] as const);
  const start = graph.input('start', 'f32', [stepDim('seqs'), state] as const); // zeros
  const [sourceTable, targetTable] = [w.table('source', sourceWords), w.table('target', targetWords)];
  const [forward, backward] = [gruCell(w, 'forward', embed), gruCell(w, 'backward', embed)];
  const joined = dim('joined', embedSize + 2 * stateSize);
  const decoder = gruCell(w, 'decoder', joined);
  const first = w.matrix('first', state, state);
  const [query, key, score] = [w.matrix('W', inner, state), w.matrix('U', inner, both), w.matrix('v', one, inner)];
  const everything = dim('everything', embedSize + 3 * stateSize);
  const out = w.matrix('out', target, everything);
  const outBias = w.vector('out.bias', target, everything.size!);
  const spread = graph.weight('ones', floats(new Float32Array(both.size!).fill(1), both.size!), [both, one] as const);

  const words = Array.from({ length: reads }, (_, j) => ops.embed(ids(`source.${j}`), sourceTable)); // (seqs, embed)
  const right: Seqs<'state'>[] = [];
  for (const x of words) right.push(forward(x, right.at(-1) ?? start));
  const left: Seqs<'state'>[] = [];
  for (const x of [...words].reverse()) left.unshift(backward(x, left[0] ?? start));
  const read = right.map((h, j) => ops.concat([h, left[j]!], 'both')); // (seqs, 2 · state)
  const keys = read.map((h) => ops.linear(h, key)); // (seqs, inner)

  let s = ops.activation(ops.linear(left[0]!, first), 'tanh'); // (seqs, state)
  for (let i = 0; i < writes; i++) {
    const asked = ops.linear(s, query); // (seqs, inner)
    const scores = keys.map((k) => ops.linear(ops.activation(ops.add(asked, k), 'tanh'), score)); // (seqs, 1)
    const weights = ops.softmax(ops.concat(scores, 'reads')); // (seqs, reads)
    const weighed = read.map((h, j) => ops.mul(ops.linear(ops.slice(weights, j, one), spread), h)); // (seqs, 2 · state)
    const context = weighed.reduce((sum, h) => ops.add(sum, h));
    const y = ops.embed(ids(`target.${i}`), targetTable); // (seqs, embed)
    s = decoder(ops.concat<'seqs', 'joined'>([y, context], 'joined'), s);
    graph.output(`weights.${i}`, weights);
    graph.output(
      `logits.${i}`,
      ops.linear(ops.concat<'seqs', 'everything'>([s, context, y], 'everything'), out, outBias),
    );
  }
  return graph;
}

/** Weights and logits of each step for sentences of equal length: what was read, and the words written before each step. */
export async function translate(
  sources: readonly (readonly number[])[],
  targets: readonly (readonly number[])[],
  seed: number,
): Promise<Record<string, NdArray>> {
  const seqs = sources.length;
  const [reads, writes] = [sources[0]!.length, targets[0]!.length];
  const runner = await openGraph(translator(reads, writes, seed));
  try {
    const column = (rows: readonly (readonly number[])[], j: number) => ({
      data: Int32Array.from(rows, (r) => r[j]!),
      shape: [seqs],
    });
    const start = { data: new Float32Array(seqs * stateSize), shape: [seqs, stateSize] as const };
    const source = sources[0]!.map((_, j) => [`source.${j}`, column(sources, j)] as const);
    const target = targets[0]!.map((_, i) => [`target.${i}`, column(targets, i)] as const);
    return await runner.run({ start, ...Object.fromEntries([...source, ...target]) });
  } finally {
    await runner.dispose();
  }
}

export const additiveAttention: Stop = {
  name: 'bahdanau',
  title: 'Additive attention over a recurrent network',
  about:
    'Attention before the Transformer (Bahdanau, Cho and Bengio 2015): a GRU reads a sentence in both directions, another one ' +
    'writes, and before each word it weighs what was read. Nothing of this is in the kernels: it is a graph of linears, slices, ' +
    'tanh and softmax. The weights are random, so the weighing means nothing yet; each row sums to 1.',
  async show() {
    const made = await translate([[1, 2, 3, 4, 5]], [[0, 1, 2]], 2015);
    const rows = [0, 1, 2].map((i) => [...made[`weights.${i}`]!.data]);
    const weights = { data: Float32Array.from(rows.flat()), shape: [3, 5] as const };
    return `words 1 to 5 as each of three words is written\n${matrixText(weights, ['first', 'second', 'third'])}`;
  },
};
