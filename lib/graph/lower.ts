import { GraphError, OptionError } from '../errors.js';
import { computes } from '../ops/linear.js';
import type { DType } from './dtype.js';
import type { Graph, GraphNode, Tensor, Weight } from './graph.js';
import { changeValues, type ValueChange } from './passes/change_values.js';
import { mergeLinears } from './passes/merge_linears.js';
import type { Program, ProgramDim, ProgramLoop, ProgramNode, ProgramValue } from './program.js';

/** Names of the inputs and outputs that let a program take several decode steps in one call. */
export interface LoopNames {
  readonly idsOutput: string;
  readonly idsInput: string;
  readonly increments: readonly string[];
  readonly stopOffsets: string;
  readonly stopIds: string;
  readonly remaining: string;
}

export interface LowerOptions {
  /** Names of the graph's outputs that the program gives; what they do not need is left out. */
  readonly outputs: readonly string[];
  /** Name of the program; default: the graph's. */
  readonly name?: string;
  /** Overrides the `compute` of every linear and moe: one of `computes` of lib/ops/linear.ts. */
  readonly compute?: string;
  readonly loop?: LoopNames;
  /** Optional inputs that the program keeps. */
  readonly optional?: readonly string[];
  /** Values that the program changes on their way, outputs too. */
  readonly changes?: readonly ValueChange[];
}

/** Nodes that the wanted values and the states need, in order. */
function neededNodes(nodes: readonly GraphNode[], wanted: ReadonlySet<Tensor>): GraphNode[] {
  const needed = new Set(wanted);
  const kept: GraphNode[] = [];
  for (const node of [...nodes].reverse()) {
    if (!node.effect && !node.outputs.some((o) => needed.has(o))) continue;
    kept.push(node);
    for (const input of node.inputs) if (input !== undefined) needed.add(input);
  }
  return kept.reverse();
}

/** Values in the order in which nodes first name them. */
class ValueList {
  readonly values: ProgramValue[] = [];
  readonly dims = new Set<string>();
  readonly #index = new Map<Tensor, number>();
  readonly #optional: readonly string[];

  constructor(optional: readonly string[]) {
    this.#optional = optional;
  }

  /** Place of a value; -1: absent. */
  readonly indexOf = (t: Tensor | undefined): number => {
    if (t === undefined || (t.optional === true && !this.#optional.includes(t.name))) return -1;
    const known = this.#index.get(t);
    if (known !== undefined) return known;
    const base = { name: t.name, shape: this.#shapeOf(t) };
    const dtype = t.dtype as DType; // only states hold other types
    if (t.kind === 'state') this.values.push({ ...base, kind: t.kind, dtype: t.dtype });
    else if (t.kind === 'weight') this.values.push({ ...base, kind: t.kind, dtype, weight: (t as Weight).expr });
    else this.values.push({ ...base, kind: t.kind, dtype });
    this.#index.set(t, this.values.length - 1);
    return this.values.length - 1;
  };

  #shapeOf(t: Tensor): ProgramDim[] {
    return t.dims.map((d) => {
      if (d.size !== undefined) return d.size;
      this.dims.add(d.name);
      return d.name;
    });
  }
}

/** Lowers a graph to the program that computes `outputs`: plain data, independent of the device. */
export function lower(graph: Graph, options: LowerOptions): Program {
  if (options.compute !== undefined && !computes.some((c) => c === options.compute)) {
    throw new OptionError('bad compute', { name: 'compute', expected: computes.join(', '), found: options.compute });
  }
  const changes = options.changes ?? [];
  const wanted = options.outputs.map((name) => {
    const known = graph.outputs.get(name);
    const value = changes.find((c) => c.from === known)?.to ?? known;
    if (value === undefined)
      throw new GraphError(`graph ${graph.name} has no output ${name}`, { expected: [...graph.outputs.keys()] });
    return { name, value };
  });
  const wantedSet = new Set(wanted.map((w) => w.value));
  const nodes = neededNodes(changeValues(graph.nodes, changes), wantedSet);
  const read = new Set(nodes.flatMap((n) => n.inputs));

  const { values, dims, indexOf } = new ValueList(options.optional ?? []);
  const lowered: ProgramNode[] = nodes.map((node) => ({
    op: node.op,
    name: node.name,
    inputs: node.inputs.map(indexOf),
    outputs: node.outputs.filter((o, i) => i < node.required || wantedSet.has(o) || read.has(o)).map(indexOf),
    attrs:
      node.attrs.compute !== undefined && options.compute !== undefined
        ? { ...node.attrs, compute: options.compute }
        : node.attrs,
  }));
  const outputs = wanted.map((w) => ({ name: w.name, value: indexOf(w.value) }));
  const base: Program = {
    name: options.name ?? graph.name,
    dims: [...dims],
    values,
    nodes: mergeLinears(lowered),
    outputs,
  };
  return options.loop === undefined ? base : { ...base, loop: lowerLoop(graph, base, options.loop, indexOf) };
}

/** `remaining` is read by the loop alone, so no node has brought it into the program yet. */
function lowerLoop(graph: Graph, program: Program, loop: LoopNames, indexOf: (t: Tensor) => number): ProgramLoop {
  const input = (name: string): number => {
    const found = graph.values.find((v) => v.kind === 'input' && v.name === name);
    if (found === undefined) throw new GraphError(`loop: graph ${graph.name} has no input ${name}`);
    return indexOf(found);
  };
  const ids = program.outputs.find((o) => o.name === loop.idsOutput);
  if (ids === undefined) throw new GraphError(`loop: program ${program.name} has no output ${loop.idsOutput}`);
  const read = new Set(program.values.filter((v) => v.kind === 'input').map((v) => v.name));
  return {
    idsOutput: ids.value,
    idsInput: input(loop.idsInput),
    // Inputs that this model does not read need not grow.
    increments: loop.increments.filter((n) => read.has(n)).map(input),
    stopOffsets: input(loop.stopOffsets),
    stopIds: input(loop.stopIds),
    remaining: input(loop.remaining),
  };
}
