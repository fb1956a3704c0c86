import { GraphError } from '../../errors.js';
import type { Graph, GraphNode, Tensor } from '../graph.js';

/** A value of a graph, what takes its place, and the nodes that make the one out of the other. */
export interface ValueChange {
  readonly from: Tensor;
  readonly to: Tensor;
  readonly makers: readonly GraphNode[];
}

/** Adds the nodes that `make` makes to the graph; programs that do not ask for the change are the same with and without. */
export function prepareChange(graph: Graph, from: Tensor, make: () => Tensor): ValueChange {
  const before = graph.nodes.length;
  const to = make();
  return { from, to, makers: graph.nodes.slice(before) };
}

/**
 * The nodes of a graph with values changed on their way: what makes the change stands right behind the value, and all that
 * read the value read the changed one.
 */
export function changeValues(nodes: readonly GraphNode[], changes: readonly ValueChange[]): readonly GraphNode[] {
  if (changes.length === 0) return nodes;
  const behind = new Map<GraphNode, readonly GraphNode[]>();
  const held = new Set<GraphNode>();
  for (const { from, makers } of changes) {
    const producer = nodes.find((node) => node.outputs.includes(from));
    if (producer === undefined) throw new GraphError(`${from.name} cannot be changed`, { expected: 'a made value' });
    for (const node of makers) held.add(node);
    behind.set(producer, [...(behind.get(producer) ?? []), ...makers]);
  }
  const changed = new Map(changes.map((c) => [c.from, c.to]));
  const reading = (node: GraphNode): GraphNode => ({
    ...node,
    inputs: node.inputs.map((input) => (input === undefined ? input : (changed.get(input) ?? input))),
  });
  return nodes.flatMap((node) => (held.has(node) ? [] : [reading(node), ...(behind.get(node) ?? [])]));
}
