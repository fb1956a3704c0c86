import type { BuiltSeq2Seq } from '../engine/build.js';
import { ConfigError, OptionError } from '../errors.js';
import { type GenerationDefaults, readGenerationConfig } from '../weights/generation_config.js';
import type { Checkpoint } from '../weights/types.js';
import type { AlignmentHead } from './whisper_align.js';

/** What generation_config.json of a Whisper checkpoint says, checked against its vocabulary. */
export interface WhisperConfig {
  /** <|startoftranscript|> */
  readonly start: number;
  /** <|endoftext|>: all ids of text lie below it. */
  readonly eos: number;
  readonly multilingual: boolean;
  /** Codes of languages (en) and their ids. */
  readonly languages: ReadonlyMap<string, number>;
  readonly tasks: { readonly transcribe?: number; readonly translate?: number };
  /** <|notimestamps|>; undefined: times cannot be written. */
  readonly noTimes: number | undefined;
  /** <|0.00|> */
  readonly firstTime: number;
  /** Greatest first time, in steps. */
  readonly maxInitialTime: number | undefined;
  /** <|nospeech|>, as transformers finds it: before <|notimestamps|>. */
  readonly noSpeech: number | undefined;
  readonly vocab: number;
  /** <|startofprev|>; where the checkpoint does not say, transformers takes the last but one of the suppressed. */
  readonly prevStart: number | undefined;
  readonly conditioned: boolean;
  /** Undefined: the checkpoint tells none. */
  readonly alignmentHeads: readonly AlignmentHead[] | undefined;
  /** Of the medians that smooth attention maps: median_filter_width, odd. */
  readonly medianWidth: number;
  /** Positions of the decoder. */
  readonly longest: number;
  readonly suppress: readonly number[];
  readonly beginSuppress: readonly number[];
  /** Most ids of a window, its beginning of so many ids included. */
  readonly maxLength: (begin: number) => number;
  readonly logprobThreshold: number | undefined;
  readonly compressionRatioThreshold: number | undefined;
  readonly noSpeechThreshold: number | undefined;
  /** Ids that may be drawn at a temperature above 0; 0: all. transformers has 50 where nothing is said. */
  readonly topK: number;
  readonly beams: number;
  /** What is left of the checkpoint's defaults. */
  readonly defaults: GenerationDefaults;
}

function medianWidth(found: unknown, file: string): number {
  if (typeof found === 'number' && Number.isInteger(found) && found > 0 && found < 1000 && found % 2 === 1)
    return found;
  const name = 'median_filter_width';
  throw new ConfigError(`bad ${name}`, { file, name, expected: 'an odd integer from 1 to 999', found });
}

/** Pairs as they stand; whether the decoder has them shows when they are needed, as copied files often name others. */
function alignmentHeads(found: unknown, file: string): AlignmentHead[] | undefined {
  if (found === undefined) return undefined;
  const good = (pair: unknown): boolean =>
    Array.isArray(pair) && pair.length === 2 && pair.every((i) => Number.isInteger(i) && i >= 0);
  if (Array.isArray(found) && found.length > 0 && found.every(good)) return found as AlignmentHead[];
  const name = 'alignment_heads';
  throw new ConfigError(`bad ${name}`, { file, name, expected: 'pairs of a layer and a head', found });
}

/** Readers of single fields. They throw ConfigError. */
function fieldsOf(raw: Readonly<Record<string, unknown>>, file: string, vocabSize: number) {
  const id = (name: string, found: unknown, most = vocabSize - 1): number => {
    if (typeof found === 'number' && Number.isInteger(found) && found >= 0 && found <= most) return found;
    throw new ConfigError(`bad ${name} for generation`, {
      file,
      name,
      expected: `an integer from 0 to ${most}`,
      found,
    });
  };
  const optional = (name: string, most?: number): number | undefined =>
    raw[name] === undefined ? undefined : id(name, raw[name], most);
  const table = (name: string): [string, number][] => {
    const found = raw[name] ?? {};
    if (typeof found !== 'object' || Array.isArray(found))
      throw new ConfigError(`bad ${name}`, { file, name, expected: 'ids by name', found });
    return Object.entries(found as object).map(([key, value]) => [key, id(`${name}.${key}`, value)]);
  };
  const threshold = (name: string): number | undefined => {
    const found = raw[name];
    if (found === undefined || typeof found === 'number') return found;
    throw new ConfigError(`bad ${name}`, { file, name, expected: 'a number', found });
  };
  return { id, optional, table, threshold };
}

