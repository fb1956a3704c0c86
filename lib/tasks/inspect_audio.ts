import type { AudioHost } from '../engine/audio_host.js';
import { checkObject } from './arguments.js';
import { checkFlag, checkWanted, type Layers, mapsTensor, rowsTensor, Wanted } from './inspect_layers.js';
import { headsOf } from './probe_options.js';
import type { TraceTensor } from './trace_inputs.js';

/** What to record of a clip. */
export interface AudioTraceRequest {
  /** Attention maps after softmax, one (heads, frames, frames) per layer. */
  readonly attentions?: Layers | undefined;
  /** Hidden states as Hugging Face counts them: 0 enters the first layer. */
  readonly hiddenStates?: Layers | undefined;
  /** Only these heads of all maps; default: all. */
  readonly heads?: readonly number[] | undefined;
  /** (frames, vocab); default true. */
  readonly logits?: boolean | undefined;
}

export interface AudioTrace {
  /** Seconds from the beginning of the audio at which each frame begins to hear. */
  readonly times: Float64Array;
  /** (frames, vocab) */
  readonly logits?: TraceTensor;
  /** By layer: (heads, frames, frames). */
  readonly attentions: ReadonlyMap<number, TraceTensor>;
  /** By index: (frames, hidden). */
  readonly hiddenStates: ReadonlyMap<number, TraceTensor>;
}

/** Throws an OptionError unless the request is one. */
export function checkAudioTrace(request: AudioTraceRequest): void {
  checkObject('request', request, ['attentions', 'hiddenStates', 'heads', 'logits']);
  checkFlag('logits', request.logits);
}

/** Records what `request` names while one clip runs by itself; `seconds`: between frames. */
export async function traceClip(
  host: AudioHost,
  samples: Float32Array,
  request: AudioTraceRequest,
  seconds: number,
): Promise<AudioTrace> {
  const wanted = new Wanted(host.built.builder.graph, {
    attentions: ['attentions', request.attentions],
    hidden_states: ['hiddenStates', request.hiddenStates],
  });
  const heads = headsOf(wanted.maps, 'heads', request.heads);
  const logits = request.logits ?? true;
  const names = [...(logits ? ['logits'] : []), ...wanted.outputs];
  checkWanted(names.length);
  const { frames, outputs } = await host.alone(names, samples);
  return {
    times: Float64Array.from({ length: frames }, (_, i) => i * seconds),
    ...(logits ? { logits: rowsTensor(frames)(outputs.logits!) } : {}),
    hiddenStates: wanted.collect('hidden_states', outputs, rowsTensor(frames)),
    attentions: wanted.collect('attentions', outputs, mapsTensor(frames, frames, heads)),
  };
}
