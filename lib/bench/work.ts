import { weightDTypes } from '../graph/dtype.js';
import type { Program, ProgramNode } from '../graph/program.js';
import type { WeightExpr } from '../graph/weight_expr.js';

/** What the arithmetic of a program needs at least, counted from its nodes. */
export interface Work {
  /** Bytes of weights that one step reads, as they are stored in files; an embedding's table is not read as a whole. */
  readonly stepBytes: number;
  /** Multiplications of one row, attention apart. */
  readonly rowMacs: number;
  /** Multiplications of one row that needs logits, on top. */
  readonly logitMacs: number;
  readonly attention: readonly { readonly width: number; readonly window: number }[];
  /** Weight type that most of `stepBytes` has. */
  readonly dtype: string;
}

/** Bytes by weight type, of which a step reads this share. */
function addBytes(expr: WeightExpr, share: number, into: Map<string, number>): void {
  if (expr.kind === 'concat_rows') {
    for (const part of expr.of) addBytes(part, share, into);
    return;
  }
  const { block, bytes } = weightDTypes[expr.dtype];
  into.set(expr.dtype, (into.get(expr.dtype) ?? 0) + ((share * expr.rows * expr.cols) / block) * bytes);
}

/** The part of a node's matrices that one row multiplies: all but where it goes to some experts of many. */
function shareOf(program: Program, node: ProgramNode): number {
  return node.op === 'moe' ? Number(node.attrs.top) / Number(program.values[node.inputs[1]!]!.shape[1]) : 1;
}

/** Ops that read rows of a table, or tables that are no weights. */
const lookups = new Set(['embed', 'rope_table']);

export function countWork(program: Program): Work {
  const bytes = new Map<string, number>();
  const counted = new Set<number>();
  const macs = { rows: 0, logit_rows: 0 };
  const attention: { width: number; window: number }[] = [];
  for (const node of program.nodes) {
    if (node.op === 'attention') {
      const { heads, head_dim: headDim, window } = node.attrs;
      attention.push({ width: Number(heads) * Number(headDim), window: Number(window) });
    }
    if (lookups.has(node.op)) continue;
    const rows = node.outputs[0] === undefined ? undefined : program.values[node.outputs[0]]!.shape[0];
    const share = shareOf(program, node);
    for (const index of node.inputs) {
      const value = program.values[index];
      if (value?.kind !== 'weight') continue;
      if (!counted.has(index)) addBytes(value.weight, share, bytes);
      counted.add(index);
      if (value.shape.length === 2)
        macs[rows === 'logit_rows' ? rows : 'rows'] += share * value.weight.rows * value.weight.cols;
    }
  }
  const [most] = [...bytes].sort((a, b) => b[1] - a[1]);
  return {
    stepBytes: [...bytes.values()].reduce((a, b) => a + b, 0),
    rowMacs: macs.rows,
    logitMacs: macs.logit_rows,
    attention,
    dtype: most?.[0] ?? 'f32',
  };
}

/** Operations of a prompt of n ids with logits for its last row; a multiplication with its addition counts as two. */
export function prefillOperations(work: Work, n: number): number {
  let macs = n * work.rowMacs + work.logitMacs;
  for (const { width, window } of work.attention) {
    const seen = window === 0 ? n : Math.min(n, window);
    // Row i sees min(i + 1, window) keys: a dot product and a weighted sum each.
    macs += 2 * width * ((seen * (seen + 1)) / 2 + (n - seen) * seen);
  }
  return 2 * macs;
}

/** Operations of a text of n rows whose tokens all see each other, windows apart. */
export function fullOperations(work: Work, n: number): number {
  const keys = (window: number): number => (window === 0 ? n : Math.min(n, window));
  const attention = work.attention.reduce((sum, a) => sum + 2 * a.width * n * keys(a.window), 0);
  return 2 * (n * work.rowMacs + work.logitMacs + attention);
}

/** Operations of one decoded token behind `context` others. */
export function decodeOperations(work: Work, context: number): number {
  const keys = (window: number): number => (window === 0 ? context : Math.min(context, window));
  const attention = work.attention.reduce((n, a) => n + 2 * a.width * keys(a.window), 0);
  return 2 * (work.rowMacs + work.logitMacs + attention);
}
