import type { DecoderHost } from '../engine/host.js';
import { OptionError } from '../errors.js';
import type { TraceTensor } from './trace.js';
import { runWhole } from './whole.js';

/** What to record of a prompt: true for all layers, or their numbers. */
export interface TraceRequest {
  /** Attention maps after softmax, one (heads, rows, keys) per layer. */
  readonly attentions?: boolean | readonly number[] | undefined;
  /** Hidden states as Hugging Face counts them: 0 enters the first layer, the last has passed the final norm. */
  readonly hiddenStates?: boolean | readonly number[] | undefined;
  /** (rows, vocab); default true. */
  readonly logits?: boolean | undefined;
}

export interface Trace {
  readonly ids: Int32Array;
  readonly logits?: TraceTensor;
  /** By layer: (heads, rows, rows), zeros above the diagonal and outside windows. */
  readonly attentions: ReadonlyMap<number, TraceTensor>;
  /** By index: (rows, hidden). */
  readonly hiddenStates: ReadonlyMap<number, TraceTensor>;
}

function wanted(name: string, given: boolean | readonly number[] | undefined, count: number): number[] {
  if (given === undefined || given === false) return [];
  if (given === true) return Array.from({ length: count }, (_, i) => i);
  if (!Array.isArray(given))
    throw new OptionError(`bad ${name}`, { name, expected: 'true or a list of numbers', found: given });
  for (const i of given) {
    if (!Number.isInteger(i) || i < 0 || i >= count)
      throw new OptionError(`bad ${name}`, { name, expected: `numbers from 0 to ${count - 1}`, found: i });
  }
  return [...new Set(given as readonly number[])].sort((a, b) => a - b);
}

/** Records what `request` names while the prompt runs once, in one step. */
export async function traceIds(host: DecoderHost, ids: Int32Array, request: TraceRequest): Promise<Trace> {
  if (typeof request !== 'object' || request === null)
    throw new OptionError('trace: options', { name: 'request', expected: 'an object', found: request });
  for (const name of Object.keys(request)) {
    if (!['attentions', 'hiddenStates', 'logits'].includes(name))
      throw new OptionError(`unknown option ${name}`, { name, expected: 'attentions, hiddenStates, logits' });
  }
  const layers = host.built.layers;
  const attentions = wanted('attentions', request.attentions, layers);
  const hidden = wanted('hiddenStates', request.hiddenStates, layers + 1);
  const logits = request.logits ?? true;
  if (typeof logits !== 'boolean')
    throw new OptionError('bad logits', { name: 'logits', expected: 'true or false', found: logits });
  const outputs = [
    ...(logits ? ['logits'] : []),
    ...hidden.map((i) => `hidden_states.${i}`),
    ...attentions.map((i) => `attentions.${i}`),
  ];
  if (outputs.length === 0)
    throw new OptionError('nothing to trace', { expected: 'logits, attentions or hiddenStates' });
  const made = await runWhole(host, ids, { outputs, single: true });
  const n = ids.length;
  const rows = (data: Float32Array): TraceTensor => ({ shape: [n, data.length / n], data });
  const maps = (data: Float32Array): TraceTensor => ({ shape: [data.length / (n * n), n, n], data });
  return {
    ids,
    ...(logits ? { logits: rows(made.logits!) } : {}),
    hiddenStates: new Map(hidden.map((i) => [i, rows(made[`hidden_states.${i}`]!)])),
    attentions: new Map(attentions.map((i) => [i, maps(made[`attentions.${i}`]!)])),
  };
}
