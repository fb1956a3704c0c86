/** Options that several commands share: how a model is opened, and how ids are drawn. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { GenerateOptions } from '../generation/options.js';
import { type KvType, kvTypes } from '../ops/kv_write.js';
import { computes } from '../ops/linear.js';
import type { LoadOptions } from '../tasks/load.js';
import type { TextModel } from '../tasks/text_model.js';
import { type QuantizeType, quantizeTypes } from '../weights/quantize_rules.js';
import { bigintOf, type Context, collect, given, integerOf, numberOf, numbersOf } from './command.js';
import { Progress } from './output.js';

export interface HubValues {
  readonly revision?: string;
  readonly offline?: boolean;
  readonly cacheDir?: string;
}

export interface DeviceValues {
  readonly device?: string;
  readonly threads?: number;
  readonly compute?: string;
  readonly quantize?: QuantizeType;
  readonly kvType?: KvType;
}

export interface LoadValues extends HubValues, DeviceValues {
  readonly maxContext?: number;
  readonly kvMemory?: string;
}

const modelHelp = 'a folder, a .gguf file, or a hub id (owner/name)';
export const modelArgument: readonly [string, string] = ['<model>', modelHelp];

export function addHubOptions(command: Command): Command {
  return command
    .option('--revision <name>', 'branch, tag or commit of a hub id')
    .option('--offline', 'use what is cached, never the network')
    .option('--cache-dir <folder>', 'cache folder of the hub');
}

export function hubOptions(values: HubValues): HubValues {
  return given({ revision: values.revision, offline: values.offline, cacheDir: values.cacheDir });
}

/** `--compute`: how linears multiply. */
export function computeOption(): Option {
  return new Option('--compute <type>', 'how linears multiply').choices(computes);
}

/** `--quantize`: what the matrices of an unquantised checkpoint are packed in. */
export function quantizeOption(): Option {
  return new Option('--quantize <type>', 'pack the matrices of an unquantised model in this type').choices(
    quantizeTypes,
  );
}

/** `--kv-type`: what the cache holds keys and values in. */
export function kvTypeOption(): Option {
  return new Option('--kv-type <type>', 'what the KV cache holds; default: f32').choices(Object.keys(kvTypes));
}

export function addDeviceOptions(command: Command): Command {
  return command
    .option('--device <name>', 'cpu, cpu:generic, cpu:avx2, cpu:avx512, cuda:0; see: verdant doctor')
    .option('--threads <n>', 'threads of one step', integerOf)
    .addOption(computeOption())
    .addOption(quantizeOption())
    .addOption(kvTypeOption());
}

export function addLoadOptions(command: Command): Command {
  return addHubOptions(addDeviceOptions(command))
    .option('--max-context <tokens>', 'longest sequence', integerOf)
    .option('--kv-memory <bytes>', 'memory for the KV cache, such as 1GiB');
}

/** Opens a text model with its progress on stderr; without a path the built-in one. */
export async function loadModel(path: string | undefined, values: LoadValues, context: Context): Promise<TextModel> {
  const { load } = await import('../tasks/load.js');
  return openModel(values, context, (options) => load(path, options));
}

/** Opens a model of any task with its progress on stderr. */
export async function openModel<T extends { dispose(): Promise<void> }>(
  values: LoadValues,
  context: Context,
  open: (options: LoadOptions) => Promise<T>,
): Promise<T> {
  const reading = new Progress('loading');
  const pulling = new Progress('downloading');
  const options: LoadOptions = {
    ...given({ device: values.device, threads: values.threads, compute: values.compute, quantize: values.quantize }),
    ...given({ maxContext: values.maxContext, kvMemory: values.kvMemory, kvType: values.kvType }),
    hub: { ...hubOptions(values), onProgress: ({ done, total }) => pulling.update(done, total) },
    onProgress: ({ done, total }) => {
      pulling.stop();
      reading.update(done, total);
    },
    signal: context.signal,
  };
  try {
    const model = await open(options);
    if (context.signal.aborted) await model.dispose();
    context.signal.throwIfAborted();
    return model;
  } finally {
    pulling.stop();
    reading.stop();
  }
}

