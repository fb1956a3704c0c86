import type { Program } from '../graph/program.js';
import type { Executable } from '../runtime/executable.js';
import type { ExecutableProfile } from '../runtime/native.js';
import { type Section, sectionName } from './sections.js';

/** Time of the nodes of one kind, all layers together. */
export interface ProfileEntry {
  readonly section: string;
  readonly op: string;
  /** Its weight, or its place in the graph; layer numbers are written as *. */
  readonly node: string;
  readonly compute: string;
  readonly ms: number;
  /** Of the section's time inside nodes. */
  readonly share: number;
  /** How often nodes of this kind ran. */
  readonly calls: number;
}

/**
 * Runs `body` with timing on and says where its time went, from when it calls `begun`. Ops that else run as one, each
 * thread taking its rows through all of them, run one after another.
 */
export async function profiled(
  executable: Executable,
  section: Section,
  body: (begun: () => void) => Promise<unknown>,
): Promise<ProfileEntry[]> {
  let before = executable.profile(true);
  try {
    await body(() => {
      before = executable.profile();
    });
  } finally {
    executable.profile(false);
  }
  return gather(sectionName(section), executable.program, before, executable.profile());
}

/** A node by its weight, if it has one: nodes of a layer share the name of the layer. */
function labelOf(program: Program, index: number, name: string): string {
  const weight = program.nodes[index]?.inputs.map((i) => program.values[i]).find((v) => v?.kind === 'weight');
  return (weight?.name.replace(/\.weight$/, '') ?? name).replace(/\b\d+\b/g, '*');
}

function gather(
  section: string,
  program: Program,
  before: ExecutableProfile,
  after: ExecutableProfile,
): ProfileEntry[] {
  const steps = after.steps - before.steps;
  const groups = new Map<string, { op: string; node: string; compute: string; ns: number; calls: number }>();
  for (const [i, { name, op, compute, nanoseconds }] of after.nodes.entries()) {
    const node = labelOf(program, i, name);
    const key = `${op} ${node} ${compute}`;
    const group = groups.get(key) ?? { op, node, compute, ns: 0, calls: 0 };
    group.ns += nanoseconds - before.nodes[i]!.nanoseconds;
    group.calls += steps;
    groups.set(key, group);
  }
  const total = [...groups.values()].reduce((n, g) => n + g.ns, 0);
  return [...groups.values()]
    .filter((g) => g.ns > 0)
    .sort((a, b) => b.ns - a.ns)
    .map(({ op, node, compute, ns, calls }) => ({
      ...{ section, op, node, compute, calls },
      ms: ns / 1e6,
      share: ns / total,
    }));
}
