import { DisposedError, InputError, OptionError } from '../errors.js';
import { Graph } from '../graph/graph.js';
import { lower } from '../graph/lower.js';
import type { Program } from '../graph/program.js';
import { DeviceModel, type Executable, type OpenOptions } from './executable.js';
import type { InputArray } from './native.js';
import type { NdArray } from './ops_types.js';
import { checkStepMemory } from './step_memory.js';

export interface GraphOptions extends OpenOptions {
  /** Names of the graph's outputs to compute; default: all. What they do not need is left out. */
  readonly outputs?: readonly string[] | undefined;
  /** Where it runs: `cpu` (default), `cpu:avx2` …; `devices()` lists them. */
  readonly device?: string | undefined;
  /** Overrides how linears multiply: `f32`, `bf16`, `int8/32`, `int8/256`. */
  readonly compute?: string | undefined;
}

/** What an input is given as: floats as `array()` makes them; integers and bytes in their typed arrays. */
export type GraphInput = NdArray | { readonly data: Int32Array | Uint8Array; readonly shape: readonly number[] };

const arrays = { f32: Float32Array, i32: Int32Array, u8: Uint8Array } as const;

/** A graph of your own, compiled. Sizes of dims that come with each step are taken from the inputs' shapes. */
export class GraphRunner {
  readonly program: Program;
  readonly #model: DeviceModel;
  readonly #executable: Executable;
  #disposed = false;

  /** @internal Use `openGraph()`. */
  constructor(model: DeviceModel, executable: Executable) {
    this.program = executable.program;
    this.#model = model;
    this.#executable = executable;
  }

  /**
   * One pass, off the event loop. `sizes`: of dims that no input has. Throws an InputError where an input is missing, unknown
   * or of another dtype or shape, and where inputs give a dim two sizes; an OutOfMemoryError where what the pass makes does
   * not fit the memory that is free.
   */
  async run(
    inputs: Readonly<Record<string, GraphInput>>,
    sizes: Readonly<Record<string, number>> = {},
  ): Promise<Record<string, NdArray>> {
    if (this.#disposed) throw new DisposedError('the graph was disposed');
    for (const [name, found] of Object.entries({ inputs, sizes }))
      if (typeof found !== 'object' || found === null)
        throw new InputError(`${name} must be an object`, { name, expected: 'values by name', found });
    const dims: Record<string, number> = { ...sizes };
    const given: Record<string, InputArray> = {};
    const declared = this.program.values.filter((v) => v.kind === 'input');
    for (const name of Object.keys(inputs)) {
      if (!declared.some((v) => v.name === name))
        throw new InputError('the program has no such input', { name, expected: declared.map((v) => v.name) });
    }
    for (const value of declared) {
      const input = inputs[value.name];
      const { data, shape } = (input ?? {}) as Partial<GraphInput>;
      if (!(data instanceof arrays[value.dtype as keyof typeof arrays]) || !Array.isArray(shape))
        throw new InputError('a graph input is missing or of another type', {
          name: value.name,
          expected: `{ data: ${arrays[value.dtype as keyof typeof arrays].name}, shape: (${value.shape.join(', ')}) }`,
          found: input === undefined ? 'nothing' : (data?.constructor?.name ?? typeof input),
        });
      if (!(data.buffer instanceof ArrayBuffer))
        throw new InputError('a graph input lies in shared memory, which others may write to', {
          ...{ name: value.name, expected: 'an array of its own' },
        });
      this.#bind(value.name, value.shape, shape, data.length, dims);
      given[value.name] = data;
    }
    checkStepMemory(this.#executable, dims, 'the graph needs more memory for inputs of this size than is free', {
      hint: 'Give smaller inputs',
    });
    const { outputs } = await this.#executable.run(dims, given);
    const made = this.program.outputs.map(({ name, value }) => {
      const shape = this.program.values[value]!.shape.map((d) => (typeof d === 'number' ? d : dims[d]!));
      return [name, { data: outputs[name], shape }] as const;
    });
    return Object.fromEntries(made) as unknown as Record<string, NdArray>;
  }

  /** Lets a running pass finish, then frees. */
  async dispose(): Promise<void> {
    if (this.#disposed) return;
    this.#disposed = true;
    await this.#model.dispose();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  /** Checks a shape against the declared one and notes the sizes of its step dims. */
  #bind(
    name: string,
    declared: readonly (number | string)[],
    shape: readonly number[],
    length: number,
    dims: Record<string, number>,
  ): void {
    const fits =
      shape.length === declared.length &&
      declared.every((d, i) => shape[i] === (typeof d === 'number' ? d : (dims[d] ?? shape[i]))) &&
      shape.every((n) => Number.isSafeInteger(n) && n >= 0) &&
      shape.reduce((a, b) => a * b, 1) === length;
    if (!fits) {
      const known = declared.map((d) => (typeof d === 'string' && dims[d] !== undefined ? `${d} = ${dims[d]}` : d));
      throw new InputError('a graph input has another shape', {
        name,
        expected: `(${known.join(', ')})`,
        found: `(${shape.join(', ')}) of ${length} values`,
      });
    }
    for (const [i, d] of declared.entries()) if (typeof d === 'string') dims[d] = shape[i]!;
  }
}

/**
 * Compiles a graph of your own, built with `Graph` and the ops of `verdant/graph`, and packs its weights. Throws GraphError,
 * OptionError, DeviceError, and what reading weights may throw.
 */
export async function openGraph(graph: Graph, options: GraphOptions = {}): Promise<GraphRunner> {
  if (!(graph instanceof Graph))
    throw new InputError('this is no graph', { name: 'graph', expected: 'a Graph of verdant/graph', found: graph });
  if (typeof options !== 'object' || options === null)
    throw new OptionError('options must be an object', { name: 'options', expected: 'an object', found: options });
  const { outputs = [...graph.outputs.keys()], device = 'cpu', compute, ...rest } = options;
  for (const name of Object.keys(rest)) {
    if (name !== 'threads' && name !== 'priority')
      throw new OptionError(`unknown option ${name}`, {
        name,
        expected: 'outputs, device, compute, threads, priority',
      });
  }
  if (!Array.isArray(outputs) || !outputs.every((name) => typeof name === 'string'))
    throw new OptionError('bad outputs', { name: 'outputs', expected: 'a list of names', found: outputs });
  const program = lower(graph, { outputs, ...(compute === undefined ? {} : { compute }) });
  const model = await DeviceModel.open(device, rest);
  try {
    return new GraphRunner(model, await model.compile(program));
  } catch (error) {
    await model.dispose();
    throw error;
  }
}
