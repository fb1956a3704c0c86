/** Options of a caller and defaults of a checkpoint, resolved to final numbers. */
import { getRandomValues } from 'node:crypto';
import { ContextOverflowError, OptionError, UnsupportedError } from '../errors.js';
import type { GenerationDefaults } from '../weights/generation_config.js';
import { checkIds, checkNames, refuse } from './option_rules.js';
import { defaultBreakers, generateRules } from './option_table.js';
import type { GenerateOptions, LogitsProcessor } from './options.js';

/** What options are resolved against. */
export interface OptionContext {
  /** Rows of the logits. */
  readonly vocab: number;
  /** Ids that end a sequence. */
  readonly eosIds: readonly number[];
  /** Positions that the prompt leaves free. */
  readonly contextLeft: number;
  /** Ids of the prompt. */
  readonly promptLength: number;
  /** `optionTexts().badWords` as ids: the caller tokenises them. */
  readonly badWordIds?: readonly (readonly number[])[] | undefined;
  /** Ids whose text contains one of `optionTexts().breakers`. */
  readonly breakerIds?: readonly number[] | undefined;
}

/** Final values of all options: plain data, nothing absent. Names and ranges as in `GenerateOptions`. */
export interface ResolvedOptions {
  readonly maxTokens: number;
  readonly minTokens: number;
  /** 0: the most likely id. */
  readonly temperature: number;
  readonly topK: number;
  readonly topP: number;
  readonly minP: number;
  readonly typicalP: number;
  readonly repetitionPenalty: number;
  readonly presencePenalty: number;
  readonly frequencyPenalty: number;
  readonly penaltyWindow: number;
  readonly noRepeatNgram: number;
  readonly dry: {
    readonly multiplier: number;
    readonly base: number;
    readonly allowedLength: number;
    readonly range: number;
    readonly breakerIds: readonly number[];
  };
  readonly xtc: { readonly probability: number; readonly threshold: number };
  readonly mirostat: { readonly tau: number; readonly eta: number } | undefined;
  readonly biasIds: readonly number[];
  readonly biasValues: readonly number[];
  readonly badWords: readonly (readonly number[])[];
  /** All ids that end this request, ascending. */
  readonly stopIds: readonly number[];
  readonly stop: readonly string[];
  readonly n: number;
  /** Undefined: no beam search. */
  readonly beams: BeamSettings | undefined;
  readonly seed: bigint;
  /** Low and high half of the seed, as int32. */
  readonly seedLow: number;
  readonly seedHigh: number;
  readonly logprobs: boolean;
  readonly topLogprobs: number;
  readonly ignoreEos: boolean;
  readonly echo: boolean;
  readonly signal: AbortSignal | undefined;
  readonly logitsProcessor: LogitsProcessor | undefined;
}

export interface BeamSettings {
  readonly beams: number;
  readonly groups: number;
  readonly diversityPenalty: number;
  readonly lengthPenalty: number;
  readonly earlyStopping: boolean | 'never';
  /** Log-probabilities are made to add up to one again after all rules (renormalize_logits). */
  readonly renormalize: boolean;
}

/** Texts in the options that need the tokenizer before `resolveOptions`. */
export interface OptionTexts {
  /** To be encoded without special tokens, each as it stands and with a space before it. */
  readonly badWords: readonly string[];
  readonly breakers: readonly string[];
}

/** Which texts of these options must be turned into ids. Throws OptionError. */
export function optionTexts(options: GenerateOptions): OptionTexts {
  const given = checked(options);
  const isText = (word: unknown): word is string => typeof word === 'string';
  return {
    badWords: (given.badWords as readonly unknown[] | undefined)?.filter(isText) ?? [],
    breakers: (given.dry?.multiplier ?? 0) > 0 ? (given.dry?.sequenceBreakers ?? defaultBreakers) : [],
  };
}

/** A copy whose names and values obey the rules of each single option. */
function checked(options: GenerateOptions): GenerateOptions {
  if (typeof options !== 'object' || options === null || Array.isArray(options))
    refuse('options', 'an object', options);
  const given = { ...options };
  checkNames(given, generateRules);
  return given;
}

/** The smallest float32 that is not denormal: temperatures below it are 0. */
const kLeastTemperature = 1.1754943508222875e-38;

function conflict(one: string, other: string, hint: string): never {
  throw new OptionError(`options ${one} and ${other} exclude each other`, { name: other, hint });
}

