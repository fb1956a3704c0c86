/** How an encoder-decoder is told what to make of a text: language tokens (mBART, NLLB, M2M-100, Marian) or words (T5). */
import { InputError, OptionError } from '../errors.js';
import { nearest } from '../nearest.js';
import type { LanguageCodes, Tokenizer } from '../text/tokenizer.js';
import { taskParams } from '../weights/generation_config.js';
import type { RawConfig } from '../weights/types.js';

export interface LanguageOptions {
  /** Language of the text, as the checkpoint names it: `en_XX`, `eng_Latn`, `en`. */
  readonly from?: string | undefined;
  /** Language of the translation. Which codes there are: `model.tokenizer.languages`, or an error's list. */
  readonly to?: string | undefined;
}

/** What is done with each text of a task. */
export interface TextPlan {
  /** Ids of a text. */
  encode(text: string): Promise<Int32Array>;
  /** Ids of a text that the model is to have written, those that `start` ends with included. */
  encodeTarget(text: string): Promise<Int32Array>;
  /** What the decoder begins with in place of its own; the first `start.length - forced` of it are no text. */
  readonly start?: { readonly ids: Int32Array; readonly forced: number } | undefined;
  /** Its name in `task_specific_params`, where it was found there. */
  readonly task?: string | undefined;
}

/** The parts of a model that a plan is made of. */
export interface PlanModel {
  readonly tokenizer: Tokenizer | undefined;
  readonly config: RawConfig;
  readonly configFile: string;
  /** decoder_start_token_id. */
  readonly startId: number;
  /** Whether the checkpoint itself names the language that it writes. */
  readonly hasForced: boolean;
}

function needTokenizer(model: PlanModel): Tokenizer {
  if (model.tokenizer !== undefined) return model.tokenizer;
  throw new InputError('this checkpoint has no tokenizer', { file: model.configFile, hint: 'Give token ids' });
}

/** Codes are listed with those nearest to `found` first. */
function unknownCode(name: string, found: unknown, codes: Iterable<string>): OptionError {
  const all = [...codes];
  const near = typeof found === 'string' ? nearest(found, all) : all.slice(0, 5);
  const rest = all.filter((code) => !near.includes(code));
  const shown = rest.length > 12 ? [...rest.slice(0, 12), `… (${all.length} in all)`] : rest;
  return new OptionError(`no such language: ${name}`, {
    name,
    expected: [...near, ...shown].join(', '),
    found,
    ...(near.length > 0 && { hint: `Nearest: ${near.join(', ')}` }),
  });
}

function idOf(languages: LanguageCodes, name: 'from' | 'to', code: string): number {
  const id = languages.ids.get(code);
  if (id === undefined) throw unknownCode(name, code, languages.ids.keys());
  return id;
}

function plain(tokenizer: Tokenizer, prefix = ''): TextPlan {
  return {
    encode: (text) => tokenizer.encode(prefix + text),
    encodeTarget: (text) => tokenizer.encode(text, { target: true }),
  };
}

/** What the config says is put before texts of each pair of languages: `translate English to German: `. */
function translationPrefixes(config: RawConfig): Map<string, string> {
  const tasks = Object.keys((config.task_specific_params as RawConfig | null | undefined) ?? {});
  const named = tasks.filter((task) => taskParams(config, task) !== undefined && /^translation_.+_to_/.test(task));
  return new Map(named.map((task) => [task, prefixOf(config, task)]));
}

/** What is put before texts of a task: its own prefix, or that of all (pipelines of transformers). */
function prefixOf(config: RawConfig, task: string | undefined): string {
  const own = task === undefined ? undefined : taskParams(config, task)?.prefix;
  const prefix = own ?? config.prefix;
  return typeof prefix === 'string' ? prefix : '';
}

/** Marian: the target's token before the text. */
function withTarget(tokenizer: Tokenizer, languages: LanguageCodes, { from, to }: LanguageOptions): TextPlan {
  if (from !== undefined) {
    throw new OptionError('this checkpoint reads one language only', {
      name: 'from',
      expected: 'only to',
      found: from,
    });
  }
  if (to === undefined) return plain(tokenizer); // The text itself may begin with >>code<<.
  const id = idOf(languages, 'to', to);
  return {
    ...plain(tokenizer),
    encode: async (text) => Int32Array.from([id, ...(await tokenizer.encode(text))]),
  };
}

