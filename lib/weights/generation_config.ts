/** generation_config.json as a typed, checked object. Field meanings: transformers' `GenerationConfig`. */
import { ConfigError, UnsupportedError } from '../errors.js';
import { ConfigReader, type NumberRules } from './config.js';
import type { Checkpoint, RawConfig, RawValue } from './types.js';

/** Defaults that a checkpoint sets for generation; undefined where it does not set them. */
export interface GenerationDefaults {
  /** Any of these ends a sequence; empty where the checkpoint names none. */
  readonly eosTokenIds: readonly number[];
  readonly bosTokenId: number | undefined;
  readonly padTokenId: number | undefined;
  readonly decoderStartTokenId: number | undefined;
  readonly doSample: boolean | undefined;
  readonly temperature: number | undefined;
  /** 0 means off. */
  readonly topK: number | undefined;
  readonly topP: number | undefined;
  readonly minP: number | undefined;
  readonly typicalP: number | undefined;
  readonly epsilonCutoff: number | undefined;
  readonly etaCutoff: number | undefined;
  readonly repetitionPenalty: number | undefined;
  /** 0 means off. */
  readonly noRepeatNgramSize: number | undefined;
  readonly badWordsIds: readonly (readonly number[])[] | undefined;
  readonly maxNewTokens: number | undefined;
  /** Prompt included. */
  readonly maxLength: number | undefined;
  readonly minNewTokens: number | undefined;
  readonly minLength: number | undefined;
  readonly suppressTokens: readonly number[] | undefined;
  readonly beginSuppressTokens: readonly number[] | undefined;
  readonly forcedBosTokenId: number | undefined;
  readonly forcedEosTokenIds: readonly number[] | undefined;
  readonly numBeams: number | undefined;
  readonly numReturnSequences: number | undefined;
  readonly lengthPenalty: number | undefined;
  readonly earlyStopping: boolean | 'never' | undefined;
  /** All other fields that are set, by their names in the file: whoever generates must act on them or refuse them. */
  readonly other: RawConfig;
}

const kIgnored = ['_from_model_config', 'transformers_version', 'use_cache', 'trust_remote_code', 'auto_map'];
const kNames = [
  ...['eos_token_id', 'bos_token_id', 'pad_token_id', 'decoder_start_token_id', 'do_sample', 'temperature', 'top_k'],
  ...['top_p', 'min_p', 'typical_p', 'epsilon_cutoff', 'eta_cutoff', 'repetition_penalty', 'no_repeat_ngram_size'],
  ...['bad_words_ids', 'max_new_tokens', 'max_length', 'min_new_tokens', 'min_length', 'suppress_tokens'],
  ...['begin_suppress_tokens', 'forced_bos_token_id', 'forced_eos_token_id', 'num_beams', 'num_return_sequences'],
  ...['length_penalty', 'early_stopping'],
];
const kLength: NumberRules = { min: 0, max: 2 ** 30 };
const kProbability: NumberRules = { min: 0, max: 1 };

/** A list of token ids, each inside the vocabulary; -1 alone (Whisper) means none. */
function ids(config: ConfigReader, field: string, vocab: number): readonly number[] | undefined {
  const value = config.raw(field);
  if (value === undefined || value === null) return undefined;
  const list: readonly RawValue[] = Array.isArray(value) ? value : [value as RawValue];
  if (list.length === 1 && list[0] === -1) return undefined;
  const good = list.filter(
    (id): id is number => typeof id === 'number' && Number.isInteger(id) && id >= 0 && id < vocab,
  );
  if (good.length !== list.length) config.problem(field, `ids from 0 to ${vocab - 1}`, value);
  return good;
}

function one(config: ConfigReader, field: string, vocab: number): number | undefined {
  const list = ids(config, field, vocab);
  if (list !== undefined && list.length !== 1) config.problem(field, 'one id', list);
  return list?.[0];
}

function badWords(config: ConfigReader, vocab: number): readonly (readonly number[])[] | undefined {
  const value = config.raw('bad_words_ids');
  if (value === undefined || value === null) return undefined;
  const isId = (id: RawValue): boolean => typeof id === 'number' && Number.isInteger(id) && id >= 0 && id < vocab;
  if (Array.isArray(value) && value.every((word) => Array.isArray(word) && word.length > 0 && word.every(isId))) {
    return value as readonly (readonly number[])[];
  }
  config.problem('bad_words_ids', `lists of ids from 0 to ${vocab - 1}`, value);
  return undefined;
}

function earlyStopping(config: ConfigReader): boolean | 'never' | undefined {
  const value = config.raw('early_stopping');
  if (value === undefined || value === null) return undefined;
  return value === 'never' ? value : config.bool('early_stopping');
}

/**
 * Reads the generation defaults of a checkpoint, ids checked against `vocabSize` (rows of the logits). A special token
 * that generation_config.json does not mention is taken from config.json, class defaults included.
 * Throws one `ConfigError` that lists every bad field.
 */
export function readGenerationConfig(
  checkpoint: Checkpoint,
  config: ConfigReader,
  vocabSize?: number,
): GenerationDefaults {
  const raw: RawConfig = checkpoint.generationConfig ?? {};
  const file =
    checkpoint.kind === 'gguf'
      ? checkpoint.configFile
      : checkpoint.configFile.replace(/config\.json$/, 'generation_config.json');
  return parse(raw, file, config, vocabSize);
}

