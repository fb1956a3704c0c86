import { GraphError } from '../errors.js';
import type { DType, StateDType } from './dtype.js';
import type { AttrValue } from './program.js';
import { type Dim, type DimsOf, shapeText } from './shape.js';
import type { WeightExpr } from './weight_expr.js';

/**
 * A value of a graph. Its type carries the names of its dims and its dtype, so that `tsc` refuses a wrong rank, dim or
 * dtype; sizes are checked when the graph is built.
 */
export interface Tensor<S extends readonly string[] = readonly string[], T extends StateDType = StateDType> {
  readonly kind: 'input' | 'temp' | 'state' | 'weight';
  readonly graph: Graph;
  readonly id: number;
  readonly name: string;
  readonly dims: DimsOf<S>;
  readonly dtype: T;
  /** An input that programs leave out unless they ask for it. */
  readonly optional?: boolean;
}

/** A weight: what `linear`, `embed` and the norms take as their parameters. */
export interface Weight<S extends readonly string[] = readonly string[]> extends Tensor<S, 'f32'> {
  readonly kind: 'weight';
  readonly expr: WeightExpr;
}

/** Memory that survives steps: KV blocks, token planes. */
export interface State<T extends StateDType = StateDType> extends Tensor<readonly string[], T> {
  readonly kind: 'state';
}

export interface GraphNode {
  readonly op: string;
  readonly name: string;
  readonly inputs: readonly (Tensor | undefined)[];
  readonly outputs: readonly Tensor[];
  /** How many of the outputs are always made; the others only when something asks for them. */
  readonly required: number;
  readonly attrs: Readonly<Record<string, AttrValue>>;
  /** It changes a state, so it stays even when nothing reads its outputs. */
  readonly effect: boolean;
}

/** What an op says about one output. */
export interface OutputSpec {
  readonly dims: readonly Dim[];
  readonly dtype: DType;
  readonly optional?: boolean;
}

/**
 * Typed nodes of one model, independent of devices. Build it once; `lower` takes out of it the program for each set of
 * outputs (decoding, logits, traces).
 */
export class Graph {
  readonly name: string;
  readonly values: Tensor[] = [];
  readonly nodes: GraphNode[] = [];
  /** Named values that a program may give out. */
  readonly outputs: Map<string, Tensor> = new Map();
  #scope = '';
  readonly #dims = new Map<string, Dim>();

  constructor(name: string) {
    this.name = name;
  }

  /** Runs `body` with a prefix for the names of the nodes that it makes: layers.0.self_attn. */
  scoped<R>(scope: string, body: () => R): R {
    const outer = this.#scope;
    this.#scope = outer === '' ? scope : `${outer}.${scope}`;
    try {
      return body();
    } finally {
      this.#scope = outer;
    }
  }

  input<const S extends readonly string[], T extends DType>(name: string, dtype: T, dims: DimsOf<S>): Tensor<S, T> {
    if (this.values.some((v) => v.kind === 'input' && v.name === name))
      throw new GraphError(`input ${name} is declared twice`);
    return this.#value('input', name, dtype, dims);
  }

  /** An input that is absent from programs unless `lower` is told to keep it. */
  optionalInput<const S extends readonly string[], T extends DType>(
    name: string,
    dtype: T,
    dims: DimsOf<S>,
  ): Tensor<S, T> {
    return Object.assign(this.input<S, T>(name, dtype, dims), { optional: true });
  }

  weight<const S extends readonly string[]>(name: string, expr: WeightExpr, dims: DimsOf<S>): Weight<S> {
    const value = this.#value('weight', name, 'f32', dims) as Weight<S>;
    (value as { expr: WeightExpr }).expr = expr;
    return value;
  }

  state<T extends StateDType>(name: string, dtype: T, dims: readonly Dim[]): State<T> {
    return this.#value('state', name, dtype, dims) as State<T>;
  }

  /** Makes a value available to programs under a name (logits, hidden_states.3). */
  output<S extends readonly string[], T extends StateDType>(name: string, value: Tensor<S, T>): void {
    if (this.outputs.has(name)) throw new GraphError(`output ${name} is declared twice`);
    this.outputs.set(name, value as unknown as Tensor);
  }

  /** Adds a node. Ops call this with checked inputs; `effect`: it writes a state. */
  node(
    op: string,
    inputs: readonly (Tensor | undefined)[],
    attrs: Readonly<Record<string, AttrValue>>,
    outputs: readonly OutputSpec[],
    effect = false,
  ): Tensor[] {
    for (const t of inputs) {
      if (t !== undefined && t.graph !== this) throw new GraphError(`${op}: input ${t.name} belongs to another graph`);
    }
    const name = this.#scope === '' ? op : this.#scope;
    const made = outputs.map((o) => this.#value('temp', `${name}/${op}`, o.dtype, o.dims));
    this.nodes.push({
      op,
      name,
      inputs,
      outputs: made,
      required: outputs.filter((o) => o.optional !== true).length,
      attrs,
      effect,
    });
    return made;
  }

  #value<S extends readonly string[], T extends StateDType>(
    kind: Tensor['kind'],
    name: string,
    dtype: T,
    dims: DimsOf<S> | readonly Dim[],
  ): Tensor<S, T> {
    for (const d of dims as readonly Dim[]) {
      const known = this.#dims.get(d.name);
      if (known === undefined) this.#dims.set(d.name, d);
      else if (known.size !== d.size) {
        throw new GraphError(`${name}: dim ${d.name} has two sizes in one graph`, {
          expected: shapeText([known]),
          found: shapeText([d]),
        });
      }
    }
    const value = { kind, graph: this, id: this.values.length, name, dims: dims as DimsOf<S>, dtype };
    this.values.push(value as unknown as Tensor);
    return value;
  }
}
