import type { DecoderHost } from '../engine/host.js';
import { cutMap } from '../engine/probe_step.js';
import { OptionError } from '../errors.js';
import { refuse } from '../generation/option_rules.js';
import { generateRules } from '../generation/option_table.js';
import type { HeadMask, Steering } from '../generation/options.js';
import type { Graph } from '../graph/graph.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { checkObject } from './arguments.js';
import { headsOf, layersOf, resolveProbe } from './probe_options.js';
import type { TraceTensor } from './trace_inputs.js';
import { runWhole } from './whole.js';

/** Layers to record: true for all, or their numbers. */
export type Layers = boolean | readonly number[];

/** What to record of a prompt. */
export interface TraceRequest {
  /** Attention maps after softmax, one (heads, rows, keys) per layer; of an encoder-decoder those of its decoder. */
  readonly attentions?: Layers | undefined;
  /** Hidden states as Hugging Face counts them: 0 enters the first layer, the last has passed the final norm. */
  readonly hiddenStates?: Layers | undefined;
  /** Only these heads of all maps; default: all. */
  readonly heads?: readonly number[] | undefined;
  /** (rows, vocab); default true. */
  readonly logits?: boolean | undefined;
  /** As for `generate()`: what is recorded is what happens under these changes. */
  readonly steer?: readonly Steering[] | undefined;
  readonly maskHeads?: readonly HeadMask[] | undefined;
  /** Of encoder-decoders: what the decoder has written so far, after the ids that it begins with; default: nothing. */
  readonly target?: string | readonly number[] | Int32Array | undefined;
  /** Of encoder-decoders: (heads, decoder rows, encoder rows). */
  readonly crossAttentions?: Layers | undefined;
  readonly encoderAttentions?: Layers | undefined;
  readonly encoderHiddenStates?: Layers | undefined;
}

/** The inside of one side of a model while it reads. */
export interface TracedText {
  readonly ids: Int32Array;
  /** As the vocabulary spells them; undefined without a tokenizer, and for what Marian reads with a vocabulary of its own. */
  readonly tokens: readonly string[] | undefined;
  /** By layer: (heads, rows, rows), zeros where a row does not look. */
  readonly attentions: ReadonlyMap<number, TraceTensor>;
  /** By index: (rows, hidden). */
  readonly hiddenStates: ReadonlyMap<number, TraceTensor>;
}

export interface Trace extends TracedText {
  /** (rows, vocab) */
  readonly logits?: TraceTensor;
  /** By layer, of an encoder-decoder: (heads, rows, rows of the text). */
  readonly crossAttentions: ReadonlyMap<number, TraceTensor>;
  /** The encoder's side of an encoder-decoder. */
  readonly source?: TracedText;
}

/** Tokens of ids, as the vocabulary spells them. */
export function tokensOf(tokenizer: Tokenizer | undefined, ids: Int32Array): string[] | undefined {
  return tokenizer === undefined ? undefined : Array.from(ids, (id) => tokenizer.idToToken(id) ?? '');
}

/** Throws an OptionError unless `value` is undefined, true or false. */
export function checkFlag(name: string, value: boolean | undefined): void {
  if (value !== undefined && typeof value !== 'boolean') refuse(name, 'true or false', value);
}

/** Maps and hidden states to record of one graph, by layer, and the names of the outputs. */
export class Wanted {
  readonly maps: readonly (readonly [Graph, string])[];
  readonly #kinds: Readonly<Record<string, readonly number[]>>;

  /** `kinds`: name of the outputs → name of the option and its value. Throws OptionError. */
  constructor(graph: Graph, kinds: Readonly<Record<string, readonly [name: string, layers: Layers | undefined]>>) {
    this.#kinds = Object.fromEntries(
      Object.entries(kinds).map(([kind, [name, layers]]) => [kind, layersOf(graph, kind, name, layers)]),
    );
    this.maps = this.outputs.filter((name) => name.includes('attentions.')).map((name) => [graph, name] as const);
  }

  get outputs(): string[] {
    return Object.entries(this.#kinds).flatMap(([kind, layers]) => layers.map((i) => `${kind}.${i}`));
  }

  /** By layer: what `made` holds of a kind. */
  collect(
    kind: string,
    made: Readonly<Record<string, Float32Array>>,
    tensor: (x: Float32Array) => TraceTensor,
  ): Map<number, TraceTensor> {
    return new Map((this.#kinds[kind] ?? []).map((i) => [i, tensor(made[`${kind}.${i}`]!)]));
  }
}

/** (rows, cols) out of what a program gave. */
export const rowsTensor =
  (rows: number) =>
  (data: Float32Array): TraceTensor => ({ shape: [rows, data.length / rows], data });

/** (heads, rows, keys) out of what a program gave, only the wanted heads. */
export const mapsTensor =
  (rows: number, keys: number, heads: readonly number[] | undefined) =>
  (data: Float32Array): TraceTensor =>
    heads === undefined
      ? { shape: [data.length / (rows * keys), rows, keys], data }
      : cutMap(data, { all: rows, first: 0, count: rows, most: keys, keys, heads });

export const traceNames = ['attentions', 'hiddenStates', 'heads', 'logits', 'steer', 'maskHeads'] as const;

/** Values of `steer` and `maskHeads`, whatever the model. Throws OptionError. */
export function checkChanges(request: Pick<TraceRequest, 'steer' | 'maskHeads'>): void {
  for (const name of ['steer', 'maskHeads'] as const)
    if (request[name] !== undefined) generateRules[name](request[name], name);
}

/** Names and kinds of a request's options. Throws OptionError. */
export function checkTraceRequest(request: TraceRequest, known: readonly string[]): void {
  checkObject('request', request, known);
  checkFlag('logits', request.logits);
  checkChanges(request);
}

/** Throws an OptionError where nothing is to be recorded. */
export function checkWanted(count: number): void {
  if (count === 0) throw new OptionError('nothing to trace', { expected: 'logits, attentions or hiddenStates' });
}

/** Records what `request` names while the prompt runs once, in one step. */
export async function traceIds(
  host: DecoderHost,
  ids: Int32Array,
  request: TraceRequest,
  tokenizer: Tokenizer | undefined,
): Promise<Trace> {
  checkTraceRequest(request, traceNames);
  const wanted = new Wanted(host.built.builder.graph, {
    attentions: ['attentions', request.attentions],
    hidden_states: ['hiddenStates', request.hiddenStates],
  });
  const heads = headsOf(wanted.maps, 'heads', request.heads);
  const logits = request.logits ?? true;
  const outputs = [...(logits ? ['logits'] : []), ...wanted.outputs];
  checkWanted(outputs.length);
  const { steer, maskHeads } = request;
  const changes = resolveProbe({ steer, maskHeads }, host.built)?.changes;
  const made = await runWhole(host, ids, { outputs, single: true, changes });
  const n = ids.length;
  return {
    ids,
    tokens: tokensOf(tokenizer, ids),
    ...(logits ? { logits: rowsTensor(n)(made.logits!) } : {}),
    hiddenStates: wanted.collect('hidden_states', made, rowsTensor(n)),
    attentions: wanted.collect('attentions', made, mapsTensor(n, n, heads)),
    crossAttentions: new Map(),
  };
}
