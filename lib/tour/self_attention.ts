import { type Dim, dim, floats, Graph, ops, stepDim, type Tensor, transpose, type Weight } from '../graph/index.js';
import { array, type NdArray } from '../runtime/ops_types.js';
import { openGraph } from '../runtime/run_graph.js';
import { matrixText, type Stop } from './stop.js';
import { TorchRandom } from './torch_random.js';

/** "Your journey starts with one step": six tokens, three features each (Raschka 2024, chapter 3). */
export const journey: NdArray<2> = array([
  [0.43, 0.15, 0.89],
  [0.55, 0.87, 0.66],
  [0.57, 0.85, 0.64],
  [0.22, 0.58, 0.33],
  [0.77, 0.25, 0.1],
  [0.05, 0.8, 0.55],
]);
export const tokens: readonly string[] = ['Your', 'journey', 'starts', 'with', 'one', 'step'];

/** What a variant gives: contexts always, scores and weights where it makes them. */
export type Attended = Readonly<Record<string, NdArray>>;

type Rows<N extends string> = Tensor<['tokens', N], 'f32'>;
const features = dim('features', 3);

/** A graph with the input x (tokens, features); its outputs are what `build` gives, by name. */
async function attend(
  name: string,
  build: (graph: Graph, x: Rows<'features'>) => Record<string, unknown>,
): Promise<Attended> {
  const graph = new Graph(name);
  const x = graph.input('x', 'f32', [stepDim('tokens'), features] as const);
  for (const [output, value] of Object.entries(build(graph, x))) graph.output(output, value as Tensor);
  const runner = await openGraph(graph);
  try {
    return await runner.run({ x: journey, ...rowStarts(runner.program.values) }, { keys: tokens.length });
  } finally {
    await runner.dispose();
  }
}

/** Where the only sequence begins and ends, for graphs that use the attention op. */
function rowStarts(values: readonly { readonly name: string }[]): { starts?: { data: Int32Array; shape: [number] } } {
  return values.some((v) => v.name === 'starts')
    ? { starts: { data: Int32Array.of(0, tokens.length), shape: [2] } }
    : {};
}

/** Attention without weights and without scaling: softmax(x xᵀ) x. */
export const simple = (): Promise<Attended> =>
  attend('simple', (_, x) => {
    const scores = ops.matmulTransposed(x, x); // (tokens, tokens)
    const weights = ops.softmax(scores);
    return { scores, weights, contexts: ops.matmul(weights, x) }; // (tokens, features)
  });

/** softmax(q kᵀ / √d) v with q, k and v = x times a matrix of torch.rand(3, 2). */
export const trainable = (seed = 123): Promise<Attended> =>
  attend('trainable', (graph, x) => {
    const random = new TorchRandom(seed);
    const head = dim('head', 2);
    const [q, k, v] = ['q', 'k', 'v'].map((n) =>
      ops.linear(x, graph.weight(n, transpose(floats(random.rand(6), 3)), [head, features] as const)),
    ) as [Rows<'head'>, Rows<'head'>, Rows<'head'>]; // (tokens, head)
    const scores = ops.matmulTransposed(q, k); // (tokens, tokens)
    const weights = ops.softmax(ops.scale(scores, 1 / Math.sqrt(2)));
    return { q, scores, weights, contexts: ops.matmul(weights, v) }; // (tokens, head)
  });

/** nn.Linear as PyTorch starts it. */
function torchLinear<O extends string, I extends string>(
  graph: Graph,
  random: TorchRandom,
  name: string,
  out: Dim<O>,
  into: Dim<I>,
): Weight<[O, I]> {
  const [rows, cols] = [out.size!, into.size!];
  return graph.weight<[O, I]>(name, floats(random.uniform(rows * cols, cols), rows), [out, into]);
}

interface HeadOptions {
  readonly seed: number;
  readonly causal: boolean;
  /** Modules one after another, each with q, k and v of its own, side by side in the result. */
  readonly modules?: number;
  /** Heads inside one module, and an output projection with a bias after them. */
  readonly heads?: number;
}

/** SelfAttention_v2, CausalAttention, MultiHeadAttentionWrapper and MultiHeadAttention of the chapter. */
export const heads = (options: HeadOptions): Promise<Attended> =>
  attend('heads', (graph, x) => {
    const random = new TorchRandom(options.seed);
    const [width, count] = [dim('width', 2), options.heads ?? 1];
    const starts = graph.input('starts', 'i32', [stepDim('bounds')]);
    const outputs: Record<string, unknown> = {};
    const parts = Array.from({ length: options.modules ?? 1 }, (_, i) => {
      const [q, k, v] = ['q', 'k', 'v'].map((n) =>
        ops.linear(x, torchLinear(graph, random, `${n}${i}`, width, features)),
      ) as [Rows<'width'>, Rows<'width'>, Rows<'width'>]; // (tokens, width)
      const source = { k, v, starts, causal: options.causal };
      const { y, probs } = ops.rowAttention(q, source, stepDim('keys'), {
        heads: count,
        kvHeads: count,
        headDim: 2 / count,
      });
      outputs[`weights${i}`] = probs; // (heads, tokens, tokens)
      return y; // (tokens, width)
    });
    const joined = parts.length === 1 ? (parts[0] as Rows<'width'>) : ops.concat(parts, 'joined'); // (tokens, modules · width)
    if (options.heads === undefined) return { ...outputs, contexts: joined };
    const out = torchLinear(graph, random, 'out', dim('out', 2), width);
    const bias = graph.weight('out.bias', floats(random.uniform(2, 2)), [dim('out', 2)] as const);
    return { ...outputs, contexts: ops.linear(joined as Rows<'width'>, out, bias) }; // (tokens, out)
  });

export const selfAttention: Stop = {
  name: 'attention',
  title: 'Self-attention, step by step',
  about:
    'Six tokens of three numbers each. A token scores every token by a dot product, softmax makes weights of the scores, ' +
    'and its context is the weighted mean of all. Then with trained matrices for queries, keys and values; with a causal mask ' +
    '(a token sees no later one); with several heads. The numbers are those of chapter 3 of "Build a Large Language Model ' +
    '(From Scratch)".',
  async show() {
    const [plain, trained] = [await simple(), await trainable()];
    const causal = await heads({ seed: 123, causal: true });
    const multi = await heads({ seed: 123, causal: true, heads: 2 });
    const section = (title: string, x: NdArray): string => `${title}\n${matrixText(x, tokens)}`;
    return [
      section('scores x xᵀ', plain.scores!),
      section('weights softmax(scores)', plain.weights!),
      section('contexts weights x', plain.contexts!),
      section('contexts with random W_q, W_k, W_v', trained.contexts!),
      section('weights of a causal head', causal.weights0!),
      section('its contexts', causal.contexts!),
      section('contexts of two causal heads and an output projection', multi.contexts!),
    ].join('\n\n');
  },
};
