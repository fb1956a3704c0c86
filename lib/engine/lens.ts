import { UnsupportedError } from '../errors.js';
import type { Graph, GraphNode, Tensor } from '../graph/graph.js';
import { dim, stepDim } from '../graph/shape.js';
import { pageTokens } from '../layers/decoder.js';
import type { EncoderBuilder } from '../layers/encoder.js';
import { sample, sampleIntegerColumns, sampleNumberColumns } from '../ops/sample.js';
import type { InputArray } from '../runtime/native.js';

/** What the head makes of the rows of one hidden state, by graph output: ids and log-probabilities (logit_rows, top), best first. */
export interface LensOutputs {
  readonly ids: string;
  readonly logprobs: string;
}

const isTemp = (t: Tensor | undefined): t is Tensor => t?.kind === 'temp';

/** Node names begin with the scope of their layer: h.3, encoder.layer.0.attention. */
const insideLayer = (node: GraphNode): boolean => /(^|\.)\d+(\.|$)/.test(node.name);

/** The last layer's result as it leaves the layer, before a final norm or projection. */
function leavesLastLayer(graph: Graph, last: Tensor): Tensor {
  let value = last;
  for (;;) {
    const node = graph.nodes.find((n) => n.outputs.includes(value));
    if (node !== undefined && insideLayer(node)) return value;
    const inputs = node?.inputs.filter(isTemp) ?? [];
    if (inputs.length !== 1)
      throw new UnsupportedError('the lens does not find where the last layer ends', {
        name: last.name,
        expected: 'nodes made within graph.scoped("layers.N", …)',
        found: node?.name,
      });
    value = inputs[0]!;
  }
}

/** The nodes between `from` and `to`: those that need the one and that the other needs. */
function between(nodes: readonly GraphNode[], from: Tensor, to: readonly Tensor[]): GraphNode[] {
  const needed = new Set<Tensor>(to);
  for (const node of [...nodes].reverse())
    if (node.outputs.some((o) => needed.has(o))) for (const i of node.inputs) if (i !== undefined) needed.add(i);
  const behind = new Set<Tensor>([from]);
  return nodes.filter((node) => {
    const reads = node.inputs.some((i) => i !== undefined && behind.has(i));
    if (reads) for (const o of node.outputs) behind.add(o);
    return reads && node.outputs.some((o) => needed.has(o));
  });
}

/**
 * The logit lens (nostalgebraist 2020): final norm and head over the hidden states of every layer. Adds nodes to a graph;
 * programs that do not ask for them are the same as without.
 */
export class LensGraph {
  readonly #graph: Graph;
  readonly #tail: readonly GraphNode[];
  readonly #cut: Tensor;
  readonly #sampled: readonly [ids: Tensor, logprobs: Tensor];
  /** Hidden states, the last included. */
  readonly count: number;

  /** `sampled`: the outputs of the graph's own `sample` that hold the most likely of the logits. */
  constructor(graph: Graph, sampled: readonly [ids: Tensor, logprobs: Tensor]) {
    this.#graph = graph;
    this.#sampled = sampled;
    let count = 0;
    while (graph.outputs.has(`hidden_states.${count}`)) count++;
    this.count = count;
    const last = graph.outputs.get(`hidden_states.${count - 1}`);
    if (last === undefined) throw new UnsupportedError('the model records no hidden states');
    this.#cut = leavesLastLayer(graph, last);
    this.#tail = between([...graph.nodes], this.#cut, sampled);
  }

