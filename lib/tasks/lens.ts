import type { EncoderHost, EncoderSequence } from '../engine/encoder_host.js';
import type { DecoderHost } from '../engine/host.js';
import { type LensGraph, lensSampling } from '../engine/lens.js';
import { AbortError, OptionError } from '../errors.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { checkObject } from './arguments.js';
import { type Layers, tokensOf } from './inspect_layers.js';
import { layersOf } from './probe_options.js';
import { type WholeOptions, walkWhole } from './whole.js';

export interface LensOptions {
  /** Tokens at each layer and position, 1 to 100; default 5. */
  readonly top?: number | undefined;
  /** Hidden states to look at, as `trace()` counts them; default: all. */
  readonly layers?: Layers | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface LensToken {
  readonly id: number;
  /** As the vocabulary spells it; undefined without a tokenizer. */
  readonly token: string | undefined;
  readonly probability: number;
}

/** What the model would say next if it stopped after each layer. */
export interface Lens {
  readonly ids: Int32Array;
  readonly tokens: readonly string[] | undefined;
  /** By hidden state: for each position the most likely tokens, best first. The last is what the model says. */
  readonly layers: ReadonlyMap<number, readonly (readonly LensToken[])[]>;
}

/** Rows whose logits of one layer are held at a time. */
const kRows = 128;

export const lensNames = ['top', 'layers', 'signal'] as const;

interface Read {
  readonly top: number;
  readonly layers: readonly number[];
  readonly names: readonly { readonly ids: string; readonly logprobs: string }[];
  readonly outputs: readonly string[];
}

function readOptions(
  lens: LensGraph,
  graph: Parameters<typeof layersOf>[0],
  vocab: number,
  options: LensOptions,
): Read {
  const { top = 5, layers = true, signal } = options;
  const most = Math.min(100, vocab);
  if (!Number.isInteger(top) || top < 1 || top > most)
    throw new OptionError('bad top', { name: 'top', expected: `an integer from 1 to ${most}`, found: top });
  if (signal !== undefined && !(signal instanceof AbortSignal))
    throw new OptionError('bad signal', { name: 'signal', expected: 'an AbortSignal', found: signal });
  const chosen = layersOf(graph, 'hidden_states', 'layers', layers);
  if (chosen.length === 0)
    throw new OptionError('bad layers', { name: 'layers', expected: 'at least one', found: layers });
  const names = chosen.map((i) => lens.outputs(i));
  return { top, layers: chosen, names, outputs: names.flatMap(({ ids, logprobs }) => [ids, logprobs]) };
}

type Outputs = Readonly<Record<string, Float32Array | Int32Array>>;

/** Adds the rows of one step to the result. */
function collect(
  read: Read,
  outputs: Outputs,
  tokenizer: Tokenizer | undefined,
  into: Map<number, LensToken[][]>,
): void {
  const { top } = read;
  for (const [i, layer] of read.layers.entries()) {
    const ids = outputs[read.names[i]!.ids] as Int32Array;
    const logprobs = outputs[read.names[i]!.logprobs] as Float32Array;
    const rows = into.get(layer) ?? [];
    for (let at = 0; at < ids.length; at += top)
      rows.push(
        Array.from({ length: top }, (_, k) => ({
          id: ids[at + k]!,
          token: tokenizer?.idToToken(ids[at + k]!),
          probability: Math.exp(logprobs[at + k]!),
        })),
      );
    into.set(layer, rows);
  }
}

/** The lens over a decoder's ids; `whole`: the text of an encoder-decoder. */
export async function lensOfIds(
  host: DecoderHost,
  lens: LensGraph,
  ids: Int32Array,
  options: LensOptions,
  tokenizer: Tokenizer | undefined,
  whole: Pick<WholeOptions, 'text'> = {},
): Promise<Lens> {
  checkObject('options', options, lensNames);
  const read = readOptions(lens, host.built.builder.graph, host.built.vocabSize, options);
  const layers = new Map<number, LensToken[][]>();
  await walkWhole(
    host,
    ids,
    {
      ...{ outputs: read.outputs, chunk: kRows, variable: true, signal: options.signal, ...whole },
      more: (rows) => lensSampling(rows, read.top),
    },
    (outputs) => collect(read, outputs, tokenizer, layers),
  );
  return { ids, tokens: tokensOf(tokenizer, ids), layers };
}

/** The same of a text that a masked language model reads as a whole. */
export async function lensOfSequence(
  host: EncoderHost,
  lens: LensGraph,
  sequence: EncoderSequence & { readonly ids: Int32Array },
  options: LensOptions,
  tokenizer: Tokenizer | undefined,
): Promise<Lens> {
  checkObject('options', options, lensNames);
  const read = readOptions(lens, host.built.builder.graph, host.built.vocabSize, options);
  const n = sequence.ids.length;
  const { dims, inputs } = lensSampling(n, read.top);
  const history = {
    lens_positions: new Int32Array(n),
    lens_sequences: new Int32Array(n),
    lens_table: new Int32Array(1),
  };
  const outputs = await host.alone(read.outputs, sequence, { dims, inputs: { ...inputs, ...history } });
  if (options.signal?.aborted === true) throw new AbortError(undefined, { cause: options.signal.reason });
  const layers = new Map<number, LensToken[][]>();
  collect(read, outputs, tokenizer, layers);
  return { ids: sequence.ids, tokens: tokensOf(tokenizer, sequence.ids), layers };
}
