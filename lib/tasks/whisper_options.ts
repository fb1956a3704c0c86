import { getRandomValues } from 'node:crypto';
import { OptionError } from '../errors.js';
import { generateRules } from '../generation/option_table.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { checkObject, checkSignal } from './arguments.js';
import type { WhisperOptions } from './speech.js';
import { languageIn, type WhisperConfig } from './whisper_config.js';

/** What a call asks for, checked, with the checkpoint's own values where it says nothing. */
export interface WhisperPlan {
  readonly language: number | undefined;
  readonly task: 'transcribe' | 'translate';
  readonly times: boolean;
  /** Times of words too. */
  readonly words: boolean;
  /** Tried one after another until a window's text is good enough. */
  readonly temperatures: readonly number[];
  readonly logprobThreshold: number | undefined;
  readonly compressionRatioThreshold: number | undefined;
  readonly noSpeechThreshold: number | undefined;
  readonly seed: bigint;
  /** At temperature 0. */
  readonly beams: number;
  /** Ids that the first window begins after (or all do), <|startofprev|> among them. */
  readonly prompt: readonly number[] | undefined;
  /** Each window begins after the text of those before. */
  readonly conditioned: boolean;
  /** The prompt stays before earlier text. */
  readonly promptStays: boolean;
  readonly signal: AbortSignal | undefined;
}

const names = [
  ...['language', 'task', 'timestamps', 'temperatures', 'logprobThreshold', 'compressionRatioThreshold'],
  ...['noSpeechThreshold', 'seed', 'numBeams', 'prompt', 'promptCondition', 'conditionOnPrevTokens', 'signal'],
];

function refuse(name: string, expected: string, found: unknown, hint?: string): never {
  throw new OptionError(`bad ${name}`, { name, expected, found, hint });
}

function checkTemperatures(found: unknown): void {
  const expected = '1 to 64 numbers from 0 to 100';
  if (!Array.isArray(found) || found.length === 0 || found.length > 64) refuse('temperatures', expected, found);
  for (const t of found) if (typeof t !== 'number' || !(t >= 0 && t <= 100)) refuse('temperatures', expected, t);
}

function checkNumber(name: string, found: unknown, least: number, most: number): void {
  if (found === undefined || (typeof found === 'number' && found >= least && found <= most)) return;
  refuse(name, `a number from ${least} to ${most}`, found);
}

function checkSpeech({ language, task, timestamps }: WhisperOptions, config: WhisperConfig): void {
  if (timestamps !== undefined && typeof timestamps !== 'boolean' && timestamps !== 'word')
    refuse('timestamps', "true, false or 'word'", timestamps);
  if (timestamps === 'word' && config.alignmentHeads === undefined)
    refuse('timestamps', 'a checkpoint with alignment_heads in generation_config.json', timestamps);
  if (timestamps !== undefined && timestamps !== false && config.noTimes === undefined)
    refuse('timestamps', 'a checkpoint with no_timestamps_token_id', timestamps);
  if (language !== undefined) {
    if (!config.multilingual) refuse('language', 'nothing: the model hears English only', language);
    languageIn(config.languages, language);
  }
  if (task === undefined) return;
  if (task !== 'transcribe' && task !== 'translate') refuse('task', 'transcribe or translate', task);
  if (!config.multilingual || config.tasks[task] === undefined)
    refuse('task', 'nothing: the model writes what it hears', task);
}

/** What would do nothing is refused. */
function checkFallback(options: WhisperOptions, config: WhisperConfig): void {
  const {
    temperatures = [0],
    logprobThreshold,
    compressionRatioThreshold,
    noSpeechThreshold,
    seed,
    numBeams,
  } = options;
  checkTemperatures(temperatures);
  checkNumber('logprobThreshold', logprobThreshold, -1000, 0);
  checkNumber('compressionRatioThreshold', compressionRatioThreshold, 0, 1000);
  checkNumber('noSpeechThreshold', noSpeechThreshold, 0, 1);
  const several = 'Give several temperatures, such as [0, 0.2, 0.4, 0.6, 0.8, 1]';
  if (compressionRatioThreshold !== undefined && temperatures.length === 1)
    refuse('compressionRatioThreshold', 'temperatures to go on with', temperatures, several);
  if (logprobThreshold !== undefined && temperatures.length === 1 && noSpeechThreshold === undefined)
    refuse('logprobThreshold', 'temperatures to go on with, or noSpeechThreshold', temperatures, several);
  const thresholds = [logprobThreshold, compressionRatioThreshold].concat(
    config.logprobThreshold,
    config.compressionRatioThreshold,
  );
  if (temperatures.length > 1 && thresholds.every((t) => t === undefined))
    refuse('temperatures', 'logprobThreshold or compressionRatioThreshold with them', temperatures);
  if (noSpeechThreshold !== undefined) {
    if (config.noTimes === undefined)
      refuse('noSpeechThreshold', 'a checkpoint with no_timestamps_token_id', noSpeechThreshold);
    if (logprobThreshold === undefined && config.logprobThreshold === undefined)
      refuse('noSpeechThreshold', 'logprobThreshold with it', noSpeechThreshold);
  }
  if (numBeams !== undefined) {
    generateRules.numBeams!(numBeams, 'numBeams');
    if (numBeams > 1 && temperatures.every((t) => t > 0)) refuse('numBeams', 'temperature 0 with it', temperatures);
  }
  if (seed === undefined) return;
  generateRules.seed!(seed, 'seed');
  if (temperatures.every((t) => t === 0)) refuse('seed', 'a temperature above 0 with it', seed);
}