  /** Declares the outputs for one hidden state; those of the last are the model's own. */
  outputs(index: number): LensOutputs {
    const names = { ids: `lens.${index}.ids`, logprobs: `lens.${index}.logprobs` };
    if (this.#graph.outputs.has(names.ids)) return names;
    const state = this.#graph.outputs.get(`hidden_states.${index}`)!;
    const [ids, logprobs] = index === this.count - 1 ? this.#sampled : this.#copy(index, state);
    this.#graph.output(names.ids, ids);
    this.#graph.output(names.logprobs, logprobs);
    return names;
  }

  #copy(index: number, state: Tensor): readonly [Tensor, Tensor] {
    if (state.dims[1]!.size !== this.#cut.dims[1]!.size)
      throw new UnsupportedError('the head does not read hidden states of this width', { name: state.name });
    const made = new Map<Tensor, Tensor>([[this.#cut, state]]);
    for (const node of this.#tail) {
      const inputs = node.inputs.map((i) => (i === undefined ? i : (made.get(i) ?? i)));
      const specs = node.outputs.map((o, i) => ({
        dims: o.dims,
        dtype: o.dtype as 'f32' | 'i32',
        optional: i >= node.required,
      }));
      const copies = this.#graph.scoped(`lens.${index}`, () => this.#graph.node(node.op, inputs, node.attrs, specs));
      for (const [i, o] of node.outputs.entries()) made.set(o, copies[i]!);
    }
    return [made.get(this.#sampled[0])!, made.get(this.#sampled[1])!];
  }
}

/** The lens of a decoder's graph. */
export function decoderLens(graph: Graph): LensGraph {
  return new LensGraph(graph, [graph.outputs.get('top_ids')!, graph.outputs.get('top_logprobs')!]);
}

/** The lens of an encoder with logits over the vocabulary; its graph gets a `sample` that reads an empty history. */
export function encoderLens(builder: EncoderBuilder): LensGraph {
  const { graph } = builder;
  const rows = [stepDim('rows')] as const;
  const made = graph.scoped('lens', () =>
    sample(graph.outputs.get('logits') as unknown as Tensor<['logit_rows', string], 'f32'>, {
      rows: builder.logitRows,
      kvPositions: graph.input('lens_positions', 'i32', rows) as unknown as Tensor<['rows'], 'i32'>,
      seqIds: graph.input('lens_sequences', 'i32', rows) as unknown as Tensor<['rows'], 'i32'>,
      tokens: graph.state('lens_tokens', 'i32', [dim('lens_blocks', 1), dim('page', pageTokens)]),
      table: graph.input('lens_table', 'i32', [stepDim('seqs'), stepDim('lens_columns')] as const),
    }),
  );
  return new LensGraph(graph, [made.topIds as unknown as Tensor, made.topLogprobs as unknown as Tensor]);
}

/** Parameters of `sample` under which only its lists of the most likely matter. */
export function lensSampling(
  rows: number,
  top: number,
): { dims: Record<string, number>; inputs: Record<string, InputArray> } {
  const neutral: Partial<Record<(typeof sampleNumberColumns)[number], number>> = {
    ...{ top_p: 1, typical_p: 1, repetition_penalty: 1, dry_base: 1.75, xtc_threshold: 0.1 },
  };
  const numbers = sampleNumberColumns.map((name) => neutral[name] ?? 0);
  const integers = sampleIntegerColumns.map((name) => (name === 'top_logprobs' ? top : 0));
  const none = new Int32Array(0);
  const offsets = new Int32Array(rows + 1);
  return {
    dims: { sample_bounds: rows + 1, biases: 0, bad_bounds: 1, bads: 0, stops: 0, breakers: 0, top, lens_columns: 1 },
    inputs: {
      numbers: Float32Array.from({ length: rows * numbers.length }, (_, i) => numbers[i % numbers.length]!),
      integers: Int32Array.from({ length: rows * integers.length }, (_, i) => integers[i % integers.length]!),
      ...{ bias_offsets: offsets, bias_ids: none, bias_values: new Float32Array(0) },
      ...{ bad_offsets: offsets, bad_starts: new Int32Array(1), bad_ids: none },
      ...{ stop_offsets: offsets, stop_ids: none, breaker_offsets: offsets, breaker_ids: none },
    },
  };
}