/** Refuses options that would silently cancel each other. */
function checkPairs(o: GenerateOptions): void {
  const off = { topK: 0, topP: 1, minP: 0, typicalP: 1 };
  const active = (['topK', 'topP', 'minP', 'typicalP'] as const).filter((k) => o[k] !== undefined && o[k] !== off[k]);
  const xtc = (o.xtc?.probability ?? 0) > 0;
  if (o.mirostat !== undefined) {
    if (active.length > 0) conflict('mirostat', active[0]!, 'Mirostat chooses its own cut');
    if (xtc) conflict('mirostat', 'xtc', 'Mirostat chooses its own cut');
  }
  const zero = o.temperature !== undefined && o.temperature < kLeastTemperature;
  if (o.greedy === true && o.temperature !== undefined && !zero) conflict('greedy', 'temperature', 'Leave one out');
  if (o.greedy === false && zero) conflict('greedy', 'temperature', 'Temperature 0 is greedy');
  if (o.greedy === true || zero) {
    const cause = o.greedy === true ? 'greedy' : 'temperature';
    if (o.mirostat !== undefined) conflict(cause, 'mirostat', 'Mirostat draws: give a temperature above 0');
    if (xtc) conflict(cause, 'xtc', 'XTC needs a temperature above 0');
    if (active.includes('typicalP')) conflict(cause, 'typicalP', 'Typical sampling needs a temperature above 0');
  }
}

/**
 * Fields of generation_config.json that change the output, with the values that leave it alone. renormalize_logits is not
 * one: neither the best id nor a draw depends on a constant added to all logits.
 */
const kRefused: Readonly<Record<string, readonly unknown[]>> = {
  guidance_scale: [1],
  top_h: [1],
  penalty_alpha: [0],
  remove_invalid_values: [false],
  encoder_repetition_penalty: [1],
  encoder_no_repeat_ngram_size: [0],
  exponential_decay_length_penalty: [],
  sequence_bias: [],
  watermarking_config: [],
  stop_strings: [],
  max_time: [],
  diversity_penalty: [0],
  num_beam_groups: [1],
  dola_layers: [],
  token_healing: [false],
};

const kGroups = ['num_beam_groups', 'diversity_penalty'];

/** Refuses defaults of the checkpoint that ask for something Verdant does not do. */
function checkDefaults(d: GenerationDefaults, beams: boolean, samples: boolean): void {
  const unsupported = (field: string, found: unknown): never => {
    throw new UnsupportedError(`generation_config.json asks for ${field}`, { name: field, found });
  };
  if (samples && (d.epsilonCutoff ?? 0) > 0) unsupported('epsilon_cutoff', d.epsilonCutoff);
  if (samples && (d.etaCutoff ?? 0) > 0) unsupported('eta_cutoff', d.etaCutoff);
  if (d.beginSuppressTokens !== undefined && d.beginSuppressTokens.length > 0) {
    unsupported('begin_suppress_tokens', d.beginSuppressTokens);
  }
  if (d.forcedBosTokenId !== undefined) unsupported('forced_bos_token_id', d.forcedBosTokenId);
  if (d.forcedEosTokenIds !== undefined) unsupported('forced_eos_token_id', d.forcedEosTokenIds);
  for (const [field, neutral] of Object.entries(kRefused)) {
    const value = d.other[field];
    if (beams && kGroups.includes(field)) continue;
    if (value !== undefined && value !== null && !neutral.includes(value)) unsupported(field, value);
  }
}

interface Mode {
  readonly temperature: number;
  readonly topK: number;
  readonly topP: number;
  readonly minP: number;
  readonly typicalP: number;
}

/**
 * Greedy or sampling. As in Hugging Face, the checkpoint's `do_sample` decides and its numbers hold for what the caller
 * leaves open; any option that only makes sense when sampling turns it on. A checkpoint that says `do_sample` without
 * `top_k` means Hugging Face's own default of 50. Mirostat takes none of the checkpoint's cuts.
 */
function resolveMode(o: GenerateOptions, d: GenerationDefaults): Mode {
  const cuts = [o.topK, o.topP, o.minP, o.typicalP, o.xtc, o.mirostat];
  const samples =
    o.greedy === undefined
      ? o.temperature !== undefined || d.doSample === true || cuts.some((option) => option !== undefined)
      : !o.greedy;
  const temperature = samples ? (o.temperature ?? d.temperature ?? 1) : 0;
  const own = o.mirostat !== undefined;
  return {
    temperature: temperature < kLeastTemperature ? 0 : temperature,
    topK: o.topK ?? (own ? 0 : (d.topK ?? (d.doSample === true ? 50 : 0))),
    topP: o.topP ?? (own ? 1 : (d.topP ?? 1)),
    minP: o.minP ?? (own ? 0 : (d.minP ?? 0)),
    typicalP: o.typicalP ?? (own ? 1 : (d.typicalP ?? 1)),
  };
}

