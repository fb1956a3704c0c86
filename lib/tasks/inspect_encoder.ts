import type { EncoderHost, EncoderSequence } from '../engine/encoder_host.js';
import type { HeadMask, Steering } from '../generation/options.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { checkObject } from './arguments.js';
import {
  checkChanges,
  checkFlag,
  checkWanted,
  type Layers,
  mapsTensor,
  rowsTensor,
  type TracedText,
  tokensOf,
  Wanted,
} from './inspect_layers.js';
import { changesOf, headsOf } from './probe_options.js';
import type { TraceTensor } from './trace_inputs.js';

/** What to record of a text that an encoder reads. */
export interface EncoderTraceRequest {
  /** Attention maps after softmax, one (heads, rows, rows) per layer. */
  readonly attentions?: Layers | undefined;
  /** Hidden states as Hugging Face counts them: 0 enters the first layer. */
  readonly hiddenStates?: Layers | undefined;
  /** Only these heads of all maps; default: all. */
  readonly heads?: readonly number[] | undefined;
  /** What the model's class returns; default true. */
  readonly outputs?: boolean | undefined;
  /** As for the task's requests: what is recorded is what happens under these changes. */
  readonly steer?: readonly Steering[] | undefined;
  readonly maskHeads?: readonly HeadMask[] | undefined;
}

export interface EncoderTrace extends TracedText {
  /** What the model's class returns, by Hugging Face's names, without the batch dimension. */
  readonly outputs: Readonly<Record<string, TraceTensor>>;
}

/** Throws an OptionError unless the request is one. */
export function checkEncoderTrace(request: EncoderTraceRequest): void {
  checkObject('request', request, ['attentions', 'hiddenStates', 'heads', 'outputs', 'steer', 'maskHeads']);
  checkChanges(request);
  checkFlag('outputs', request.outputs);
}

/** Records what `request` names while one text runs by itself; `results`: outputs of the task's program. */
export async function traceSequence(
  host: EncoderHost,
  sequence: EncoderSequence & { readonly ids: Int32Array },
  results: readonly string[],
  request: EncoderTraceRequest,
  tokenizer: Tokenizer | undefined,
): Promise<EncoderTrace> {
  checkEncoderTrace(request);
  const { graph } = host.built.builder;
  const wanted = new Wanted(graph, {
    attentions: ['attentions', request.attentions],
    hidden_states: ['hiddenStates', request.hiddenStates],
  });
  const heads = headsOf(wanted.maps, 'heads', request.heads);
  const own = request.outputs === false ? [] : results;
  checkWanted(own.length + wanted.outputs.length);
  const names = [...own, ...wanted.outputs];
  const made = await host.runChanged(names, sequence, changesOf(graph, request));
  const n = sequence.ids.length;
  const result = (name: string): TraceTensor => {
    const [space, cols] = graph.outputs.get(name)!.dims;
    const data = made[name]!;
    return space!.name === 'seqs' ? { shape: [cols!.size!], data } : rowsTensor(n)(data);
  };
  return {
    ids: sequence.ids,
    tokens: tokensOf(tokenizer, sequence.ids),
    outputs: Object.fromEntries(own.map((name) => [name, result(name)])),
    hiddenStates: wanted.collect('hidden_states', made, rowsTensor(n)),
    attentions: wanted.collect('attentions', made, mapsTensor(n, n, heads)),
  };
}