function checkPrompt(options: WhisperOptions, config: WhisperConfig): void {
  const { prompt, promptCondition: when, conditionOnPrevTokens: conditioned } = options;
  if (conditioned !== undefined && typeof conditioned !== 'boolean')
    refuse('conditionOnPrevTokens', 'true or false', conditioned);
  if (when !== undefined) {
    if (when !== 'first-segment' && when !== 'all-segments')
      refuse('promptCondition', 'first-segment or all-segments', when);
    if (prompt === undefined) refuse('promptCondition', 'prompt with it', when);
    if (when === 'all-segments' && !(conditioned ?? config.conditioned))
      refuse('promptCondition', 'conditionOnPrevTokens with it', when);
  }
  if (prompt === undefined) return;
  if (config.prevStart === undefined) refuse('prompt', 'a checkpoint with prev_sot_token_id', prompt);
  if (typeof prompt === 'string') {
    if (prompt.trim() === '' || /\p{Surrogate}/u.test(prompt)) refuse('prompt', 'a well-formed text', prompt);
    if (prompt.length > 65_536) refuse('prompt', 'at most 65536 characters', prompt.length);
    return;
  }
  if ((!Array.isArray(prompt) && !(prompt instanceof Int32Array)) || prompt.length === 0 || prompt.length > 65_536)
    refuse('prompt', 'a text, or a list of ids', prompt);
  const good = (id: unknown): boolean => typeof id === 'number' && Number.isInteger(id) && id >= 0 && id < config.vocab;
  const bad = Array.from(prompt).findIndex((id) => !good(id));
  if (bad >= 0) refuse('prompt', `ids from 0 to ${config.vocab - 1}`, prompt[bad]);
}

/** Ids of a prompt as WhisperTokenizer.get_prompt_ids has them; ids are taken as they are. */
async function promptIds(
  prompt: WhisperOptions['prompt'],
  config: WhisperConfig,
  tokenizer: Tokenizer,
): Promise<readonly number[] | undefined> {
  if (prompt === undefined || typeof prompt !== 'string') return prompt && Array.from(prompt);
  const ids = await tokenizer.encode(` ${prompt.trim()}`, { addSpecial: false, specialTokens: true });
  const special = ids.find((id) => id >= config.eos);
  if (special !== undefined)
    refuse('prompt', 'a text without special tokens', tokenizer.decode([special], { skipSpecial: false }));
  return [config.prevStart!, ...ids];
}

/** Throws OptionError for what is wrong, means nothing for this checkpoint, or would do nothing. */
export function whisperPlan(options: WhisperOptions, config: WhisperConfig): WhisperPlan {
  checkObject('options', options, names);
  checkSignal(options.signal);
  checkSpeech(options, config);
  checkFallback(options, config);
  checkPrompt(options, config);
  const { language, seed } = options;
  return {
    language: language === undefined ? undefined : config.languages.get(languageIn(config.languages, language)),
    task: options.task ?? 'transcribe',
    times: options.timestamps === true || options.timestamps === 'word',
    words: options.timestamps === 'word',
    temperatures: [...(options.temperatures ?? [0])],
    logprobThreshold: options.logprobThreshold ?? config.logprobThreshold,
    compressionRatioThreshold: options.compressionRatioThreshold ?? config.compressionRatioThreshold,
    noSpeechThreshold: options.noSpeechThreshold ?? config.noSpeechThreshold,
    seed: seed === undefined ? getRandomValues(new BigUint64Array(1))[0]! : BigInt(seed),
    beams: options.numBeams ?? config.beams,
    prompt: undefined,
    conditioned: options.conditionOnPrevTokens ?? config.conditioned,
    promptStays: options.promptCondition === 'all-segments',
    signal: options.signal,
  };
}

/** As `whisperPlan`, with the ids of a prompt, which its tokenizer may have to find. */
export async function promptedPlan(
  options: WhisperOptions,
  config: WhisperConfig,
  tokenizer: Tokenizer,
): Promise<WhisperPlan> {
  return { ...whisperPlan(options, config), prompt: await promptIds(options.prompt, config, tokenizer) };
}