/** The object of that name inside another. */
function inner(of: RawConfig | undefined, name: string): RawConfig | undefined {
  const value = of !== undefined && Object.hasOwn(of, name) ? of[name] : undefined;
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as RawConfig) : undefined;
}

/** What config.json's `task_specific_params` says about a task (summarization, translation_en_to_de); undefined: nothing. */
export function taskParams(config: RawConfig, task: string): RawConfig | undefined {
  return inner(inner(config, 'task_specific_params'), task);
}

const kFields: Readonly<Record<string, string>> = {
  eos_token_id: 'eosTokenIds',
  forced_eos_token_id: 'forcedEosTokenIds',
};

/**
 * Defaults with those of a task over them, as transformers' pipelines have it (`GenerationConfig.update`); null unsets one.
 * `prefix` is no field of generation. Throws ConfigError, UnsupportedError for another end.
 */
export function withTaskParams(
  defaults: GenerationDefaults,
  checkpoint: Checkpoint,
  config: ConfigReader,
  task: string,
  vocabSize?: number,
): GenerationDefaults {
  const { prefix, ...params } = taskParams(checkpoint.config, task) ?? {};
  const found = parse(params, checkpoint.configFile, config, vocabSize);
  const set = Object.keys(params).filter((name) => kNames.includes(name));
  const same = found.eosTokenIds.join() === defaults.eosTokenIds.join();
  if (set.includes('eos_token_id') && !same)
    throw new UnsupportedError(`an end of sequences of its own for ${task} is not supported`, {
      ...{ file: checkpoint.configFile, expected: defaults.eosTokenIds, found: found.eosTokenIds },
    });
  const fields = set.map((name) => kFields[name] ?? name.replace(/_(.)/g, (_, c: string) => c.toUpperCase()));
  const own = fields.map((field) => [field, found[field as keyof GenerationDefaults]] as const);
  return { ...defaults, ...Object.fromEntries(own), other: { ...defaults.other, ...found.other } };
}

function parse(raw: RawConfig, file: string, config: ConfigReader, vocabSize: number | undefined): GenerationDefaults {
  const reader = new ConfigReader(raw, file, '');
  const vocab = vocabSize ?? config.int('vocab_size');
  if (!Number.isInteger(vocab) || vocab < 1) throw new ConfigError('bad vocabulary size', { file, found: vocab });
  const from = (field: string) => ('pad_token_id' === field && raw[field] === -1 ? [] : ids(reader, field, vocab));
  const special = (field: string): readonly number[] => {
    if (raw[field] === undefined) return config.tokenIds(field).filter((id) => id < vocab);
    return from(field) ?? [];
  };
  return reader.collect(() => {
    const flag = (field: string) => (reader.has(field) ? reader.bool(field) : undefined);
    const other: Record<string, RawValue> = Object.create(null);
    for (const [key, value] of Object.entries(raw)) {
      if (value !== null && !kNames.includes(key) && !kIgnored.includes(key)) other[key] = value;
    }
    return {
      eosTokenIds: special('eos_token_id'),
      bosTokenId: special('bos_token_id')[0],
      padTokenId: special('pad_token_id')[0],
      decoderStartTokenId: one(reader, 'decoder_start_token_id', vocab),
      doSample: flag('do_sample'),
      temperature: reader.optionalNum('temperature', { min: 0, max: 1e6 }),
      topK: reader.optionalInt('top_k', kLength),
      topP: reader.optionalNum('top_p', kProbability),
      minP: reader.optionalNum('min_p', kProbability),
      typicalP: reader.optionalNum('typical_p', kProbability),
      epsilonCutoff: reader.optionalNum('epsilon_cutoff', kProbability),
      etaCutoff: reader.optionalNum('eta_cutoff', kProbability),
      repetitionPenalty: reader.optionalNum('repetition_penalty', { above: 0, max: 1e6 }),
      noRepeatNgramSize: reader.optionalInt('no_repeat_ngram_size', kLength),
      badWordsIds: badWords(reader, vocab),
      maxNewTokens: reader.optionalInt('max_new_tokens', kLength),
      maxLength: reader.optionalInt('max_length', kLength),
      minNewTokens: reader.optionalInt('min_new_tokens', kLength),
      minLength: reader.optionalInt('min_length', kLength),
      suppressTokens: ids(reader, 'suppress_tokens', vocab),
      beginSuppressTokens: ids(reader, 'begin_suppress_tokens', vocab),
      forcedBosTokenId: one(reader, 'forced_bos_token_id', vocab),
      forcedEosTokenIds: ids(reader, 'forced_eos_token_id', vocab),
      numBeams: reader.optionalInt('num_beams', { min: 1, max: 4096 }),
      numReturnSequences: reader.optionalInt('num_return_sequences', { min: 1, max: 4096 }),
      lengthPenalty: reader.optionalNum('length_penalty', { min: -1e6, max: 1e6 }),
      earlyStopping: earlyStopping(reader),
      other,
    };
  });
}
