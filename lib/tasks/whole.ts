import { addTexts, type SourceText } from '../engine/encode_texts.js';
import type { DecoderHost } from '../engine/host.js';
import { fillChanges } from '../engine/probe_step.js';
import { packStep, type StepArrays } from '../engine/step_inputs.js';
import { AbortError, InputError } from '../errors.js';
import type { StepResult } from '../runtime/native.js';

export interface WholeOptions {
  /** Outputs of the graph to collect. */
  readonly outputs: readonly string[];
  /** First row that needs logits; default: all rows do. */
  readonly logitsFrom?: number | undefined;
  /** Ids whose log-probability is wanted, one for each row from `logitsFrom` on. */
  readonly targets?: Int32Array | undefined;
  /** All rows in one step: attention maps need it. */
  readonly single?: boolean | undefined;
  /** The outputs are one choice of very many: their program is kept only for a while. */
  readonly variable?: boolean | undefined;
  /** Dims and inputs that the program has besides those of every step, for its rows with logits. */
  readonly more?: ((rows: number) => StepArrays) | undefined;
  /** What is added or multiplied on the way, by the names of ProbeSpec. */
  readonly changes?: ReadonlyMap<string, Float32Array> | undefined;
  /** What an encoder-decoder has read. */
  readonly text?: SourceText | undefined;
  /** Rows of one step; default 512. */
  readonly chunk?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Throws an InputError unless every id is one of the vocabulary and there is at least one. */
export function checkIds(ids: ArrayLike<number>, vocab: number, name: string): void {
  const listed = Array.isArray(ids) || (ArrayBuffer.isView(ids) && !(ids instanceof DataView));
  if (!listed)
    throw new InputError(`${name} is not a list of token ids`, {
      name,
      expected: 'an array or Int32Array',
      found: typeof ids,
    });
  if (ids.length === 0) throw new InputError(`${name} is empty`, { name, expected: 'at least one token' });
  for (let i = 0; i < ids.length; i++) {
    const id = ids[i]!;
    if (!Number.isInteger(id) || id < 0 || id >= vocab) {
      throw new InputError(`${name}[${i}] is out of range`, {
        name,
        expected: `an id from 0 to ${vocab - 1}`,
        found: id,
      });
    }
  }
}

/** As `walkWhole`; each output's parts, all of floats, are put together in order of rows. */
export async function runWhole(
  host: DecoderHost,
  ids: Int32Array,
  options: WholeOptions,
): Promise<Record<string, Float32Array>> {
  const parts: Record<string, Float32Array[]> = Object.fromEntries(options.outputs.map((o) => [o, []]));
  await walkWhole(host, ids, options, (outputs) => {
    for (const name of options.outputs) parts[name]!.push(outputs[name] as Float32Array);
  });
  return Object.fromEntries(Object.entries(parts).map(([name, list]) => [name, join(list)]));
}

/**
 * Takes a whole sequence through a program of the host in chunks, on blocks of its own, beside whatever the engine runs;
 * `take` gets the outputs of each.
 */
export async function walkWhole(
  host: DecoderHost,
  ids: Int32Array,
  options: WholeOptions,
  take: (outputs: StepResult['outputs']) => void,
): Promise<void> {
  const changed = [...(options.changes?.keys() ?? [])].sort();
  const executable =
    options.single === true || options.variable === true || changed.length > 0
      ? host.probed(options.outputs, { shown: [], changed })
      : await host.program(options.outputs);
  const chunk = options.single === true ? ids.length : (options.chunk ?? 512);
  const from = options.logitsFrom ?? 0;
  const table = await host.engine.pool.lease(ids.length, options.signal);
  try {
    for (let begin = 0; begin < ids.length; begin += chunk) {
      if (options.signal?.aborted === true) throw new AbortError(undefined, { cause: options.signal.reason });
      const rows = ids.subarray(begin, begin + chunk);
      const copies = table.write(begin, begin + rows.length);
      const logits = Array.from({ length: rows.length }, (_, i) => i).filter((i) => begin + i >= from);
      const step = packStep(
        [{ ids: rows, from: begin, ropeLength: ids.length, blocks: table.blocks, logits }],
        copies,
        host.built.groups.map((g) => g.name),
      );
      if (options.targets !== undefined)
        step.inputs.targets = options.targets.slice(Math.max(0, begin - from), Math.max(0, begin + rows.length - from));
      if (options.changes !== undefined) fillChanges(step, options.changes);
      if (options.text !== undefined) addTexts(step, [{ sequence: { text: options.text }, rows: rows.length }], 1);
      const keys = { keys: ids.length, source_keys: options.text?.ids.length ?? 0 };
      const more = options.more?.(logits.length);
      const dims = { ...step.dims, ...keys, ...more?.dims };
      take((await executable.run(dims, { ...step.inputs, ...more?.inputs })).outputs);
    }
  } finally {
    host.engine.pool.release(table);
  }
}

function join(parts: readonly Float32Array[]): Float32Array {
  if (parts.length === 1) return parts[0]!;
  const all = new Float32Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const p of parts) {
    all.set(p, at);
    at += p.length;
  }
  return all;
}
