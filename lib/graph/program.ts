import type { DType, StateDType } from './dtype.js';
import type { WeightExpr } from './weight_expr.js';

/** A dim of a value: a fixed size, or the name of a program dim. */
export type ProgramDim = number | string;

export type ProgramValue = { readonly name: string; readonly shape: readonly ProgramDim[] } & (
  | { readonly kind: 'input' | 'temp'; readonly dtype: DType }
  | { readonly kind: 'state'; readonly dtype: StateDType }
  | { readonly kind: 'weight'; readonly dtype: DType; readonly weight: WeightExpr }
);

export type AttrValue = number | boolean | string;

export interface ProgramNode {
  readonly op: string;
  readonly name: string;
  /** Indices of values; -1: absent. */
  readonly inputs: readonly number[];
  readonly outputs: readonly number[];
  readonly attrs: Readonly<Record<string, AttrValue>>;
}

/** How decode steps follow each other inside one native call; all are indices of values. */
export interface ProgramLoop {
  readonly idsOutput: number;
  readonly idsInput: number;
  readonly increments: readonly number[];
  readonly stopOffsets: number;
  readonly stopIds: number;
  readonly remaining: number;
}

/** The lowered graph: plain data that native code compiles. */
export interface Program {
  readonly name: string;
  readonly dims: readonly string[];
  readonly values: readonly ProgramValue[];
  readonly nodes: readonly ProgramNode[];
  readonly outputs: readonly { readonly name: string; readonly value: number }[];
  readonly loop?: ProgramLoop;
}

/** The program as text, one line per value that is not a temp, then one per node: for reading and diffing. */
export function printProgram(program: Program): string {
  const shape = (v: ProgramValue): string => `${v.dtype}(${v.shape.join(', ')})`;
  const label = (i: number): string => {
    if (i < 0) return '-';
    const value = program.values[i]!;
    return value.kind === 'temp' ? `%${i}` : value.name;
  };
  const lines = [`program ${program.name}`, `dims ${program.dims.join(' ')}`];
  for (const v of program.values) {
    if (v.kind === 'temp') continue;
    lines.push(`${v.kind} ${v.name} ${shape(v)}${v.kind === 'weight' ? ` = ${weightText(v.weight)}` : ''}`);
  }
  for (const n of program.nodes) {
    const attrs = Object.entries(n.attrs).map(([k, v]) => `${k}=${v}`);
    const made = n.outputs.map((o) => `%${o} ${shape(program.values[o]!)}`).join(', ');
    lines.push(
      `${made === '' ? '' : `${made} = `}${n.op}(${n.inputs.map(label).join(', ')}) ${attrs.join(' ')}  # ${n.name}`,
    );
  }
  for (const o of program.outputs) lines.push(`output ${o.name} = %${o.value}`);
  return `${lines.join('\n')}\n`;
}

/** A weight expression as text: f16 file model.safetensors[h.0.attn.c_attn.weight] transposed … */
export function weightText(w: WeightExpr): string {
  const size = `${w.dtype} ${w.rows}x${w.cols}`;
  if (w.kind === 'file') return `${size} file ${w.tensor}`;
  if (w.kind === 'bytes') return `${size} bytes`;
  if (w.kind === 'random') return `${size} random(seed ${w.seed}, std ${w.std})`;
  const extra =
    w.kind === 'slice'
      ? ` from ${w.begin}`
      : w.kind === 'permute_rows'
        ? ` heads ${w.heads}`
        : w.kind === 'taps'
          ? ` ${w.kernel}`
          : '';
  return `${size} ${w.kind}${extra}(${w.of.map(weightText).join(', ')})`;
}