/** mBART, NLLB, M2M-100: the source's token by the text, the target's where the decoder begins. */
function withLanguages(
  model: PlanModel,
  tokenizer: Tokenizer,
  languages: LanguageCodes,
  { from, to }: LanguageOptions,
): TextPlan {
  const { place, writes } = languages;
  const end = tokenizer.eosIds[0];
  const source = from === undefined ? undefined : idOf(languages, 'from', from);
  if (to === undefined && !model.hasForced && writes === 'forced') {
    const near = [...languages.ids.keys()].slice(0, 12).join(', ');
    throw new OptionError('translate() needs the language to translate to', { name: 'to', expected: `${near}, …` });
  }
  const target = to === undefined ? undefined : idOf(languages, 'to', to);
  const marked = (language: number, ids: Int32Array): Int32Array => {
    const ends = end === undefined ? [] : [end];
    return Int32Array.from(place === 'after' ? [...ids, ...ends, language] : [language, ...ids, ...ends]);
  };
  const bare = (text: string, written: boolean): Promise<Int32Array> =>
    tokenizer.encode(text, { addSpecial: false, target: written });
  const ids = target === undefined ? undefined : writes === 'start' ? [target] : [model.startId, target];
  return {
    encode: async (text) => (source === undefined ? tokenizer.encode(text) : marked(source, await bare(text, false))),
    encodeTarget: async (text) => {
      const made = await bare(text, true);
      const first = target !== undefined && writes === 'forced' ? [target] : [];
      return Int32Array.from([...first, ...made, ...(end === undefined ? [] : [end])]);
    },
    start: ids && { ids: Int32Array.from(ids), forced: ids.length - 1 },
  };
}

/** T5: words before the text, by pair of languages. */
function withPrefix(model: PlanModel, prefixes: ReadonlyMap<string, string>, { from, to }: LanguageOptions): TextPlan {
  const pairs = [...prefixes.keys()].flatMap((task) => {
    const [, source, target] = /^translation_(.+)_to_(.+)$/.exec(task) ?? [];
    return source !== undefined && target !== undefined ? [{ task, source, target }] : [];
  });
  const found = pairs.filter((p) => (from ?? p.source) === p.source && (to ?? p.target) === p.target);
  const [pair] = found;
  if (pair !== undefined && found.length === 1)
    return { ...plain(needTokenizer(model), prefixes.get(pair.task)), task: pair.task };
  throw new OptionError(`translate() needs ${found.length > 1 ? 'one' : 'a known'} pair of languages`, {
    name: to === undefined ? 'to' : 'from',
    expected: pairs.map((p) => `${p.source} to ${p.target}`).join(', '),
    found: `${from ?? '(not given)'} to ${to ?? '(not given)'}`,
  });
}

/** What `translate` does with texts. Throws OptionError for languages that the checkpoint does not have. */
export function translationPlan(model: PlanModel, options: LanguageOptions): TextPlan | undefined {
  const { tokenizer } = model;
  for (const name of ['from', 'to'] as const) {
    if (options[name] !== undefined && typeof options[name] !== 'string')
      throw new OptionError(`bad ${name}`, { name, expected: 'the code of a language', found: options[name] });
  }
  const given = options.from ?? options.to;
  const languages = tokenizer?.languages;
  if (tokenizer !== undefined && languages !== undefined) {
    return languages.place === 'target'
      ? withTarget(tokenizer, languages, options)
      : withLanguages(model, tokenizer, languages, options);
  }
  const prefixes = translationPrefixes(model.config);
  if (prefixes.size > 0) return withPrefix(model, prefixes, options);
  if (given !== undefined) {
    const hint = 'Leave from and to out: it does what it was trained for';
    throw new OptionError('this checkpoint has no language codes', { name: 'from, to', found: given, hint });
  }
  return tokenizer === undefined ? undefined : plain(tokenizer, prefixOf(model.config, undefined));
}

/** What `summarize` does with texts. */
export function summaryPlan({ config, tokenizer }: PlanModel): TextPlan | undefined {
  return tokenizer === undefined ? undefined : plain(tokenizer, prefixOf(config, summaryTask));
}

/** The name of summarising in `task_specific_params`. */
export const summaryTask = 'summarization';