/** Options that have no meaning for beams, or none that is built. */
const kNotBeams = ['trace', 'logprobs', 'logitsProcessor', 'stop', 'dry', 'xtc', 'mirostat'] as const;

/**
 * Beams that the caller asks for, or the checkpoint where the caller chose neither greedy nor sampling. Sampled beams
 * (do_sample with num_beams) are refused.
 */
function resolveBeams(o: GenerateOptions, d: GenerationDefaults, mode: Mode): BeamSettings | undefined {
  const own = o.greedy !== undefined || mode.temperature > 0;
  const beams = o.numBeams ?? (own ? 1 : (d.numBeams ?? 1));
  if (beams === 1) {
    for (const name of ['lengthPenalty', 'earlyStopping', 'numBeamGroups', 'diversityPenalty'] as const)
      if (o[name] !== undefined) throw new OptionError(`${name} is for beams`, { name, hint: 'Give numBeams above 1' });
    return undefined;
  }
  if (mode.temperature > 0 && o.temperature === undefined && d.doSample === true)
    throw new UnsupportedError('the checkpoint asks for sampling, and beams are not sampled', {
      ...{ name: 'do_sample', found: true, hint: 'Give greedy: true with numBeams' },
    });
  if (mode.temperature > 0) conflict('numBeams', 'temperature', 'Beams are not sampled: give greedy: true');
  for (const name of kNotBeams)
    if (o[name] !== undefined && o[name] !== false) conflict('numBeams', name, 'Leave one out');
  const number = (name: string): number | undefined => (typeof d.other[name] === 'number' ? d.other[name] : undefined);
  const groups = o.numBeamGroups ?? number('num_beam_groups') ?? 1;
  if (beams % groups !== 0) refuse('numBeamGroups', `a divisor of numBeams, which is ${beams}`, groups);
  if (o.n !== undefined && o.n > beams) refuse('n', `at most numBeams, which is ${beams}`, o.n);
  return {
    beams,
    groups,
    diversityPenalty: o.diversityPenalty ?? number('diversity_penalty') ?? 0,
    lengthPenalty: o.lengthPenalty ?? d.lengthPenalty ?? 1,
    earlyStopping: o.earlyStopping ?? d.earlyStopping ?? false,
    renormalize: d.other.renormalize_logits === true,
  };
}

function resolveLengths(o: GenerateOptions, d: GenerationDefaults, c: OptionContext): [number, number] {
  if (o.maxTokens !== undefined && o.maxTokens > c.contextLeft) {
    throw new ContextOverflowError('prompt and requested tokens do not fit the context', {
      name: 'maxTokens',
      expected: `at most ${Math.max(0, c.contextLeft)} after a prompt of ${c.promptLength} ids`,
      found: o.maxTokens,
    });
  }
  const total = d.maxLength === undefined ? undefined : Math.max(1, d.maxLength - c.promptLength);
  const maxTokens = o.maxTokens ?? Math.min(d.maxNewTokens ?? total ?? c.contextLeft, c.contextLeft);
  if (maxTokens < 1 && o.maxTokens === undefined) {
    throw new ContextOverflowError('the prompt leaves no room for an id', { found: c.promptLength });
  }
  if (maxTokens === 0 && o.echo !== true) refuse('maxTokens', 'at least 1, or 0 with echo', 0);
  if (o.minTokens !== undefined && o.minTokens > maxTokens) {
    refuse('minTokens', `at most maxTokens, which is ${maxTokens}`, o.minTokens);
  }
  const least = Math.max(d.minNewTokens ?? 0, (d.minLength ?? 0) - c.promptLength, 0);
  return [maxTokens, o.minTokens ?? Math.min(least, maxTokens)];
}

function resolveStops(o: GenerateOptions, c: OptionContext): number[] {
  checkIds(o.stopTokens ?? [], c.vocab, 'stopTokens');
  const ids = new Set([...(o.ignoreEos === true ? [] : c.eosIds), ...(o.stopTokens ?? [])]);
  return [...ids].sort((a, b) => a - b);
}

