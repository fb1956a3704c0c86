/**
 * One form for the ways in which configs spell rotary embeddings: v4's `rope_theta` + `rope_scaling` (with `type` or
 * `rope_type`) and v5's `rope_parameters`, flat or per layer type. Formulas: transformers' modeling_rope_utils.py.
 */
import type { ConfigReader } from './config.js';
import type { RawConfig, RawValue } from './types.js';

interface RopeBase {
  /** Base of the frequencies: theta^(-2i / dims). */
  readonly theta: number;
  /** Share of the head that is rotated: dims = floor(head_dim × this). */
  readonly partialRotaryFactor: number;
}

export type RopeConfig = RopeBase &
  (
    | { readonly type: 'default' }
    | { readonly type: 'linear'; readonly factor: number }
    /** NTK scaling that starts past `maxPositionEmbeddings`. */
    | { readonly type: 'dynamic'; readonly factor: number; readonly maxPositionEmbeddings: number }
    | {
        readonly type: 'llama3';
        readonly factor: number;
        readonly lowFreqFactor: number;
        readonly highFreqFactor: number;
        readonly originalMaxPositionEmbeddings: number;
      }
    | {
        readonly type: 'yarn';
        readonly factor: number;
        readonly originalMaxPositionEmbeddings: number;
        /** Scale of cos and sin; computed as transformers does where the file does not give it. */
        readonly attentionFactor: number;
        readonly betaFast: number;
        readonly betaSlow: number;
        readonly truncate: boolean;
      }
    | {
        readonly type: 'longrope';
        /** One divisor per frequency, dims / 2 of them. */
        readonly shortFactor: readonly number[];
        readonly longFactor: readonly number[];
        readonly originalMaxPositionEmbeddings: number;
        readonly maxPositionEmbeddings: number;
        readonly attentionFactor: number;
      }
    /** GGUF's `rope_freqs.weight`: a divisor per frequency, dims / 2 of them. */
    | { readonly type: 'factors'; readonly factors: readonly number[] }
  );

const kPositive = { above: 0, max: 1e12 };
const kPositions = { min: 1, max: 2 ** 30 };
const kNames: Readonly<Record<string, readonly string[]>> = Object.assign(Object.create(null), {
  default: [],
  linear: ['factor'],
  dynamic: ['factor', 'original_max_position_embeddings'],
  llama3: ['factor', 'low_freq_factor', 'high_freq_factor', 'original_max_position_embeddings'],
  yarn: [
    'factor',
    'original_max_position_embeddings',
    'attention_factor',
    'beta_fast',
    'beta_slow',
    'mscale',
    'mscale_all_dim',
    'truncate',
    'finetuned',
  ],
  longrope: ['short_factor', 'long_factor', 'factor', 'attention_factor', 'original_max_position_embeddings'],
  factors: ['factors'],
});
const kAlways = ['rope_type', 'type', 'rope_theta', 'partial_rotary_factor'];
const kLayerTypes = ['full_attention', 'sliding_attention'];

