/**
 * Typed, range-checked access to a model's config.json. Defaults and derived values are those of the Config classes of
 * transformers (defaults.ts). `readConfig` checks the whole file against one table and reports every violation at once.
 */
import { ConfigError } from '../errors.js';
import { configAliases, configDefaults, derivedDefault } from './defaults.js';
import { type RopeConfig, readRope } from './rope_config.js';
import type { Checkpoint, RawConfig, RawValue } from './types.js';

export interface NumberRules {
  /** Inclusive bounds. */
  readonly min?: number;
  readonly max?: number;
  /** Exclusive lower bound. */
  readonly above?: number;
  /** Used where neither the file nor the class of the model type has the field. */
  readonly default?: number;
}

/** Activation functions by our names; `gelu_tanh` is transformers' gelu_new, gelu_pytorch_tanh and gelu_fast. */
export type ActivationName = 'silu' | 'gelu' | 'gelu_tanh' | 'quick_gelu' | 'relu' | 'tanh' | 'sigmoid';
export type LayerType = 'full_attention' | 'sliding_attention';

const kActivations: Readonly<Record<string, ActivationName>> = Object.assign(Object.create(null), {
  silu: 'silu',
  swish: 'silu',
  gelu: 'gelu',
  gelu_new: 'gelu_tanh',
  gelu_pytorch_tanh: 'gelu_tanh',
  gelu_fast: 'gelu_tanh',
  gelu_accurate: 'gelu_tanh',
  quick_gelu: 'quick_gelu',
  relu: 'relu',
  tanh: 'tanh',
  sigmoid: 'sigmoid',
});

/** Ranges that hold for a field wherever it occurs; a caller may narrow them. */
const kCount = { min: 1, max: 1024 };
const kWidth = { min: 1, max: 2 ** 20 };
const kEpsilon = { above: 0, max: 1 };
const kRanges: Readonly<Record<string, NumberRules>> = Object.assign(Object.create(null), {
  vocab_size: { min: 1, max: 2 ** 24 },
  hidden_size: { min: 1, max: 2 ** 17 },
  n_embd: { min: 1, max: 2 ** 17 },
  dim: { min: 1, max: 2 ** 17 },
  embedding_size: { min: 1, max: 2 ** 17 },
  hidden_dim: kWidth,
  intermediate_size: kWidth,
  n_inner: kWidth,
  num_hidden_layers: kCount,
  n_layer: kCount,
  n_layers: kCount,
  num_layers: kCount,
  num_attention_heads: kCount,
  n_head: kCount,
  n_heads: kCount,
  num_heads: kCount,
  num_key_value_heads: kCount,
  head_dim: { min: 1, max: 4096 },
  max_position_embeddings: { min: 1, max: 2 ** 30 },
  n_positions: { min: 1, max: 2 ** 30 },
  type_vocab_size: { min: 1, max: 65_536 },
  local_attention: { min: 1, max: 2 ** 30 },
  global_attn_every_n_layers: kCount,
  sliding_window: { min: 1, max: 2 ** 30 },
  window_size: { min: 1, max: 2 ** 30 },
  sliding_window_pattern: kCount,
  max_window_layers: { min: 0, max: 2 ** 20 },
  rms_norm_eps: kEpsilon,
  layer_norm_epsilon: kEpsilon,
  layer_norm_eps: kEpsilon,
  norm_eps: kEpsilon,
  norm_epsilon: kEpsilon,
  global_rope_theta: { above: 0, max: 1e12 },
  local_rope_theta: { above: 0, max: 1e12 },
  rope_theta: { above: 0, max: 1e12 },
  rope_local_base_freq: { above: 0, max: 1e12 },
  query_pre_attn_scalar: { above: 0, max: 1e9 },
  attn_logit_softcapping: { above: 0, max: 1e9 },
  final_logit_softcapping: { above: 0, max: 1e9 },
});

/** Fields for which null means "off" although the class's default is a number. */
const kNullable = ['sliding_window', 'attn_logit_softcapping', 'final_logit_softcapping'];

/** The field itself, never something inherited. */
function own(config: RawConfig, field: string): RawValue | undefined {
  return Object.hasOwn(config, field) ? config[field] : undefined;
}

function describe(rules: NumberRules, what: string): string {
  const low = rules.above !== undefined ? `above ${rules.above}` : rules.min !== undefined ? `from ${rules.min}` : '';
  return [what, low, rules.max !== undefined ? `to ${rules.max}` : ''].filter((part) => part !== '').join(' ');
}

