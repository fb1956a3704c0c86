import { type BuiltDecoder, type BuiltSeq2Seq, buildText } from '../engine/build.js';
import type { SourceIds } from '../engine/encode_texts.js';
import { encoderPositions } from '../engine/encoder_host.js';
import { DecoderHost } from '../engine/host.js';
import type { SampledToken, Sink } from '../engine/sequence.js';
import { ContextOverflowError, InputError, OptionError, UnsupportedError } from '../errors.js';
import type { Beam } from '../generation/beam_search.js';
import { type ResolvedOptions, resolveOptions } from '../generation/options.js';
import { type GenerationDefaults, readGenerationConfig } from '../weights/generation_config.js';
import type { Checkpoint } from '../weights/types.js';
import { decoderStart } from './seq2seq_start.js';
import type { TraceInputs, TraceOptions } from './trace.js';
import { type BeamRequest, beamRequest, searchBeams } from './trace_beams.js';
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

class Collector implements Sink {
  readonly ids: number[] = [];
  readonly done: Promise<void>;
  #resolve!: () => void;
  #reject!: (error: unknown) => void;

  constructor() {
    this.done = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.done.catch(() => undefined);
  }

  token(_index: number, token: SampledToken): boolean {
    this.ids.push(token.id);
    return false;
  }

  finish(): void {
    this.#resolve();
  }

  fail(error: unknown): void {
    this.#reject(error);
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

async function beamRows(host: DecoderHost, requests: readonly BeamRequest[], pad: number): Promise<Sequences> {
  const best: Beam[] = [];
  for (const request of requests) best.push((await searchBeams(host, request))[0]!);
  const rows = best.map((beam) => beam.ids);
  return { ...padded(rows, pad), scores: Float32Array.from(best, (beam) => beam.score) };
}

async function generateRows(
  host: DecoderHost,
  prompts: readonly Int32Array[],
  optionsOf: (prompt: Int32Array) => ResolvedOptions,
  sources?: readonly SourceIds[],
): Promise<number[][]> {
  const rows = prompts.map((prompt, i) => {
    const sink = new Collector();
    host.engine.submit({ prompt, options: optionsOf(prompt), sink, source: sources?.[i] });
    return { prompt, sink };
  });
  await Promise.all(rows.map((r) => r.sink.done));
  return rows.map((r) => [...r.prompt, ...r.sink.ids]);
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
  const built = found.kind === 'seq2seq' ? found.decoder : found;
  const start = whole === undefined ? undefined : decoderStart(checkpoint, whole);
  const read = start?.defaults ?? readGenerationConfig(checkpoint, built.config, built.vocabSize);
  const defaults = greedyDefaults(read);
  const sources = whole === undefined ? undefined : readSources(inputs, whole);
  const prompts = sources === undefined ? readPrompts(inputs, built.vocabSize) : sources.map(() => start!.ids);
  const { signal, numBeams = 1 } = options;
  if (!Number.isInteger(numBeams) || numBeams < 1 || numBeams > 64)
    throw new OptionError('bad numBeams', { name: 'numBeams', expected: 'an integer from 1 to 64', found: numBeams });
  // The forced ids at both ends count as generated.
  const ends = (start?.forced ?? 0) + (start?.forcedEos === undefined ? 0 : 1);
  const maxNewTokens =
    ends === 0 || options.maxNewTokens < 1 ? options.maxNewTokens : Math.max(1, options.maxNewTokens - ends);
  const resolve = (prompt: Int32Array): ResolvedOptions =>
    resolveOptions({ greedy: true, maxTokens: maxNewTokens, n: 1, signal }, defaults, {
      vocab: built.vocabSize,
      eosIds: defaults.eosTokenIds,
      contextLeft: maxNewTokens,
      promptLength: prompt.length,
    });
  const most = numBeams > 1 ? () => options.maxNewTokens : (p: Int32Array) => resolve(p).maxTokens;
  const maxContext = Math.max(...prompts.map((p) => p.length + most(p)));
  const open = {
    device: options.device,
    threads: options.threads,
    compute: options.compute ?? 'f32',
    maxContext,
    signal,
  };
  const host = await DecoderHost.open(stretched(built, maxContext), open, whole);
  try {
    if (numBeams > 1) {
      const forced = { bos: start?.forced === 1 ? start.ids[1] : undefined, eos: start?.forcedEos };
      const limits = { beams: numBeams, maxNewTokens: options.maxNewTokens, signal };
      const requests = prompts.map((prompt, i) => {
        const ids = Array.from(start === undefined ? prompt : prompt.subarray(0, 1));
        return beamRequest(ids, sources?.[i], read, forced, limits);
      });
      // As transformers has it, a padding id of 0 counts as none.
      return await beamRows(host, requests, read.padTokenId || read.eosTokenIds[0] || 0);
    }
    const rows = await generateRows(host, prompts, resolve, sources);
    for (const row of start?.forcedEos === undefined ? [] : rows)
      if (row.length === start!.ids.length + maxNewTokens && !defaults.eosTokenIds.includes(row.at(-1)!))
        row.push(start!.forcedEos!);
    return padded(rows, defaults.padTokenId ?? defaults.eosTokenIds[0] ?? 0);
  } finally {
    await host.dispose();
  }
}