function isObject(value: RawValue | undefined): value is RawConfig {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The field beside the dictionary that holds a layer type's theta. */
function thetaField(modelType: string, layerType: string | undefined): string {
  const local = layerType === 'sliding_attention';
  if (modelType === 'gemma3_text' && local) return 'rope_local_base_freq';
  if (modelType === 'modernbert') return local ? 'local_rope_theta' : 'global_rope_theta';
  return 'rope_theta';
}

/** The dictionary that holds the parameters of one layer type, and the theta that stands beside it. */
function choose(config: ConfigReader, layerType: string | undefined): { from: RawConfig; theta: number; name: string } {
  const local = layerType === 'sliding_attention' && config.modelType === 'gemma3_text';
  const theta = config.num(thetaField(config.modelType, layerType), { ...kPositive, default: 10_000 });
  const empty: RawConfig = {};
  const scaling = config.raw('rope_scaling');
  const parameters = config.raw('rope_parameters');
  const old = isObject(scaling) && Object.keys(scaling).length > 0;
  const name = old ? 'rope_scaling' : 'rope_parameters';
  const given = old ? scaling : (parameters ?? scaling ?? empty);
  if (!isObject(given)) {
    config.problem(name, 'an object or null', given);
    return { from: empty, theta, name };
  }
  if (!kLayerTypes.some((type) => type in given)) {
    if (config.modelType === 'gemma3_text' && name === 'rope_parameters' && Object.keys(given).length > 0) {
      config.problem(name, 'one object per layer type', Object.keys(given));
    }
    // Gemma 3's v4 files scale the full-attention layers only.
    return { from: local && name === 'rope_scaling' ? empty : given, theta, name };
  }
  const type = layerType ?? 'full_attention';
  const nested = given[type];
  const path = `${name}.${type}`;
  if (nested === undefined || nested === null) return { from: empty, theta, name: path };
  if (isObject(nested)) return { from: nested, theta, name: path };
  config.problem(path, 'an object', nested);
  return { from: empty, theta, name: path };
}

/** Reads the rotary embedding of one layer type (of all layers, where the model has one kind). */
export function readRope(config: ConfigReader, layerType?: string): RopeConfig {
  const { from, theta: besides, name } = choose(config, layerType);
  const reader = config.within(name, from);
  let type = reader.str('rope_type', { default: reader.str('type', { default: 'default' }) });
  // Earlier Phi-3 files say "su" or "yarn" and mean longrope.
  if (config.modelType === 'phi3' && (type === 'su' || type === 'yarn')) type = 'longrope';
  const theta = reader.num('rope_theta', { ...kPositive, default: besides });
  const beside = config.num('partial_rotary_factor', { above: 0, max: 1, default: 1 });
  const partialRotaryFactor = reader.num('partial_rotary_factor', { above: 0, max: 1, default: beside });
  const base = { theta, partialRotaryFactor };
  const known = kNames[type];
  if (known === undefined) {
    config.problem(`${name}.rope_type`, Object.keys(kNames).join(', '), type);
    return { type: 'default', ...base };
  }
  for (const key of Object.keys(from)) {
    if (kAlways.includes(key) || known.includes(key) || from[key] === null) continue;
    // transformers writes this one for every type; only some read it.
    if (key === 'original_max_position_embeddings') continue;
    config.problem(`${name}.${key}`, `a parameter of rope_type ${type}`, from[key]);
  }
  return scaled(config, reader, type as RopeConfig['type'], base);
}

function scaled(config: ConfigReader, reader: ConfigReader, type: RopeConfig['type'], base: RopeBase): RopeConfig {
  const factor = () => reader.num('factor', { min: 1, max: 1e6 });
  const positions = () => config.int('max_position_embeddings', { ...kPositions, default: 2048 });
  const original = () =>
    config.optionalInt('original_max_position_embeddings', kPositions) ??
    reader.int('original_max_position_embeddings', { ...kPositions, default: positions() });
  const dims = () => Math.floor(config.headDim() * base.partialRotaryFactor);
  switch (type) {
    case 'default':
      return { type, ...base };
    case 'linear':
      return { type, ...base, factor: factor() };
    case 'dynamic':
      return { type, ...base, factor: factor(), maxPositionEmbeddings: positions() };
    case 'llama3': {
      const lowFreqFactor = reader.num('low_freq_factor', kPositive);
      const highFreqFactor = reader.num('high_freq_factor', kPositive);
      if (highFreqFactor <= lowFreqFactor)
        reader.problem('high_freq_factor', 'more than low_freq_factor', highFreqFactor);
      const originalMaxPositionEmbeddings = original();
      return { type, ...base, factor: factor(), lowFreqFactor, highFreqFactor, originalMaxPositionEmbeddings };
    }
    case 'yarn':
      return yarn(reader, base, positions(), original());
    case 'longrope': {
      const originalMaxPositionEmbeddings = original();
      const maxPositionEmbeddings = positions();
      const ratio = reader.optionalNum('factor', kPositive) ?? maxPositionEmbeddings / originalMaxPositionEmbeddings;
      const scale = ratio <= 1 ? 1 : Math.sqrt(1 + Math.log(ratio) / Math.log(originalMaxPositionEmbeddings));
      const attentionFactor = reader.optionalNum('attention_factor', kPositive) ?? scale;
      const shortFactor = reader.nums('short_factor', { ...kPositive, length: dims() >> 1 });
      const longFactor = reader.nums('long_factor', { ...kPositive, length: dims() >> 1 });
      const lengths = { originalMaxPositionEmbeddings, maxPositionEmbeddings };
      return { type, ...base, ...lengths, attentionFactor, shortFactor, longFactor };
    }
    case 'factors':
      return { type, ...base, factors: reader.nums('factors', { ...kPositive, length: dims() >> 1 }) };
  }
}

function yarn(reader: ConfigReader, base: RopeBase, positions: number, original: number): RopeConfig {
  const factor = reader.optionalNum('factor', { min: 1, max: 1e6 }) ?? positions / original;
  const mscale = reader.optionalNum('mscale', { min: 0, max: 1e6 }) ?? 0;
  const mscaleAll = reader.optionalNum('mscale_all_dim', { min: 0, max: 1e6 }) ?? 0;
  const scale = (m: number) => (factor <= 1 ? 1 : 0.1 * m * Math.log(factor) + 1);
  const usual = mscale !== 0 && mscaleAll !== 0 ? scale(mscale) / scale(mscaleAll) : scale(1);
  const betaFast = reader.optionalNum('beta_fast', kPositive) ?? 32;
  const betaSlow = reader.optionalNum('beta_slow', kPositive) ?? 1;
  if (betaFast < betaSlow) reader.problem('beta_fast', 'at least beta_slow', betaFast);
  return {
    type: 'yarn',
    ...base,
    factor,
    originalMaxPositionEmbeddings: original,
    attentionFactor: reader.optionalNum('attention_factor', kPositive) ?? usual,
    betaFast,
    betaSlow,
    truncate: reader.bool('truncate', true),
  };
}