/** Reads it as transformers does; older checkpoints without lang_to_id know no languages. Throws ConfigError. */
export function readWhisperConfig(checkpoint: Checkpoint, built: BuiltSeq2Seq): WhisperConfig {
  const { config, vocabSize } = built;
  const defaults = readGenerationConfig(checkpoint, config, vocabSize);
  const raw = defaults.other;
  const file = checkpoint.configFile;
  const { id, optional, table, threshold } = fieldsOf(raw, file, vocabSize);
  const languages = new Map(table('lang_to_id').map(([key, value]) => [key.replace(/^<\||\|>$/g, ''), value]));
  const tasks = Object.fromEntries(table('task_to_id')) as WhisperConfig['tasks'];
  const noTimes = optional('no_timestamps_token_id');
  const longest = built.maxPositions;
  const { maxNewTokens, maxLength, suppressTokens, beginSuppressTokens } = defaults;
  return {
    start: id('decoder_start_token_id', defaults.decoderStartTokenId ?? config.tokenIds('decoder_start_token_id')[0]),
    eos: id('eos_token_id', defaults.eosTokenIds[0]),
    multilingual: raw.is_multilingual !== false && languages.size > 0,
    languages,
    tasks,
    noTimes,
    firstTime: noTimes === undefined ? vocabSize : noTimes + 1,
    maxInitialTime: optional('max_initial_timestamp_index', 2 ** 30),
    noSpeech: noTimes === undefined || noTimes === 0 ? undefined : noTimes - 1,
    vocab: vocabSize,
    prevStart: optional('prev_sot_token_id') ?? suppressTokens?.at(-2),
    conditioned: raw.condition_on_prev_tokens === true,
    longest,
    alignmentHeads: alignmentHeads(raw.alignment_heads, file),
    medianWidth: medianWidth(config.raw('median_filter_width') ?? 7, file),
    suppress: suppressTokens ?? [],
    beginSuppress: beginSuppressTokens ?? [],
    maxLength: (begin) => {
      const initial = Math.min(Math.floor(longest / 2) - 1, begin);
      const most = maxNewTokens === undefined ? (maxLength ?? longest) + initial : maxNewTokens + begin;
      return Math.max(begin + 1, Math.min(most, longest));
    },
    logprobThreshold: threshold('logprob_threshold'),
    compressionRatioThreshold: threshold('compression_ratio_threshold'),
    noSpeechThreshold: threshold('no_speech_threshold'),
    topK: defaults.topK ?? 50,
    beams: defaults.numBeams ?? 1,
    defaults: {
      ...{ ...defaults, suppressTokens: undefined, beginSuppressTokens: undefined, forcedBosTokenId: undefined },
      ...{ forcedEosTokenIds: undefined, maxLength: undefined, maxNewTokens: undefined, other: {} },
    },
  };
}

let names: Intl.DisplayNames | undefined;

/** The code of a language that the model knows, by its code or its English name. Throws OptionError. */
export function languageIn(languages: ReadonlyMap<string, number>, given: unknown): string {
  const wanted = typeof given === 'string' ? given.toLowerCase().replace(/^<\||\|>$/g, '') : '';
  if (languages.has(wanted)) return wanted;
  names ??= new Intl.DisplayNames(['en'], { type: 'language' });
  const found = [...languages.keys()].find((code) => {
    try {
      return wanted !== '' && names!.of(code)?.toLowerCase() === wanted;
    } catch {
      return false; // a code that is none
    }
  });
  if (found !== undefined) return found;
  throw new OptionError('the model does not know this language', {
    ...{ name: 'language', expected: [...languages.keys()].join(', '), found: given },
  });
}
