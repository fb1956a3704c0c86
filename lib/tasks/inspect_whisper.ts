import type { BuiltSeq2Seq } from '../engine/build.js';
import type { SourceIds } from '../engine/encode_texts.js';
import type { DecoderHost } from '../engine/host.js';
import { ContextOverflowError, InputError } from '../errors.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { checkObject } from './arguments.js';
import { checkTraceRequest, type Trace, type TracedText, type TraceRequest } from './inspect_layers.js';
import { seq2seqTraceNames, traceTexts } from './inspect_seq2seq.js';
import type { WhisperOptions } from './speech.js';
import type { TraceInput } from './trace_inputs.js';
import { spectrogramRows } from './trace_spectrogram.js';
import type { WhisperConfig } from './whisper_config.js';
import { type WhisperPlan, whisperPlan } from './whisper_options.js';
import { checkIds } from './whole.js';

/**
 * What to record of Whisper while it hears one window. `language`, `task`, `timestamps` as for `transcribe()`: they make the ids
 * that the decoder begins with; `target`: text or ids that follow them.
 */
export interface WhisperTraceRequest extends TraceRequest, Pick<WhisperOptions, 'language' | 'task' | 'timestamps'> {}

/** A spectrogram of one's own: (bands, frames) of one whole window, as Hugging Face's `input_features`. */
export interface SpectrogramInput {
  readonly inputFeatures: TraceInput;
}

/** As of other encoder-decoders; its source is sound. */
export interface WhisperTrace extends Omit<Trace, 'source'> {
  readonly source: Pick<TracedText, 'attentions' | 'hiddenStates'> & {
    /** Seconds from the beginning of the window at which each row of the encoder begins. */
    readonly times: Float64Array;
  };
}

/** What of a model its window is traced with. */
export interface WhisperParts {
  readonly host: DecoderHost;
  readonly built: BuiltSeq2Seq;
  readonly config: WhisperConfig;
  readonly tokenizer: Tokenizer;
  /** Seconds between frames of a spectrogram. */
  readonly seconds: number;
}

const own = ['language', 'task', 'timestamps'] as const;

/** Throws an OptionError unless the request is one; gives what the ids of the beginning follow from. */
export function checkWhisperTrace(request: WhisperTraceRequest, config: WhisperConfig): WhisperPlan {
  checkTraceRequest(request, [...seq2seqTraceNames, ...own]);
  const { language, task, timestamps } = request;
  return whisperPlan({ language, task, timestamps }, config);
}

/** A caller's own spectrogram as the encoder reads it. Throws InputError unless it is one whole window. */
export function ownSpectrogram(built: BuiltSeq2Seq, input: SpectrogramInput): SourceIds {
  checkObject('input', input, ['inputFeatures']);
  const { shape = [], data = [] } = input.inputFeatures ?? {};
  const { bands, stride } = built.builder.encoder.spectrogram!;
  if (shape.length !== 2)
    throw new InputError('inputFeatures must be (bands, frames)', {
      ...{ name: 'inputFeatures', expected: [bands, built.maxSource * stride], found: shape },
    });
  return spectrogramRows(built, { inputFeatures: { shape: [1, ...shape], data } })[0]!;
}

/** The likeliest language, as `transcribe()` finds it. */
async function languageHeard({ host, built, config }: WhisperParts, source: SourceIds): Promise<number> {
  const { logits } = await traceTexts(host, built, source, Int32Array.of(config.start), {}, undefined);
  const ids = [...config.languages.values()];
  return ids.reduce((best, id) => (logits!.data[id]! > logits!.data[best]! ? id : best));
}

/** Start ids, then those that are given. */
async function writtenIds(
  { host, config, tokenizer }: WhisperParts,
  beginning: readonly number[],
  target: TraceRequest['target'],
): Promise<Int32Array> {
  const given = typeof target === 'string' ? await tokenizer.encode(target, { addSpecial: false }) : (target ?? []);
  if (target !== undefined && target !== '') checkIds(given, config.vocab, 'target');
  const ids = Int32Array.from([...beginning, ...given]);
  const most = host.plan.maxContext;
  if (ids.length <= most) return ids;
  throw new ContextOverflowError('target is longer than the model writes', {
    ...{ name: 'target', expected: `at most ${most} tokens`, found: ids.length },
  });
}

/** Records what `request` names while one window is heard; `forced`: the ids after the first, undefined for the language heard. */
export async function traceWindow(
  parts: WhisperParts,
  source: SourceIds,
  forced: readonly (number | undefined)[],
  request: WhisperTraceRequest,
): Promise<WhisperTrace> {
  const { host, built, config, tokenizer, seconds } = parts;
  const { language: _, task: __, timestamps: ___, target, ...rest } = request;
  const beginning = [config.start];
  for (const id of forced) beginning.push(id ?? (await languageHeard(parts, source)));
  const ids = await writtenIds(parts, beginning, target);
  const { source: heard, ...trace } = await traceTexts(host, built, source, ids, rest, tokenizer);
  const { attentions, hiddenStates } = heard!;
  const { stride } = built.builder.encoder.spectrogram!;
  const times = Float64Array.from({ length: built.maxSource }, (_, i) => i * stride * seconds);
  return { ...trace, source: { times, attentions, hiddenStates } };
}
