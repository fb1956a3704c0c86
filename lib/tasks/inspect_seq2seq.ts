import { freemem } from 'node:os';
import type { BuiltSeq2Seq } from '../engine/build.js';
import type { SourceIds, SourceText } from '../engine/encode_texts.js';
import type { DecoderHost } from '../engine/host.js';
import { ContextOverflowError } from '../errors.js';
import type { Graph } from '../graph/graph.js';
import { checkFree } from '../runtime/step_memory.js';
import type { Tokenizer } from '../text/tokenizer.js';
import {
  checkTraceRequest,
  checkWanted,
  mapsTensor,
  rowsTensor,
  type Trace,
  type TraceRequest,
  tokensOf,
  traceNames,
  Wanted,
} from './inspect_layers.js';
import { headsOf, resolveProbe } from './probe_options.js';
import { runWhole } from './whole.js';

export const seq2seqTraceNames = [
  ...traceNames,
  ...(['target', 'crossAttentions', 'encoderAttentions', 'encoderHiddenStates'] as const),
];

/** Whether ids of what is read and what is written differ in meaning (Marian). */
export function twoVocabularies({ config }: BuiltSeq2Seq): boolean {
  return config.modelType === 'marian' && !config.bool('share_encoder_decoder_embeddings');
}

/** Room for a text or a spectrogram, waiting for it if need be. */
export async function leaseText(
  host: DecoderHost,
  read: Int32Array | SourceIds,
  signal?: AbortSignal,
): Promise<SourceText> {
  const reader = host.reader!;
  const source = 'ids' in read ? read : { ids: read };
  for (;;) {
    const text = reader.open(source);
    if (text !== undefined) return text;
    if (reader.blocks.used === 0)
      throw new ContextOverflowError('the text needs more KV blocks than there are', {
        expected: `at most ${reader.blocks.capacity}`,
        found: source.ids.length,
        hint: 'Raise kvMemory, or give a shorter text',
      });
    await host.engine.pool.wait(signal);
  }
}

/** Bytes of what a program gives for so many rows. */
function bytesOf(graph: Graph, outputs: readonly string[], rows: number, sourceRows: number): number {
  const size = (name: string): number => (name === 'source_keys' ? sourceRows : rows);
  const floats = (name: string): number =>
    graph.outputs.get(name)!.dims.reduce((n, d) => n * (d.size ?? size(d.name)), 1);
  return outputs.reduce((sum, name) => sum + 4 * floats(name), 0);
}

/** Records what `request` names of an encoder-decoder that reads `read` and has written `target`. */
export async function traceTexts(
  host: DecoderHost,
  built: BuiltSeq2Seq,
  read: Int32Array | SourceIds,
  target: Int32Array,
  request: TraceRequest,
  tokenizer: Tokenizer | undefined,
): Promise<Trace> {
  checkTraceRequest(request, seq2seqTraceNames);
  const { encoder, decoder } = built.builder;
  const source = 'ids' in read ? read.ids : read;
  const heard = new Wanted(encoder.graph, {
    attentions: ['encoderAttentions', request.encoderAttentions],
    hidden_states: ['encoderHiddenStates', request.encoderHiddenStates],
  });
  const written = new Wanted(decoder.graph, {
    attentions: ['attentions', request.attentions],
    hidden_states: ['hiddenStates', request.hiddenStates],
    cross_attentions: ['crossAttentions', request.crossAttentions],
  });
  const heads = headsOf([...heard.maps, ...written.maps], 'heads', request.heads);
  const logits = request.logits ?? true;
  const outputs = [...(logits ? ['logits'] : []), ...written.outputs];
  checkWanted(outputs.length + heard.outputs.length);
  const { steer, maskHeads } = request;
  const changes = resolveProbe({ steer, maskHeads }, host.built)?.changes;
  const [n, m] = [target.length, source.length];
  const needed = bytesOf(decoder.graph, outputs, n, m) + bytesOf(encoder.graph, heard.outputs, m, m);
  const hint = 'Ask for fewer layers at a time';
  checkFree(needed, freemem(), 'the trace is larger than memory', { name: 'request', hint });
  const text = await leaseText(host, read);
  try {
    const seen = await host.reader!.show(text, heard.outputs);
    const made = outputs.length === 0 ? {} : await runWhole(host, target, { outputs, single: true, changes, text });
    return {
      ids: target,
      tokens: tokensOf(tokenizer, target),
      ...(logits ? { logits: rowsTensor(n)(made.logits!) } : {}),
      hiddenStates: written.collect('hidden_states', made, rowsTensor(n)),
      attentions: written.collect('attentions', made, mapsTensor(n, n, heads)),
      crossAttentions: written.collect('cross_attentions', made, mapsTensor(n, m, heads)),
      source: {
        ids: source,
        tokens: twoVocabularies(built) ? undefined : tokensOf(tokenizer, source),
        hiddenStates: heard.collect('hidden_states', seen, rowsTensor(m)),
        attentions: heard.collect('attentions', seen, mapsTensor(m, m, heads)),
      },
    };
  } finally {
    host.reader!.close(text);
    host.engine.pool.notify();
  }
}
