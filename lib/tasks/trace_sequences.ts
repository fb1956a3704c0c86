import { type BuiltDecoder, type BuiltSeq2Seq, buildText } from '../engine/build.js';
import type { SourceIds } from '../engine/encode_texts.js';
import { encoderPositions } from '../engine/encoder_host.js';
import { DecoderHost } from '../engine/host.js';
import type { FinishReason, GenerationRequest, SampledToken } from '../engine/sequence.js';
import { ContextOverflowError, InputError, OptionError, UnsupportedError } from '../errors.js';
import { type ResolvedOptions, resolveOptions } from '../generation/options.js';
import { type GenerationDefaults, readGenerationConfig } from '../weights/generation_config.js';
import type { Checkpoint } from '../weights/types.js';
import { EndedSink } from './ended_sink.js';
import { decoderStart } from './seq2seq_start.js';
import type { TraceInputs, TraceOptions } from './trace.js';
import { readTraceRows } from './trace_inputs.js';
import { checkIds } from './whole.js';

export interface SequenceOptions extends TraceOptions {
  /** Most ids to add to each row, at least 1. */
  readonly maxNewTokens: number;
  /** Beams of a beam search; default 1: greedy. */
  readonly numBeams?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** (batch, length): each row's prompt without padding, then its new ids, then padding. */
export interface Sequences {
  readonly shape: readonly [number, number];
  readonly data: BigInt64Array;
  /** (batch): of the best beam of each row, with more beams than one. */
  readonly scores?: Float32Array;
}

/** The unmasked ids of each row. */
function readPrompts(inputs: TraceInputs, vocab: number): Int32Array[] {
  if (inputs.positionIds !== undefined) throw new UnsupportedError('position_ids cannot be given for a generation');
  const { shape, data } = inputs.inputIds;
  const mask = inputs.attentionMask;
  const [batch, length] = shape;
  if (shape.length !== 2 || batch === undefined || length === undefined || batch === 0) {
    throw new InputError('input_ids must be (batch, length)', { found: shape });
  }
  if (mask !== undefined && (mask.shape.length !== 2 || mask.shape[0] !== batch || mask.shape[1] !== length)) {
    throw new InputError('attention_mask must have the shape of input_ids', { expected: shape, found: mask.shape });
  }
  return Array.from({ length: batch }, (_, b) => {
    const columns = Array.from({ length }, (_, c) => b * length + c).filter((i) => (mask?.data[i] ?? 1) !== 0);
    const ids = columns.map((i) => data[i]!);
    if (ids.length === 0) throw new InputError(`row ${b} of the batch is wholly masked`);
    checkIds(ids, vocab, `input_ids[${b}]`);
    return Int32Array.from(ids);
  });
}

/** What the encoder reads of each row: unmasked ids at the places and positions of the padded row. */
function readSources(inputs: TraceInputs, whole: BuiltSeq2Seq): SourceIds[] {
  if (inputs.positionIds !== undefined) throw new UnsupportedError('position_ids cannot be given for a generation');
  const { encoder } = whole.builder;
  const given = { inputIds: inputs.inputIds, attentionMask: inputs.attentionMask };
  const { rows } = readTraceRows(given, { vocabSize: whole.sourceVocab, positions: encoder.learnedPositions });
  return rows.map(({ ids, kept, padded }) => {
    const positions = encoderPositions(encoder, padded.ids);
    return { ids: Int32Array.from(ids), places: kept, positions: kept.map((c) => positions[c]!) };
  });
}

/** Greedy search heeds these rules of the checkpoint, and none that shapes how ids are drawn. */
function greedyDefaults(defaults: GenerationDefaults): GenerationDefaults {
  const drawn = { doSample: false, temperature: undefined, topK: 0, topP: 1, minP: 0, typicalP: 1 };
  const unused = { epsilonCutoff: undefined, etaCutoff: undefined, numBeams: undefined, numReturnSequences: undefined };
  return { ...defaults, ...drawn, ...unused };
}

class Collector extends EndedSink {
  readonly ids: number[] = [];
  /** Of the best beam. */
  score: number | undefined;

  token(_index: number, token: SampledToken): boolean {
    this.ids.push(token.id);
    return false;
  }