/** Words of the caller, or else of the checkpoint; the checkpoint's suppressed ids always. */
function resolveBadWords(o: GenerateOptions, d: GenerationDefaults, c: OptionContext): readonly (readonly number[])[] {
  const suppressed = (d.suppressTokens ?? []).map((id) => [id]);
  const isEos = (word: readonly number[]): boolean => word.length === 1 && c.eosIds.includes(word[0]!);
  if (o.badWords === undefined || o.badWords.length === 0) {
    // As Hugging Face: a word that is nothing but an end-of-sequence id is left out.
    return [
      ...(o.badWords ?? d.badWordsIds ?? []).filter((word) => !isEos(word as readonly number[])),
      ...suppressed,
    ] as number[][];
  }
  const isText = typeof o.badWords[0] === 'string';
  if (isText && c.badWordIds === undefined) refuse('badWords', 'id sequences, for want of a tokenizer', o.badWords);
  const words = (isText ? c.badWordIds! : o.badWords) as readonly (readonly number[])[];
  for (const [i, word] of words.entries()) {
    checkIds(word, c.vocab, `badWords[${i}]`);
    if (word.length === 0) refuse(`badWords[${i}]`, 'at least one id', word);
    if (isEos(word)) refuse(`badWords[${i}]`, 'a word that is not an end-of-sequence id', word, 'Use ignoreEos');
  }
  return [...words, ...suppressed];
}

function resolveBias(o: GenerateOptions, c: OptionContext): [number[], number[]] {
  if (o.logitBias === undefined) return [[], []];
  const entries: [number, number][] =
    o.logitBias instanceof Map
      ? [...o.logitBias]
      : Object.entries(o.logitBias).map(([id, value]): [number, number] => [Number(id), value]);
  checkIds(
    entries.map(([id]) => id),
    c.vocab,
    'logitBias',
  );
  return [entries.map(([id]) => id), entries.map(([, value]) => value)];
}

function resolveDry(o: GenerateOptions, c: OptionContext): ResolvedOptions['dry'] {
  const { multiplier = 0, base = 1.75, allowedLength = 2, range = 0 } = o.dry ?? {};
  const breakers = o.dry?.sequenceBreakers ?? defaultBreakers;
  if (multiplier > 0 && c.breakerIds === undefined && breakers.length > 0) {
    refuse('dry.sequenceBreakers', 'no texts, for want of a tokenizer', breakers, 'Give an empty list');
  }
  const breakerIds = multiplier > 0 ? (c.breakerIds ?? []) : [];
  checkIds(breakerIds, c.vocab, 'dry.sequenceBreakers');
  return { multiplier, base, allowedLength, range, breakerIds };
}

function resolveSeed(seed: number | bigint | undefined): bigint {
  if (seed !== undefined) return BigInt(seed);
  // 53 bits, so that a reported seed is also a plain number.
  return getRandomValues(new BigUint64Array(1))[0]! >> 11n;
}

/**
 * Checks options against rules, each other and the model, fills what is absent from the checkpoint's defaults, and draws
 * a seed where none is given. Throws OptionError, ContextOverflowError, or UnsupportedError for a default that Verdant
 * cannot honour.
 */
export function resolveOptions(
  options: GenerateOptions,
  defaults: GenerationDefaults,
  context: OptionContext,
): ResolvedOptions {
  const o = checked(options);
  checkPairs(o);
  const mode = resolveMode(o, defaults);
  const beams = resolveBeams(o, defaults, mode);
  checkDefaults(defaults, beams !== undefined, mode.temperature > 0);
  const [maxTokens, minTokens] = resolveLengths(o, defaults, context);
  const [biasIds, biasValues] = resolveBias(o, context);
  const seed = resolveSeed(o.seed);
  return {
    ...mode,
    maxTokens,
    minTokens,
    repetitionPenalty: o.repetitionPenalty ?? defaults.repetitionPenalty ?? 1,
    presencePenalty: o.presencePenalty ?? 0,
    frequencyPenalty: o.frequencyPenalty ?? 0,
    penaltyWindow: o.penaltyWindow ?? 0,
    noRepeatNgram: o.noRepeatNgram ?? defaults.noRepeatNgramSize ?? 0,
    dry: resolveDry(o, context),
    xtc: { probability: o.xtc?.probability ?? 0, threshold: o.xtc?.threshold ?? 0.1 },
    mirostat: o.mirostat === undefined ? undefined : { tau: o.mirostat.tau ?? 5, eta: o.mirostat.eta ?? 0.1 },
    biasIds,
    biasValues,
    badWords: resolveBadWords(o, defaults, context),
    stopIds: resolveStops(o, context),
    stop: o.stop ?? [],
    n: o.n ?? Math.min(defaults.numReturnSequences ?? 1, beams?.beams ?? Number.POSITIVE_INFINITY),
    beams,
    seed,
    seedLow: Number(BigInt.asIntN(32, seed)),
    seedHigh: Number(BigInt.asIntN(32, seed >> 32n)),
    logprobs: o.logprobs !== undefined && o.logprobs !== false,
    topLogprobs: typeof o.logprobs === 'number' ? o.logprobs : 0,
    ignoreEos: o.ignoreEos ?? false,
    echo: o.echo ?? false,
    signal: o.signal,
    logitsProcessor: o.logitsProcessor,
  };
}