export interface SamplingValues {
  readonly maxTokens?: number;
  readonly minTokens?: number;
  readonly temperature?: number;
  readonly greedy?: boolean;
  readonly seed?: bigint;
  readonly topK?: number;
  readonly topP?: number;
  readonly minP?: number;
  readonly typicalP?: number;
  readonly repetitionPenalty?: number;
  readonly presencePenalty?: number;
  readonly frequencyPenalty?: number;
  readonly penaltyWindow?: number;
  readonly noRepeatNgram?: number;
  readonly dry?: number[];
  readonly xtc?: number[];
  readonly mirostat?: number[];
  readonly logitBias?: [number, number][];
  readonly badWord?: string[];
  readonly stop?: string[];
  readonly stopToken?: number[];
  readonly ignoreEos?: boolean;
}

function biasOf(text: string): [number, number] {
  const match = /^(\d+)=(.+)$/.exec(text);
  if (match === null) throw new InvalidArgumentError('Write id=number.');
  return [integerOf(match[1]!), numberOf(match[2]!)];
}

const text = (value: string): string => value;

/** Flags, help, parser; what is absent comes from the checkpoint's generation_config.json. */
export function addSamplingOptions(command: Command): Command {
  const add = (flags: string, help: string, parse: (text: string, before: never) => unknown): Option =>
    new Option(flags, help).argParser(parse as never);
  const options = [
    add('--max-tokens <n>', 'most tokens to write', integerOf),
    add('--min-tokens <n>', 'no end before this many tokens', integerOf),
    add('--temperature <t>', '0 takes the most likely token', numberOf),
    new Option('--greedy', 'the most likely token each time'),
    add('--seed <s>', 'same seed, same text', bigintOf),
    add('--top-k <k>', 'keep the k most likely', integerOf),
    add('--top-p <p>', 'keep the smallest set of this probability', numberOf),
    add('--min-p <p>', 'keep tokens at least this likely relative to the best', numberOf),
    add('--typical-p <p>', 'keep tokens of typical surprise up to this probability', numberOf),
    add('--repetition-penalty <x>', 'above 1: fewer repeats', numberOf),
    add('--presence-penalty <x>', 'once per token that was written', numberOf),
    add('--frequency-penalty <x>', 'for each time that a token was written', numberOf),
    add('--penalty-window <n>', 'how many tokens the three penalties look at', integerOf),
    add('--no-repeat-ngram <n>', 'no sequence of n tokens twice', integerOf),
    add('--dry <multiplier[,base[,length[,range]]]>', 'lower tokens that prolong a repeat', numbersOf(4)),
    add('--xtc <probability[,threshold]>', 'at times drop all likely tokens but the last', numbersOf(2)),
    add('--mirostat <tau[,eta]>', 'keep the surprise near tau bits', numbersOf(2)),
    add('--logit-bias <id=x>', 'added to a logit; may be repeated', collect(biasOf)),
    add('--bad-word <text>', 'never written; may be repeated', collect(text)),
    add('--stop <text>', 'ends the output; may be repeated', collect(text)),
    add('--stop-token <id>', 'ends the output; may be repeated', collect(integerOf)),
    new Option('--ignore-eos', "the model's own end does not end the output"),
  ];
  for (const option of options) command.addOption(option);
  return command;
}

/** Values whose names and forms are those of the library. */
const alike = [
  ...(['maxTokens', 'minTokens', 'temperature', 'greedy', 'seed', 'topK', 'topP', 'minP', 'typicalP'] as const),
  ...(['repetitionPenalty', 'presencePenalty', 'frequencyPenalty', 'penaltyWindow', 'noRepeatNgram'] as const),
  ...(['stop', 'ignoreEos'] as const),
];

export function samplingOptions(values: SamplingValues): GenerateOptions {
  const { badWord, stopToken, logitBias, dry, xtc, mirostat } = values;
  return {
    ...given(
      Object.fromEntries(alike.map((name) => [name, values[name]])) as Pick<SamplingValues, (typeof alike)[number]>,
    ),
    ...given({ badWords: badWord, stopTokens: stopToken }),
    ...(logitBias === undefined ? {} : { logitBias: new Map(logitBias) }),
    ...(dry === undefined ? {} : { dry: { multiplier: dry[0]!, base: dry[1], allowedLength: dry[2], range: dry[3] } }),
    ...(xtc === undefined ? {} : { xtc: { probability: xtc[0]!, threshold: xtc[1] } }),
    ...(mirostat === undefined ? {} : { mirostat: { tau: mirostat[0], eta: mirostat[1] } }),
  };
}
