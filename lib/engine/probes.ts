import { InputError } from '../errors.js';
import type { Graph, GraphNode, Tensor } from '../graph/graph.js';
import { prepareChange, type ValueChange } from '../graph/passes/change_values.js';
import { dim, stepDim } from '../graph/shape.js';
import { add, mul } from '../ops/elementwise.js';
import { gatherRows } from '../ops/gather_rows.js';

type Rows = Tensor<['rows', string], 'f32'>;

/** What a program shows and changes besides its own work, by the names of the graph's outputs. */
export interface ProbeSpec {
  /** Attention maps and hidden states of chosen rows: attentions.3, cross_attentions.0, hidden_states.5. */
  readonly shown: readonly string[];
  /** hidden_states.N: a vector is added; attentions.N, cross_attentions.N: what heads give is scaled. */
  readonly changed: readonly string[];
}

/** Under which name a program gives the chosen rows of an output. */
export const shownName = (name: string): string => `shown.${name}`;

/** The name of the input with the table (probes, cols) that changes a value. */
export const changeInput = (name: string): string => `change.${name}`;

/** What changes of other requests leave alone: x + −0 and x · 1 are x, bit by bit. */
export const neutral = (name: string): number => (name.startsWith('hidden_states.') ? -0 : 1);

/** The node that makes the attention map of this name. */
export function attentionNode(graph: Graph, name: string): GraphNode {
  const probs = outputOf(graph, name);
  return graph.nodes.find((node) => node.outputs[1] === probs)!;
}

function outputOf(graph: Graph, name: string): Tensor {
  const value = graph.outputs.get(name);
  if (value === undefined) throw new InputError('the model has no such value', { name });
  return value;
}

/**
 * Adds to a decoder's graph what looks at its inside and changes it. Programs that ask for none of it are the same as without:
 * lowering keeps only what outputs need.
 */
export class Probes {
  readonly #graph: Graph;
  readonly #changes = new Map<string, ValueChange>();

  constructor(graph: Graph) {
    this.#graph = graph;
  }

  /** How to lower a program with these changes. */
  changes(names: readonly string[]): ValueChange[] {
    return names.map((name) => {
      const known = this.#changes.get(name) ?? this.#change(name);
      this.#changes.set(name, known);
      return known;
    });
  }

  /** The outputs to lower for rows of these values. */
  shown(names: readonly string[]): string[] {
    return names.map((name) => {
      const shown = shownName(name);
      if (!this.#graph.outputs.has(shown))
        this.#graph.output(
          shown,
          this.#graph.scoped(shown, () => this.#show(name)),
        );
      return shown;
    });
  }

  /** Columns of the table that changes a value. */
  width(name: string): number {
    return this.#changed(name).dims[1].size!;
  }

  #input<const S extends readonly string[], T extends 'f32' | 'i32'>(
    name: string,
    dtype: T,
    dims: Tensor<S, T>['dims'],
  ): Tensor<S, T> {
    const known = this.#graph.values.find((v) => v.kind === 'input' && v.name === name);
    return (known ?? this.#graph.input<S, T>(name, dtype, dims)) as Tensor<S, T>;
  }

  #changed(name: string): Rows {
    const value = name.startsWith('hidden_states.')
      ? outputOf(this.#graph, name)
      : attentionNode(this.#graph, name).outputs[0]!;
    return value as unknown as Rows;
  }

  #change(name: string): ValueChange {
    const value = this.#changed(name);
    const apply = name.startsWith('hidden_states.') ? add : mul;
    return prepareChange(
      this.#graph,
      value as unknown as Tensor,
      () =>
        this.#graph.scoped(changeInput(name), () => {
          const table = this.#input(changeInput(name), 'f32', [stepDim('probes'), value.dims[1]] as const);
          const rows = this.#input('probe_rows', 'i32', [stepDim('rows')] as const);
          return apply(value, gatherRows(table, rows)); // (rows, cols)
        }) as unknown as Tensor,
    );
  }

  #show(name: string): Tensor {
    const rows = this.#input('shown_rows', 'i32', [stepDim('shown_rows')] as const);
    if (name.startsWith('hidden_states.'))
      return gatherRows(outputOf(this.#graph, name) as unknown as Rows, rows) as never;
    return this.#showMap(name, rows);
  }

  /** The attention of the chosen rows once more, over what the cache holds by then: (heads, shown_rows, keys). */
  #showMap(name: string, rows: Tensor<['shown_rows'], 'i32'>): Tensor {
    const node = attentionNode(this.#graph, name);
    const cross = name.startsWith('cross_');
    const inputs = [...node.inputs];
    const q = gatherRows(inputs[0] as unknown as Rows, rows); // (shown_rows, heads · head_dim)
    const starts = this.#input('shown_starts', 'i32', [stepDim('seq_bounds')] as const);
    const last = this.#input(cross ? 'shown_last' : 'shown_positions', 'i32', [stepDim('shown_rows')] as const);
    Object.assign(inputs, { 0: q, 3: starts, 5: last, 8: undefined });
    const heads = Number(node.attrs.heads);
    const keys = stepDim(cross ? 'shown_source_keys' : 'shown_keys');
    const made = this.#graph.node('attention', inputs, node.attrs, [
      { dims: q.dims, dtype: 'f32' },
      { dims: [dim(`heads${heads}`, heads), rows.dims[0], keys], dtype: 'f32', optional: true },
    ]);
    return made[1]!;
  }
}
