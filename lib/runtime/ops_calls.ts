import type { DType } from '../graph/dtype.js';
import type { AttrValue, Program, ProgramNode, ProgramValue } from '../graph/program.js';
import { opList } from '../ops/index.js';
import { DeviceModel, type Executable } from './executable.js';
import type { InputArray } from './native.js';

/** One input of a call. Dims are names; their sizes come from the data's shape at each call. */
export interface Operand {
  readonly dtype: DType;
  readonly data: InputArray;
  readonly dims: readonly string[];
  readonly sizes: readonly number[];
}

/** One node of a call's program: operands by name, or the number of an earlier node whose output it takes. */
export interface CallNode {
  readonly op: string;
  readonly attrs: Readonly<Record<string, AttrValue>>;
  readonly inputs: Readonly<Record<string, string | number>>;
  /** Dims of each output. */
  readonly outputs: readonly (readonly string[])[];
}

interface Entry {
  readonly ready: Promise<Executable>;
  executable: Executable | undefined;
  running: number;
}

/** Programs that stay compiled; beyond that the one used longest ago goes. */
const cachedPrograms = 64;

let models = new Map<string, Promise<DeviceModel>>();
let entries = new Map<string, Entry>();

function buildProgram(nodes: readonly CallNode[], operands: Readonly<Record<string, Operand>>): Program {
  const values: ProgramValue[] = Object.entries(operands).map(([name, o]) => ({
    kind: 'input',
    name,
    dtype: o.dtype,
    shape: o.dims,
  }));
  const index = new Map(values.map((v, i) => [v.name, i]));
  const made: number[][] = [];
  const lowered = nodes.map((node, n): ProgramNode => {
    const info = opList.find((o) => o.name === node.op)!;
    const inputs = info.inputs.map((name) => {
      const from = node.inputs[name.replace('?', '')];
      return from === undefined ? -1 : typeof from === 'number' ? made[from]![0]! : index.get(from)!;
    });
    const outputs = node.outputs.map(
      (shape, i) => values.push({ kind: 'temp', name: `${n}.${i}`, dtype: 'f32', shape }) - 1,
    );
    made.push(outputs);
    return { op: node.op, name: node.op, inputs, outputs, attrs: node.attrs };
  });
  const dims = [...new Set(values.flatMap((v) => v.shape as readonly string[]))];
  const outputs = made.at(-1)!.map((value, i) => ({ name: `out${i}`, value }));
  return { name: nodes.at(-1)!.op, dims, values, nodes: lowered, outputs };
}

function modelOf(device: string): Promise<DeviceModel> {
  const known = models.get(device);
  if (known !== undefined) return known;
  const opened = DeviceModel.open(device);
  models.set(device, opened);
  opened.catch(() => models.delete(device));
  return opened;
}

function entryOf(device: string, nodes: readonly CallNode[], operands: Readonly<Record<string, Operand>>): Entry {
  const key = JSON.stringify([device, nodes, Object.entries(operands).map(([name, o]) => [name, o.dtype, o.dims])]);
  const cache = entries;
  const known = cache.get(key);
  if (known !== undefined) {
    cache.delete(key);
    cache.set(key, known); // the last one is the one used last
    return known;
  }
  const entry: Entry = {
    ready: modelOf(device).then((m) => m.compile(buildProgram(nodes, operands))),
    executable: undefined,
    running: 0,
  };
  entry.ready.then(
    (executable) => {
      entry.executable = executable;
    },
    () => cache.delete(key),
  );
  cache.set(key, entry);
  evict(cache);
  return entry;
}

function evict(cache: Map<string, Entry>): void {
  for (const [key, entry] of cache) {
    if (cache.size <= cachedPrograms) return;
    if (entry.executable === undefined || entry.running > 0) continue;
    entry.executable.dispose();
    cache.delete(key);
  }
}

/**
 * Runs nodes as one program and gives the outputs of the last. Compiled once per (device, ops, attributes, ranks). Inputs
 * are copied before it returns. `more`: sizes of dims that no operand has.
 */
export async function callNodes(
  device: string,
  nodes: readonly CallNode[],
  operands: Readonly<Record<string, Operand>>,
  more: Readonly<Record<string, number>> = {},
): Promise<Float32Array[]> {
  const entry = entryOf(device, nodes, operands);
  const sizes: Record<string, number> = { ...more };
  for (const o of Object.values(operands)) for (const [i, d] of o.dims.entries()) sizes[d] = o.sizes[i]!;
  // Native code takes plain memory only: what another thread can write is copied first.
  const plain = (d: InputArray): InputArray => (d.buffer instanceof ArrayBuffer ? d : d.slice());
  let inputs = Object.fromEntries(Object.entries(operands).map(([name, o]) => [name, plain(o.data)]));
  entry.running++;
  try {
    let executable = entry.executable;
    if (executable === undefined) {
      inputs = Object.fromEntries(
        Object.entries(inputs).map(([name, data]) => [name, data.length === 0 ? data : data.slice()]),
      );
      executable = await entry.ready;
    }
    const { outputs } = await executable.run(sizes, inputs);
    return executable.program.outputs.map((o) => outputs[o.name] as Float32Array);
  } finally {
    entry.running--;
  }
}

/** Frees all compiled programs. Calls that run are finished first; a later call compiles anew. */
export async function disposeCalls(): Promise<void> {
  const [oldEntries, oldModels] = [entries, models];
  entries = new Map();
  models = new Map();
  await Promise.allSettled([...oldEntries.values()].map((e) => e.ready));
  while ([...oldEntries.values()].some((e) => e.running > 0)) await new Promise((resolve) => setTimeout(resolve, 1));
  for (const model of await Promise.allSettled(oldModels.values())) {
    if (model.status === 'fulfilled') await model.value.dispose();
  }
}