export class ConfigReader {
  readonly file: string;
  readonly modelType: string;
  readonly #config: RawConfig;
  readonly #defaults: RawConfig;
  readonly #prefix: string;
  readonly #shared: { problems: string[] | undefined };

  constructor(
    config: RawConfig,
    file: string,
    modelType: string,
    prefix = '',
    shared: { problems: string[] | undefined } = { problems: undefined },
  ) {
    this.#config = config;
    this.file = file;
    this.modelType = modelType;
    this.#prefix = prefix;
    this.#defaults = prefix === '' ? (configDefaults[modelType] ?? {}) : {};
    this.#shared = shared;
  }

  /** Reports a violated rule: thrown at once, or with all others at the end of `collect`. */
  problem(field: string, expected: string, found: unknown): void {
    const name = this.#prefix === '' ? field : `${this.#prefix}.${field}`;
    if (this.#shared.problems === undefined) {
      throw new ConfigError(`bad ${name}`, {
        file: this.file,
        name,
        expected,
        found: found === undefined ? 'nothing' : found,
      });
    }
    const shown = found === undefined ? 'nothing' : (JSON.stringify(found) ?? String(found));
    this.#shared.problems.push(`${name}: expected ${expected}, found ${shown.slice(0, 80)}`);
  }

  /** Runs `read`, gathering problems, and throws one `ConfigError` that lists them all. */
  collect<T>(read: () => T): T {
    if (this.#shared.problems !== undefined) return read();
    const problems: string[] = [];
    this.#shared.problems = problems;
    try {
      const result = read();
      if (problems.length > 0) throw this.#listed(problems);
      return result;
    } catch (error) {
      throw problems.length > 0 && !(error instanceof ConfigError) ? this.#listed(problems) : error;
    } finally {
      this.#shared.problems = undefined;
    }
  }

  #listed(problems: readonly string[]): ConfigError {
    const unique = [...new Set(problems)];
    return new ConfigError(`${unique.length} bad field${unique.length > 1 ? 's' : ''}: ${unique.join('; ')}`, {
      file: this.file,
    });
  }

