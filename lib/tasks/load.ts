import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { buildText } from '../engine/build.js';
import { DecoderHost, type HostOptions } from '../engine/host.js';
import { AbortError, OptionError, UnsupportedError } from '../errors.js';
import { isRecord } from '../generation/option_rules.js';
import { type PullOptions, resolveModel } from '../hub/index.js';
import type { Architecture } from '../models/architecture.js';
import { isKvType, type KvType, kvTypes } from '../ops/kv_write.js';
import { loadTokenizer, type Tokenizer } from '../text/tokenizer.js';
import { openCheckpoint } from '../weights/checkpoint.js';
import { isQuantizeType, type QuantizeType, quantizeTypes } from '../weights/quantize_rules.js';
import type { Checkpoint } from '../weights/types.js';
import { type EncoderTaskModels, encoderTasks, loadEncoder } from './load_encoder.js';
import { loadSpeech } from './load_speech.js';
import { Seq2SeqModel } from './seq2seq_model.js';
import type { SpeechModel } from './speech.js';
import { TextModel } from './text_model.js';

/** The model that each task gives. */
export interface TaskModels extends EncoderTaskModels {
  readonly generate: TextModel;
  /** Speech to text. */
  readonly transcribe: SpeechModel;
  /** Encoder-decoders: texts into another language. */
  readonly translate: Seq2SeqModel;
  /** Encoder-decoders: shorter texts. */
  readonly summarize: Seq2SeqModel;
}

export type Task = keyof TaskModels;

export interface LoadOptions extends HostOptions {
  /** What the model is for: 'generate' (default) continues text. `TaskOptions` has the tasks of encoders and of speech. */
  readonly task?: 'generate' | undefined;
  /** A model function of your own, instead of the one that the config names. */
  readonly architecture?: Architecture | undefined;
  /**
   * Packs every matrix (embeddings and linears; not norms, biases and learned positions) of an unquantised checkpoint in
   * this type: 'f32', 'f16', 'bf16', 'q8_0', 'q4_0', 'q4_1', 'q5_0', 'q5_1', 'q2_k', 'q3_k', 'q4_k', 'q5_k', 'q6_k',
   * 'iq4_nl', 'iq4_xs', or the mixtures 'q4_k_m', 'q5_k_m'. Rules as in llama-quantize: below q8_0 the head is q6_k; K-quants
   * in rows that are no multiple of 256 become iq4_nl, q5_0, q5_1 or q8_0. `verdant inspect` shows the result.
   */
  readonly quantize?: QuantizeType | undefined;
  /**
   * What the cache holds keys and values in: 'f32' (default), 'bf16', or 'q8' (int8 with an f32 scale for each value, and
   * for each 32 columns of a key). Half, or about a quarter, of the memory per token and of the bytes that attention reads;
   * rounding changes attention by an NMSE of about 5e-6, or 5e-5. Results stay the same however a prompt is divided.
   */
  readonly kvType?: KvType | undefined;
  /** For hub ids: revision, offline, cacheDir, endpoint, token … */
  readonly hub?: Omit<PullOptions, 'signal'> | undefined;
}

/** Options for another task than 'generate': 'translate', 'summarize', 'embed', 'rerank', 'classify', 'tokens', 'answer', 'fillMask', 'transcribe'. */
export type TaskOptions<T extends Task> = Omit<LoadOptions, 'task'> & { readonly task: T };

const known = [
  'task',
  'architecture',
  'quantize',
  'kvType',
  'hub',
  'device',
  'threads',
  'priority',
  'compute',
  'prefillChunk',
  'maxSequences',
  'decodeSteps',
  'onProgress',
  'signal',
  'maxContext',
  'kvMemory',
];

/** The models that come with Verdant: each in models/verdant-NAME, with a card. */
export const builtInModels = ['tiny', 'numbers', 'senses', 'tones'] as const;
export type BuiltInModel = (typeof builtInModels)[number];

/**
 * Folder of a model that comes with Verdant: 'tiny' (default) tells stories and chats, 'numbers' writes numbers as words and
 * back (T5), 'senses' tells what "mole" means (BERT), 'tones' hears letters in tones (Wav2Vec2). Throws an OptionError for
 * other names.
 */
export function builtInModel(name: BuiltInModel = 'tiny'): string {
  if (!builtInModels.includes(name))
    throw new OptionError('no such built-in model', { name: 'name', expected: builtInModels.join(', '), found: name });
  return fileURLToPath(new URL(`../../models/verdant-${name}`, import.meta.url));
}

