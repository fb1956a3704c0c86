/** The table of options: one rule each. */
import * as rule from './option_rules.js';
import type {
  DryOptions,
  GenerateOptions,
  GenerationTrace,
  HeadMask,
  MirostatOptions,
  Steering,
  XtcOptions,
} from './options.js';

const kMany = 2 ** 30;

const mapRule: rule.Rule = (value, name) => {
  const entries = value instanceof Map ? [...value] : undefined;
  if (entries === undefined && (typeof value !== 'object' || value === null || Array.isArray(value))) {
    rule.refuse(name, 'an object or a Map from token id to number', value);
  }
  for (const [key, bias] of entries ?? Object.entries(value as object)) {
    const id = typeof key === 'number' ? key : /^(0|[1-9]\d{0,9})$/.test(String(key)) ? Number(key) : NaN;
    if (!Number.isInteger(id) || id < 0) rule.refuse(name, 'token ids as keys', String(key));
    rule.number({ min: -100, max: 100 })(bias, `${name}[${id}]`);
  }
};

const badWordsRule: rule.Rule = (value, name) => {
  if (!Array.isArray(value)) rule.refuse(name, 'an array of strings or of id sequences', value);
  if (value.length > 1024) rule.refuse(name, 'at most 1024 words', value.length);
  if (value.every((word) => typeof word === 'string')) return rule.strings(1024, 512)(value, name);
  for (const [i, word] of value.entries()) {
    rule.ids(512)(word, `${name}[${i}]`);
    if ((word as number[]).length === 0) rule.refuse(`${name}[${i}]`, 'at least one id', word);
  }
};

const seedRule: rule.Rule = (value, name) => {
  const good =
    typeof value === 'bigint'
      ? value >= 0n && value < 1n << 64n
      : Number.isSafeInteger(value) && (value as number) >= 0;
  if (!good) rule.refuse(name, 'an integer from 0 to 2^53 - 1, or a bigint below 2^64', value);
};

const logprobsRule: rule.Rule = (value, name) => {
  if (typeof value !== 'boolean') rule.integer({ min: 0, max: 20 })(value, name);
};

const signalRule: rule.Rule = (value, name) => {
  if (!(value instanceof AbortSignal)) rule.refuse(name, 'an AbortSignal', value);
};

const functionRule: rule.Rule = (value, name) => {
  if (typeof value !== 'function') rule.refuse(name, 'a function', value);
};

const earlyStoppingRule: rule.Rule = (value, name) => {
  if (typeof value !== 'boolean' && value !== 'never') rule.refuse(name, "true, false or 'never'", value);
};

const dryRules: Record<keyof DryOptions, rule.Rule> = {
  multiplier: rule.number({ min: 0, max: 100 }),
  base: rule.number({ min: 1, max: 16 }),
  allowedLength: rule.integer({ min: 1, max: kMany }),
  range: rule.integer({ min: 0, max: kMany }),
  sequenceBreakers: rule.strings(64, 64),
};

const xtcRules: Record<keyof XtcOptions, rule.Rule> = {
  probability: rule.number({ min: 0, max: 1 }),
  threshold: rule.number({ above: 0, max: 0.5 }),
};

const mirostatRules: Record<keyof MirostatOptions, rule.Rule> = {
  tau: rule.number({ above: 0, max: 100 }),
  eta: rule.number({ above: 0, max: 1 }),
};

const numbers: rule.Rule = rule.ids(4096);

const layersRule: rule.Rule = (value, name) => {
  if (typeof value !== 'boolean') numbers(value, name);
};

const traceRules: Record<keyof GenerationTrace, rule.Rule> = {
  attentions: layersRule,
  crossAttentions: layersRule,
  hiddenStates: layersRule,
  heads: numbers,
  prompt: rule.boolean,
};

const vectorRule: rule.Rule = (value, name) => {
  const listed = Array.isArray(value) || value instanceof Float32Array || value instanceof Float64Array;
  if (!listed) rule.refuse(name, 'a Float32Array or an array of numbers', value);
  const bad = Array.prototype.findIndex.call(value, (x) => typeof x !== 'number' || !Number.isFinite(Math.fround(x)));
  if (bad >= 0) rule.refuse(`${name}[${bad}]`, 'a finite number', (value as ArrayLike<unknown>)[bad]);
};

const steeringRules: Record<keyof Steering, rule.Rule> = {
  layer: rule.integer({ min: 0 }),
  vector: vectorRule,
  scale: rule.number({}),
};

const maskRules: Record<keyof HeadMask, rule.Rule> = {
  layer: rule.integer({ min: 0 }),
  heads: numbers,
  attention: (value, name) => {
    if (value !== 'self' && value !== 'cross') rule.refuse(name, "'self' or 'cross'", value);
  },
};

/** One rule per option; what is not here is refused. */
export const generateRules: Readonly<Record<keyof GenerateOptions, rule.Rule>> = {
  maxTokens: rule.integer({ min: 0, max: kMany }),
  minTokens: rule.integer({ min: 0, max: kMany }),
  temperature: rule.number({ min: 0, max: 100 }),
  greedy: rule.boolean,
  topK: rule.integer({ min: 0, max: 2 ** 31 - 1 }),
  topP: rule.number({ above: 0, max: 1 }),
  minP: rule.number({ min: 0, max: 1 }),
  typicalP: rule.number({ above: 0, max: 1 }),
  repetitionPenalty: rule.number({ min: 0.01, max: 100 }),
  presencePenalty: rule.number({ min: -100, max: 100 }),
  frequencyPenalty: rule.number({ min: -100, max: 100 }),
  penaltyWindow: rule.integer({ min: 0, max: kMany }),
  noRepeatNgram: rule.integer({ min: 0, max: kMany }),
  dry: rule.fields(dryRules, ['multiplier']),
  xtc: rule.fields(xtcRules, ['probability']),
  mirostat: rule.fields(mirostatRules, []),
  logitBias: mapRule,
  badWords: badWordsRule,
  seed: seedRule,
  logitsProcessor: functionRule,
  stop: rule.strings(16, 512),
  stopTokens: rule.ids(1024),
  n: rule.integer({ min: 1, max: 128 }),
  logprobs: logprobsRule,
  ignoreEos: rule.boolean,
  echo: rule.boolean,
  trace: rule.fields(traceRules, []),
  steer: rule.list(64, rule.fields(steeringRules, ['layer', 'vector'])),
  maskHeads: rule.list(4096, rule.fields(maskRules, ['layer', 'heads'])),
  signal: signalRule,
  numBeams: rule.integer({ min: 1, max: 64 }),
  lengthPenalty: rule.number({ min: -10, max: 10 }),
  earlyStopping: earlyStoppingRule,
  numBeamGroups: rule.integer({ min: 1, max: 64 }),
  diversityPenalty: rule.number({ min: 0, max: 100 }),
};

export const defaultBreakers: readonly string[] = ['\n', ':', '"', '*'];