  /** A reader of an object inside this one; problems name its path. */
  within(name: string, object: RawConfig): ConfigReader {
    const prefix = this.#prefix === '' ? name : `${this.#prefix}.${name}`;
    return new ConfigReader(object, this.file, this.modelType, prefix, this.#shared);
  }

  /** The value in the file (aliases included), else the class's default; undefined where neither has it. */
  raw(field: string): RawValue | undefined {
    const given = own(this.#config, field);
    const alias = this.#prefix === '' ? configAliases[this.modelType]?.get(field) : undefined;
    if (alias === undefined) return given === undefined ? own(this.#defaults, field) : given;
    const other = own(this.#config, alias);
    if (given !== undefined && other !== undefined && given !== other)
      this.problem(field, `the value of ${alias}`, given);
    return given ?? other ?? own(this.#defaults, field) ?? own(this.#defaults, alias);
  }

  /** Like `raw`, with values that the class derives from other fields where this one is absent or null. */
  value(field: string): RawValue | undefined {
    const value = this.raw(field);
    if ((value !== undefined && value !== null) || this.#prefix !== '') return value;
    return derivedDefault(this.modelType, field, (name) => this.raw(name)) ?? value;
  }

  /** Whether the file itself has the field, not null. */
  has(field: string): boolean {
    return (own(this.#config, field) ?? null) !== null;
  }

  #number(field: string, value: RawValue | undefined, rules: NumberRules, integer: boolean): number {
    const all: NumberRules = { ...kRanges[field], ...rules };
    const given = value === undefined ? rules.default : value;
    const good =
      typeof given === 'number' &&
      (integer ? Number.isSafeInteger(given) : Number.isFinite(given)) &&
      (all.min === undefined || given >= all.min) &&
      (all.max === undefined || given <= all.max) &&
      (all.above === undefined || given > all.above);
    if (good) return given;
    this.problem(field, describe(all, integer ? 'an integer' : 'a number'), given);
    return Math.max(all.min ?? 1, 1);
  }

  int(field: string, rules: NumberRules = {}): number {
    return this.#number(field, this.value(field), rules, true);
  }

  num(field: string, rules: NumberRules = {}): number {
    return this.#number(field, this.value(field), rules, false);
  }

  /** Undefined where the field is absent (and has no default) or null. */
  optionalInt(field: string, rules: NumberRules = {}): number | undefined {
    const value = this.value(field) ?? rules.default;
    return value === undefined ? undefined : this.#number(field, value, rules, true);
  }

  optionalNum(field: string, rules: NumberRules = {}): number | undefined {
    const value = this.value(field) ?? rules.default;
    return value === undefined ? undefined : this.#number(field, value, rules, false);
  }

  /** A list of numbers, of a given length where `rules.length` says so. */
  nums(field: string, rules: NumberRules & { readonly length?: number } = {}): readonly number[] {
    const value = this.value(field);
    const length = rules.length;
    if (!Array.isArray(value) || (length !== undefined && value.length !== length)) {
      this.problem(field, `a list of ${length ?? ''} numbers`, Array.isArray(value) ? `${value.length} items` : value);
      return [];
    }
    return (value as readonly RawValue[]).map((item, index) => this.#number(`${field}[${index}]`, item, rules, false));
  }

  bool(field: string, byDefault?: boolean): boolean {
    const value = this.value(field);
    const given = value === undefined ? byDefault : value;
    if (typeof given === 'boolean') return given;
    this.problem(field, 'true or false', given);
    return false;
  }

  str(field: string, options: { readonly default?: string } = {}): string {
    const value = this.value(field);
    const given = value === undefined ? options.default : value;
    if (typeof given === 'string' && given !== '') return given;
    this.problem(field, 'a string', given);
    return '';
  }

  optionalStr(field: string): string | undefined {
    const value = this.value(field);
    return value === undefined || value === null ? undefined : this.str(field);
  }

  oneOf<const T extends string>(field: string, allowed: readonly T[], byDefault?: NoInfer<T>): T {
    const value = this.value(field);
    const given = value === undefined ? byDefault : value;
    const found = allowed.find((item) => item === given);
    if (found !== undefined) return found;
    this.problem(field, allowed.join(', '), given);
    return allowed[0] as T;
  }

  /** Refuses a field whose value asks for something that the model does not do. */
  only(field: string, allowed: RawValue, why: string): void {
    const value = this.value(field);
    if (value !== undefined && value !== null && value !== allowed) {
      this.problem(field, `${JSON.stringify(allowed)} (${why})`, value);
    }
  }

  /**
   * The feed-forward activation. Gemma files carry a corrected `hidden_activation` beside `hidden_act`; it wins where it
   * is not null.
   */
  activation(
    field = this.raw('hidden_activation') ? 'hidden_activation' : 'hidden_act',
    name = this.str(field),
  ): ActivationName {
    const known = kActivations[name];
    if (known !== undefined) return known;
    this.problem(field, Object.keys(kActivations).join(', '), name);
    return 'silu';
  }

  headDim(): number {
    return this.int('head_dim');
  }

  /** Attention kind of each layer, as the file gives it or the class derives it. */
  layerTypes(): readonly LayerType[] {
    const layers = this.int('num_hidden_layers');
    const value = this.value('layer_types');
    const isType = (item: unknown): item is LayerType => item === 'full_attention' || item === 'sliding_attention';
    if (Array.isArray(value) && value.length === layers && value.every(isType)) return value as readonly LayerType[];
    const found = Array.isArray(value) ? `${value.length} items: ${[...new Set(value)].slice(0, 4).join(', ')}` : value;
    this.problem('layer_types', `${layers} times full_attention or sliding_attention`, found);
    return Array.from({ length: layers }, () => 'full_attention' as const);
  }

  /** Sliding window in keys (the query's own included), or undefined where the model uses none. */
  slidingWindow(): number | undefined {
    if (this.value('use_sliding_window') === false) return undefined;
    return this.optionalInt('sliding_window');
  }

  /** Rotary embedding of all layers, or of one layer type where a model has several. */
  rope(layerType?: LayerType): RopeConfig {
    return readRope(this, layerType);
  }

  /** Type that the weights were saved in: v5's `dtype` or v4's `torch_dtype`. */
  dtype(): 'f32' | 'f16' | 'bf16' | undefined {
    const field = this.has('dtype') ? 'dtype' : 'torch_dtype';
    if (!this.has(field)) return undefined;
    const name = this.oneOf(field, ['float32', 'float16', 'bfloat16']);
    return name === 'float32' ? 'f32' : name === 'float16' ? 'f16' : 'bf16';
  }

  /** Ids of a special token: a number, a list, or none. Ids outside the vocabulary are problems. */
  tokenIds(field: string): readonly number[] {
    const value = this.value(field);
    const inFile = own(this.#config, field) !== undefined;
    const vocab = this.int('vocab_size', { default: 2 ** 24 });
    const ids = value === undefined || value === null ? [] : Array.isArray(value) ? value : [value];
    const good = (id: unknown): id is number => typeof id === 'number' && Number.isInteger(id) && id >= 0 && id < vocab;
    // A class default beyond a small vocabulary, and the usual -1 for "no padding", mean none.
    if (!inFile) return ids.filter(good);
    if (field === 'pad_token_id' && value === -1) return [];
    if (!ids.every(good)) this.problem(field, `ids from 0 to ${vocab - 1}`, value);
    return ids.filter(good);
  }

  /** Names of a classifier's classes: id2label in the order of its numbers, else LABEL_n for num_labels (2) classes. */
  labels(): readonly string[] {
    const names = this.raw('id2label');
    if (names === undefined || names === null)
      return Array.from(
        { length: this.int('num_labels', { default: 2, min: 1, max: 65_536 }) },
        (_, i) => `LABEL_${i}`,
      );
    const entries = typeof names === 'object' && !Array.isArray(names) ? Object.entries(names) : [];
    const listed = Array.from({ length: entries.length }, (_, i) => entries.find(([key]) => key === String(i))?.[1]);
    if (listed.length > 0 && listed.every((label): label is string => typeof label === 'string')) return listed;
    this.problem('id2label', 'names under "0", "1", … without gaps', names);
    return ['LABEL_0'];
  }

  /** Class names; none where the field is absent or null. */
  get architectures(): readonly string[] {
    const value = this.raw('architectures') ?? [];
    if (Array.isArray(value) && value.every((item) => typeof item === 'string')) return value;
    this.problem('architectures', 'a list of class names', value);
    return [];
  }
}

/** Rules between fields, for the model types of defaults.ts. */
function checkKnown(config: ConfigReader): void {
  for (const [field, byDefault] of Object.entries(configDefaults[config.modelType] ?? {})) {
    const rules = kRanges[field];
    const off = config.value(field) === null && (byDefault === null || kNullable.includes(field));
    if (rules === undefined || off) continue;
    if (rules.above !== undefined) config.num(field);
    else config.int(field);
  }
  config.bool('tie_word_embeddings');
  for (const field of ['bos_token_id', 'eos_token_id', 'pad_token_id']) config.tokenIds(field);
  const heads = config.int('num_attention_heads');
  if (config.modelType === 'gpt2') {
    const width = config.int('n_embd');
    if (width % heads !== 0) config.problem('n_embd', `a multiple of n_head (${heads})`, width);
    return;
  }
  const groups = config.int('num_key_value_heads');
  if (heads % groups !== 0)
    config.problem('num_key_value_heads', `a divisor of num_attention_heads (${heads})`, groups);
  const width = config.int('hidden_size');
  if (!config.has('head_dim') && config.raw('head_dim') == null && width % heads !== 0) {
    config.problem('hidden_size', `a multiple of num_attention_heads (${heads})`, width);
    return;
  }
  const headDim = config.headDim();
  const defaults = configDefaults[config.modelType] ?? {};
  if (!('rope_theta' in defaults || 'global_rope_theta' in defaults)) return;
  const rope = config.rope();
  const dims = Math.floor(headDim * rope.partialRotaryFactor);
  if (dims < 2 || dims % 2 !== 0) config.problem('head_dim', 'an even number of rotated dimensions', dims);
  if (config.value('layer_types') !== undefined) config.layerTypes();
  if (config.modelType === 'gemma3_text') config.rope('sliding_attention');
}

/** Opens the config of a checkpoint for a model: everything that the class of its model type declares is checked here. */
export function readConfig(checkpoint: Pick<Checkpoint, 'config' | 'configFile'>): ConfigReader {
  const type = checkpoint.config.model_type;
  const file = checkpoint.configFile;
  if (type !== undefined && typeof type !== 'string') {
    throw new ConfigError('bad model_type', { file, name: 'model_type', expected: 'a string', found: type });
  }
  const config = new ConfigReader(checkpoint.config, file, type ?? '');
  if (configDefaults[config.modelType] !== undefined) config.collect(() => checkKnown(config));
  return config;
}