/** Names, kinds and ranges of the options. Throws OptionError. */
export function checkOptions(options: LoadOptions | TaskOptions<Task>): void {
  if (!isRecord(options)) {
    throw new OptionError('load: options', { name: 'options', expected: 'an object', found: options });
  }
  for (const name of Object.keys(options)) {
    if (!known.includes(name)) throw new OptionError(`unknown option ${name}`, { name, expected: known.join(', ') });
  }
  const { signal, onProgress, device, architecture, hub } = options;
  const must = (name: keyof LoadOptions, good: boolean, expected: string): void => {
    if (options[name] !== undefined && !good)
      throw new OptionError(`bad ${name}`, { name, expected, found: options[name] });
  };
  must('signal', signal instanceof AbortSignal, 'an AbortSignal');
  must('onProgress', typeof onProgress === 'function', 'a function');
  must('quantize', isQuantizeType(options.quantize), quantizeTypes.join(', '));
  must('kvType', isKvType(options.kvType), Object.keys(kvTypes).join(', '));
  must('device', typeof device === 'string', 'the name of a device, as devices() lists them');
  must('hub', typeof hub === 'object' && hub !== null && !Array.isArray(hub), 'an object of options for pull()');
  must('kvMemory', ['number', 'string'].includes(typeof options.kvMemory), "bytes, or a text such as '1GiB'");
  const { classes, modelType, build } = architecture ?? {};
  const named = Array.isArray(classes) && classes.every((c) => typeof c === 'string') && typeof modelType === 'string';
  must(
    'architecture',
    named && typeof build === 'function',
    '{ classes: string[], modelType: string, build: function }',
  );
  const tasks: readonly Task[] = ['generate', 'transcribe', ...textTasks, ...encoderTasks];
  must('task', tasks.includes(options.task as Task), tasks.join(', '));
  const whole = (
    name: 'threads' | 'priority' | 'prefillChunk' | 'maxSequences' | 'decodeSteps',
    least: number,
    most: number,
  ): void => {
    const value = options[name];
    if (value !== undefined && (!Number.isInteger(value) || value < least || value > most)) {
      throw new OptionError(`bad ${name}`, { name, expected: `an integer from ${least} to ${most}`, found: value });
    }
  };
  whole('threads', 1, 256);
  whole('priority', -100, 100);
  whole('prefillChunk', 1, 65536);
  whole('maxSequences', 1, 4096);
  whole('decodeSteps', 1, 256);
}

/** Whether a folder holds the files of a tokenizer. */
export function hasTokenizer(folder: string | undefined): folder is string {
  const files = [
    'tokenizer.json',
    'vocab.json',
    'vocab.txt',
    'tokenizer.model',
    'spiece.model',
    'sentencepiece.bpe.model',
  ];
  return folder !== undefined && files.some((f) => existsSync(join(folder, f)));
}

/** The tokenizer of a checkpoint, or undefined where it comes without one. */
async function tokenizerOf(checkpoint: Checkpoint): Promise<Tokenizer | undefined> {
  if (checkpoint.gguf !== undefined) {
    const kind = checkpoint.gguf.string('tokenizer.ggml.model');
    return kind === undefined || kind === 'none' || kind === 'no_vocab'
      ? undefined
      : loadTokenizer({ gguf: checkpoint.gguf.metadata });
  }
  const folder = checkpoint.folder;
  return hasTokenizer(folder) ? loadTokenizer({ folder }) : undefined;
}

/**
 * Loads a model: a folder with safetensors, a .gguf file, or a hub id (`owner/name`); without a path the built-in one.
 * Reads, checks and packs off the event loop. Throws ModelNotFoundError, CorruptFileError, ConfigError, UnsupportedError,
 * TensorMissingError, TensorShapeError, TensorUnusedError, OptionError, OutOfMemoryError, AbortError.
 */
export function load(path?: string, options?: LoadOptions): Promise<TextModel>;
export function load<T extends Task>(path: string, options: TaskOptions<T>): Promise<TaskModels[T]>;
export async function load(path?: string, options: LoadOptions | TaskOptions<Task> = {}): Promise<TaskModels[Task]> {
  checkOptions(options);
  if (options.signal?.aborted === true) throw new AbortError(undefined, { cause: options.signal.reason });
  const hub = { ...options.hub, ...(options.signal === undefined ? {} : { signal: options.signal }) };
  const found = path === undefined ? builtInModel() : await resolveModel(path, hub);
  const checkpoint = await openCheckpoint(found);
  // Each of these takes some ms: the event loop gets its turn between them.
  await nextTurn();
  if (options.task === 'transcribe') return loadSpeech(checkpoint, options);
  const tokenizer = tokenizerOf(checkpoint);
  tokenizer.catch(() => undefined); // it may fail before anyone waits for it
  await nextTurn();
  const task = options.task ?? 'generate';
  try {
    if (task !== 'generate' && !isTextTask(task)) return await loadEncoder(task, checkpoint, tokenizer, options);
    return await loadText(task, checkpoint, tokenizer, options);
  } catch (error) {
    // Where loading fails, the tokenizer is closed as soon as it is there.
    void tokenizer.then(
      (t) => t?.close(),
      () => undefined,
    );
    throw error;
  }
}

/** Tasks of encoder-decoders. */
const textTasks = ['translate', 'summarize'] as const;
const isTextTask = (task: Task): task is (typeof textTasks)[number] => (textTasks as readonly Task[]).includes(task);

async function loadText(
  task: 'generate' | (typeof textTasks)[number],
  checkpoint: Checkpoint,
  tokenizer: Promise<Tokenizer | undefined>,
  options: Omit<LoadOptions, 'task'>,
): Promise<TextModel> {
  const built = buildText(checkpoint, options.architecture, options.quantize, options.kvType);
  if (task !== 'generate' && built.kind !== 'seq2seq')
    throw new UnsupportedError(`task ${task} needs an encoder-decoder`, {
      file: checkpoint.path,
      found: built.architecture.classes[0],
      hint: 'Leave task out, and say in the prompt what is wanted',
    });
  await nextTurn();
  const whole = built.kind === 'seq2seq' ? built : undefined;
  if (whole?.builder.encoder.spectrogram !== undefined)
    throw new UnsupportedError('this model hears speech', {
      ...{ file: checkpoint.path, expected: "task: 'transcribe'", found: whole.architecture.classes[0] },
    });
  const host = await DecoderHost.open(built.kind === 'seq2seq' ? built.decoder : built, options, whole);
  try {
    const words = await tokenizer;
    return whole === undefined
      ? new TextModel(host, checkpoint, words)
      : new Seq2SeqModel(host, checkpoint, words, whole);
  } catch (error) {
    await host.dispose();
    throw error;
  }
}