  override finish(index: number, reason: FinishReason, score?: number): void {
    this.score = score;
    super.finish(index, reason);
  }
}

/** Rotary positions have no end, learned ones do: as in Hugging Face, the trained length alone is no limit. */
function stretched(built: BuiltDecoder, tokens: number): BuiltDecoder {
  const limit = built.builder.learnedPositions;
  if (limit !== undefined && tokens > limit) {
    throw new ContextOverflowError('prompt and new tokens do not fit the learned positions', {
      name: 'maxNewTokens',
      expected: `at most ${limit} tokens`,
      found: tokens,
    });
  }
  return { ...built, maxPositions: Math.max(built.maxPositions, tokens) };
}

/** Rows of one length, padded at their ends. */
function padded(rows: readonly (readonly number[])[], pad: number): Sequences {
  const length = Math.max(...rows.map((r) => r.length));
  const data = new BigInt64Array(rows.length * length).fill(BigInt(pad));
  for (const [b, row] of rows.entries()) data.set(row.map(BigInt), b * length);
  return { shape: [rows.length, length], data };
}

/** Each row alone would give the same: they run together. */
async function generateRows(
  host: DecoderHost,
  requests: readonly Omit<GenerationRequest, 'sink'>[],
): Promise<{ readonly ids: number[]; readonly score: number | undefined }[]> {
  const sinks = requests.map((request) => {
    const sink = new Collector();
    host.engine.submit({ ...request, sink });
    return sink;
  });
  await Promise.all(sinks.map((s) => s.done));
  return sinks.map((s, i) => ({ ids: [...requests[i]!.prompt, ...s.ids], score: s.score }));
}

function checkBeams(found: number): void {
  if (Number.isInteger(found) && found >= 1 && found <= 64) return;
  throw new OptionError('bad numBeams', { name: 'numBeams', expected: 'an integer from 1 to 64', found });
}

/**
 * `sequences` as Hugging Face's `generate` gives them for each row alone, greedy or with beams. Needs no tokenizer. Ids that end a row
 * are those of generation_config.json, else of the config; rows are padded with `pad_token_id`, else the first of those
 * ids, else 0. Drawing (`do_sample`, temperature, top-k, top-p, min-p …) is ignored, everything else is heeded.
 * Throws InputError, OptionError, ContextOverflowError, UnsupportedError, and what opening a model throws.
 */
export async function traceSequences(
  checkpoint: Checkpoint,
  inputs: TraceInputs,
  options: SequenceOptions,
): Promise<Sequences> {
  const found = buildText(checkpoint, options.architecture, options.quantize, options.kvType);
  const whole = found.kind === 'seq2seq' ? found : undefined;
  if (whole?.builder.encoder.spectrogram !== undefined)
    throw new UnsupportedError('a spectrogram is not continued here', {
      ...{ found: whole.architecture.classes[0], hint: "load() it with task: 'transcribe'" },
    });
  const built = found.kind === 'seq2seq' ? found.decoder : found;
  const start = whole === undefined ? undefined : decoderStart(checkpoint, whole);
  const read = start?.defaults ?? readGenerationConfig(checkpoint, built.config, built.vocabSize);
  const defaults = greedyDefaults(read);
  const sources = whole === undefined ? undefined : readSources(inputs, whole);
  const prompts = sources === undefined ? readPrompts(inputs, built.vocabSize) : sources.map(() => start!.ids);
  const { signal, numBeams = 1 } = options;
  checkBeams(numBeams);
  // The forced ids at both ends count as generated; beams take the last one in.
  const forcedEos = start?.forcedEos;
  const ends = (start?.forced ?? 0) + (forcedEos === undefined || numBeams > 1 ? 0 : 1);
  const maxNewTokens =
    ends === 0 || options.maxNewTokens < 1 ? options.maxNewTokens : Math.max(1, options.maxNewTokens - ends);
  const resolve = (prompt: Int32Array): ResolvedOptions =>
    resolveOptions({ greedy: true, maxTokens: maxNewTokens, n: 1, numBeams, signal }, defaults, {
      vocab: built.vocabSize,
      eosIds: defaults.eosTokenIds,
      contextLeft: maxNewTokens,
      promptLength: prompt.length,
    });
  const requests = prompts.map((prompt, i) => ({
    ...{ prompt, options: resolve(prompt), source: sources?.[i], forcedIds: start?.forced, forcedEos },
  }));
  const maxContext = Math.max(...requests.map((r) => r.prompt.length + r.options.maxTokens));
  const open = {
    device: options.device,
    threads: options.threads,
    compute: options.compute ?? 'f32',
    maxContext,
    signal,
  };
  const host = await DecoderHost.open(stretched(built, maxContext), open, whole);
  try {
    const rows = await generateRows(host, requests);
    if (numBeams > 1) {
      // As transformers has it, a padding id of 0 counts as none.
      const pad = read.padTokenId || read.eosTokenIds[0] || 0;
      const ids = rows.map((r) => r.ids);
      return { ...padded(ids, pad), scores: Float32Array.from(rows, (r) => r.score!) };
    }
    for (const { ids } of forcedEos === undefined ? [] : rows)
      if (ids.length === start!.ids.length + maxNewTokens && !defaults.eosTokenIds.includes(ids.at(-1)!))
        ids.push(forcedEos!);
    return padded(
      rows.map((r) => r.ids),
      defaults.padTokenId ?? defaults.eosTokenIds[0] ?? 0,
    );
  } finally {
    await host.dispose();
  }
}
