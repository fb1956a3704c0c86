import type { BuiltSeq2Seq } from '../engine/build.js';
import type { SourceText } from '../engine/encode_texts.js';
import type { DecoderHost } from '../engine/host.js';
import { ContextOverflowError } from '../errors.js';
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

const names = [...traceNames, 'target', 'crossAttentions', 'encoderAttentions', 'encoderHiddenStates'];

/** Whether ids of what is read and what is written differ in meaning (Marian). */
export function twoVocabularies({ config }: BuiltSeq2Seq): boolean {
  return config.modelType === 'marian' && !config.bool('share_encoder_decoder_embeddings');
}

/** Room for a text, waiting for it if need be. */
export async function leaseText(host: DecoderHost, ids: Int32Array, signal?: AbortSignal): Promise<SourceText> {
  const reader = host.reader!;
  for (;;) {
    const text = reader.open({ ids });
    if (text !== undefined) return text;
    if (reader.blocks.used === 0)
      throw new ContextOverflowError('the text needs more KV blocks than there are', {
        expected: `at most ${reader.blocks.capacity}`,
        found: ids.length,
        hint: 'Raise kvMemory, or give a shorter text',
      });
    await host.engine.pool.wait(signal);
  }
}

/** Records what `request` names of an encoder-decoder that reads `source` and has written `target`. */
export async function traceTexts(
  host: DecoderHost,
  built: BuiltSeq2Seq,
  source: Int32Array,
  target: Int32Array,
  request: TraceRequest,
  tokenizer: Tokenizer | undefined,
): Promise<Trace> {
  checkTraceRequest(request, names);
  const { encoder, decoder } = built.builder;
  const read = new Wanted(encoder.graph, {
    attentions: ['encoderAttentions', request.encoderAttentions],
    hidden_states: ['encoderHiddenStates', request.encoderHiddenStates],
  });
  const written = new Wanted(decoder.graph, {
    attentions: ['attentions', request.attentions],
    hidden_states: ['hiddenStates', request.hiddenStates],
    cross_attentions: ['crossAttentions', request.crossAttentions],
  });
  const heads = headsOf([...read.maps, ...written.maps], 'heads', request.heads);
  const logits = request.logits ?? true;
  const outputs = [...(logits ? ['logits'] : []), ...written.outputs];
  checkWanted(outputs.length + read.outputs.length);
  const { steer, maskHeads } = request;
  const changes = resolveProbe({ steer, maskHeads }, host.built)?.changes;
  const text = await leaseText(host, source);
  try {
    const seen = await host.reader!.show(text, read.outputs);
    const made = outputs.length === 0 ? {} : await runWhole(host, target, { outputs, single: true, changes, text });
    const [n, m] = [target.length, source.length];
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
        hiddenStates: read.collect('hidden_states', seen, rowsTensor(m)),
        attentions: read.collect('attentions', seen, mapsTensor(m, m, heads)),
      },
    };
  } finally {
    host.reader!.close(text);
    host.engine.pool.notify();
  }
}
