import type { DType, StateDType } from '../../lib/graph/dtype.js';
import type { AttrValue, Program, ProgramNode, ProgramValue } from '../../lib/graph/program.js';
import type { WeightExpr } from '../../lib/graph/weight_expr.js';
import { opList } from '../../lib/ops/index.js';
import { devices } from '../../lib/runtime/devices.js';
import { DeviceModel } from '../../lib/runtime/executable.js';
import type { InputArray } from '../../lib/runtime/native.js';

/**
 * An input of an op under test: data of a step, a weight, a state (made zeroed, shared by all nodes that name it), or
 * the first output of a node before.
 */
export type OpInput =
  | { readonly dtype: DType; readonly shape: readonly number[]; readonly data: InputArray }
  | { readonly weight: WeightExpr; readonly shape: readonly number[] }
  | { readonly state: string; readonly dtype: StateDType; readonly shape: readonly number[] }
  | { readonly node: number; readonly shape: readonly number[] };

export interface OpCase {
  readonly op: string;
  readonly attrs?: Readonly<Record<string, AttrValue>>;
  /** By the op's input names; absent ones are left out. */
  readonly inputs: Readonly<Record<string, OpInput>>;
  /** Shapes of the outputs in order; optional outputs that are left out are not made. */
  readonly outputs?: readonly { readonly dtype: DType; readonly shape: readonly number[] }[];
}

export interface OpResult {
  readonly shape: readonly number[];
  readonly data: Float32Array | Int32Array;
}

/** Where every op test runs: the tiers of this machine, or the devices that VERDANT_TEST_DEVICES names. */
export function testDevices(): string[] {
  const named = process.env.VERDANT_TEST_DEVICES;
  if (named !== undefined) return named.split(',');
  return devices()
    .filter((d) => d.usable && d.name.startsWith('cpu:'))
    .map((d) => d.name);
}

/** Builds a program of these nodes; results are those of the last one, by output name. */
export function buildProgram(cases: readonly OpCase[]): { program: Program; inputs: Record<string, InputArray> } {
  const values: ProgramValue[] = [];
  const inputs: Record<string, InputArray> = {};
  const nodes: ProgramNode[] = [];
  const outputs: { name: string; value: number }[] = [];
  const states = new Map<string, number>();
  const made: number[][] = [];
  const add = (v: ProgramValue): number => values.push(v) - 1;
  for (const [c, test] of cases.entries()) {
    const info = opList.find((o) => o.name === test.op);
    if (info === undefined) throw new Error(`unknown op ${test.op}`);
    const names = info.inputs.includes('...') ? Object.keys(test.inputs) : info.inputs.map((n) => n.replace('?', ''));
    const ids = names.map((name) => {
      const given = test.inputs[name];
      if (given === undefined) return -1;
      if ('node' in given) return made[given.node]![0]!;
      const base = { name: `${c}.${name}`, shape: given.shape };
      if ('weight' in given) return add({ ...base, kind: 'weight', dtype: 'f32', weight: given.weight });
      if ('state' in given) {
        const known = states.get(given.state);
        if (known !== undefined) return known;
        states.set(given.state, add({ ...base, name: given.state, kind: 'state', dtype: given.dtype }));
        return values.length - 1;
      }
      inputs[base.name] = given.data;
      return add({ ...base, kind: 'input', dtype: given.dtype });
    });
    const own = (test.outputs ?? []).map((o, i) =>
      add({ kind: 'temp', name: `${c}.out${i}`, dtype: o.dtype, shape: o.shape }),
    );
    made.push(own);
    if (c === cases.length - 1)
      for (const [i, value] of own.entries()) outputs.push({ name: info.outputs[i]!.replace('?', ''), value });
    nodes.push({ op: test.op, name: `${test.op}${c}`, inputs: ids, outputs: own, attrs: test.attrs ?? {} });
  }
  return { program: { name: 'test', dims: [], values, nodes, outputs }, inputs };
}

/** What a device multiplies in where it runs the last of these nodes; empty: the op has no choice. */
export async function opCompute(cases: readonly OpCase[], device: string): Promise<string> {
  const model = await DeviceModel.open(device);
  try {
    return (await model.compile(buildProgram(cases).program)).profile().nodes.at(-1)!.compute;
  } finally {
    await model.dispose();
  }
}

/** Runs nodes one after another as one program on a device and returns the outputs of the last. */
export async function runOps(cases: readonly OpCase[], device = 'cpu', threads = 2): Promise<Record<string, OpResult>> {
  const { program, inputs } = buildProgram(cases);
  const model = await DeviceModel.open(device, { threads });
  try {
    const executable = await model.compile(program);
    const result = await executable.run({}, inputs);
    return Object.fromEntries(
      program.outputs.map((o) => [
        o.name,
        { shape: program.values[o.value]!.shape as number[], data: result.outputs[o.name]! },
      ]),
    );
  } finally {
    await model.dispose();
  }
}

/** Runs one op. */
export function runOp(
  test: OpCase & { readonly device?: string; readonly threads?: number },
): Promise<Record<string, OpResult>> {
  return runOps([test], test.device, test.threads);
}
