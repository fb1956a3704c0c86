import type { ProgramNode } from '../program.js';

/** Matrices that one `linear` may multiply its x with. */
const most = 3;

/** gate_proj and up_proj of layers.0.mlp: layers.0.mlp.gate_proj+up_proj. */
function joinedName(names: readonly string[]): string {
  const [first, ...rest] = names;
  return [first, ...rest.map((n) => n.slice(n.lastIndexOf('.') + 1))].join('+');
}

/** The names that `joinedName` joined. */
export function separateNames(name: string): string[] {
  const [first = '', ...rest] = name.split('+');
  const scope = first.slice(0, first.lastIndexOf('.') + 1);
  return [first, ...rest.map((n) => scope + n)];
}

/**
 * Linears that read the same x become one node at the place of the first (q, k and v; gate and up): x is rounded and
 * shared once, and there is one barrier instead of three. No bit of a result changes.
 */
export function mergeLinears(nodes: readonly ProgramNode[]): ProgramNode[] {
  const open = new Map<string, number[]>();
  const groups = new Map<number, number[]>();
  for (const [i, node] of nodes.entries()) {
    if (node.op !== 'linear') continue;
    const key = `${node.inputs[0]} ${node.attrs.compute}`;
    const group = open.get(key);
    if (group === undefined || group.length === most) {
      const started = [i];
      open.set(key, started);
      groups.set(i, started);
    } else {
      group.push(i);
      groups.set(i, group);
    }
  }
  return nodes.flatMap((node, i) => {
    const group = groups.get(i);
    if (group === undefined || group.length === 1) return [node];
    if (group[0] !== i) return [];
    const parts = group.map((g) => nodes[g]!);
    return [
      {
        ...node,
        name: joinedName(parts.map((p) => p.name)),
        inputs: [node.inputs[0]!, ...parts.flatMap((p) => [p.inputs[1]!, p.inputs[2] ?? -1])],
        outputs: parts.flatMap((p) => p.outputs),
      },
    ];
  });
}
