/** Pre-tokenisers of tokenizer.json: text → pieces that the model sees apart. */
import { TokenizerError, UnsupportedError } from '../errors.js';
import { checkPattern } from './patterns.js';
import { byteChars, isObject, type Json, type JsonObject } from './spec.js';

/** @param first whether the text begins the whole input */
export type PreTokenize = (text: string, first: boolean) => string[];

export interface PreTokenizer {
  readonly split: PreTokenize;
  /** The model's vocabulary is spelled in byte characters; pieces come as plain text. */
  readonly byteLevel: boolean;
}

type Step = (piece: string, first: boolean) => string[];
type Behavior = 'Removed' | 'Isolated' | 'MergedWithPrevious' | 'MergedWithNext' | 'Contiguous';

/** Splits at matches; `behavior` says where the matches go. */
function splitBy(regex: RegExp, behavior: Behavior, invert: boolean): Step {
  return (text) => {
    const out: string[] = [];
    let joinNext = '';
    let lastWasMatch = false;
    const add = (piece: string, isMatch: boolean): void => {
      if (piece === '') return;
      const match = isMatch !== invert;
      if (!match) {
        out.push(joinNext + piece);
        joinNext = '';
      } else if (behavior === 'Isolated') out.push(piece);
      else if (behavior === 'MergedWithPrevious' && out.length > 0 && !lastWasMatch) out[out.length - 1] += piece;
      else if (behavior === 'Contiguous' && out.length > 0 && lastWasMatch) out[out.length - 1] += piece;
      else if (behavior === 'MergedWithPrevious' || behavior === 'Contiguous') out.push(piece);
      else if (behavior === 'MergedWithNext') {
        if (joinNext !== '') out.push(joinNext);
        joinNext = piece;
      }
      lastWasMatch = match;
    };
    let from = 0;
    for (const found of text.matchAll(regex)) {
      add(text.slice(from, found.index), false);
      add(found[0], true);
      from = found.index + found[0].length;
    }
    add(text.slice(from), false);
    if (joinNext !== '') out.push(joinNext);
    return out;
  };
}

const behaviors = new Map<string, Behavior>(
  (['Removed', 'Isolated', 'MergedWithPrevious', 'MergedWithNext', 'Contiguous'] as const).map((b) => [
    b.toLowerCase(),
    b,
  ]),
);

function behaviorOf(value: Json | undefined, fallback: Behavior, origin: string): Behavior {
  if (value === undefined) return fallback;
  const found = behaviors.get(String(value).toLowerCase().replaceAll('_', ''));
  if (found === undefined) throw new TokenizerError('unknown split behavior', { file: origin, found: value });
  return found;
}

function metaspace(config: JsonObject, origin: string): Step {
  const mark = typeof config.replacement === 'string' ? config.replacement : '▁';
  const scheme = config.prepend_scheme ?? (config.add_prefix_space === false ? 'never' : 'always');
  if (scheme !== 'always' && scheme !== 'first' && scheme !== 'never') {
    throw new TokenizerError('unknown prepend_scheme', { file: origin, found: scheme });
  }
  const escaped = mark.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
  const cut = config.split === false ? undefined : splitBy(new RegExp(escaped, 'gu'), 'MergedWithNext', false);
  return (text, first) => {
    let out = text.replaceAll(' ', mark);
    if (!out.startsWith(mark) && (scheme === 'always' || (scheme === 'first' && first))) out = mark + out;
    return cut === undefined ? [out] : cut(out, first);
  };
}

const punctuation = /[\p{P}\u0021-\u002F\u003A-\u0040\u005B-\u0060\u007B-\u007E]/gu;

/** GPT-2's byte-level step. The last one of a sequence leaves the pieces as text: the model spells the bytes. */
function byteLevel(config: JsonObject, spell: boolean): Step {
  const regex =
    /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;
  const prefix = config.add_prefix_space === true;
  const useRegex = config.use_regex !== false;
  const utf8 = new TextEncoder();
  const spelled = (piece: string): string => Array.from(utf8.encode(piece), (b) => byteChars[b]).join('');
  return (piece) => {
    const text = prefix && !piece.startsWith(' ') ? ` ${piece}` : piece;
    const pieces = useRegex ? (text.match(regex) ?? []) : [text];
    return spell ? pieces.map(spelled) : pieces;
  };
}

function fixedLength(config: JsonObject, origin: string): Step {
  const length = config.length;
  if (typeof length !== 'number' || !Number.isInteger(length) || length < 1) {
    throw new TokenizerError('FixedLength needs a length of at least 1', { file: origin, found: length });
  }
  return (text) => {
    const characters = [...text];
    const out: string[] = [];
    for (let i = 0; i < characters.length; i += length) out.push(characters.slice(i, i + length).join(''));
    return out;
  };
}

function step(config: JsonObject, origin: string): Step {
  switch (config.type) {
    case 'Metaspace':
      return metaspace(config, origin);
    case 'ByteLevel':
      return byteLevel(config, true);
    case 'Split':
      return splitBy(
        checkPattern(config.pattern, origin),
        behaviorOf(config.behavior, 'Removed', origin),
        config.invert === true,
      );
    case 'Whitespace':
      return splitBy(checkPattern({ Regex: '\\w+|[^\\w\\s]+' }, origin), 'Removed', true);
    case 'WhitespaceSplit':
      return splitBy(/\p{White_Space}+/gu, 'Removed', false);
    case 'Punctuation':
      return splitBy(punctuation, behaviorOf(config.behavior, 'Isolated', origin), false);
    case 'Digits':
      return splitBy(/\p{N}/gu, config.individual_digits === true ? 'Isolated' : 'Contiguous', false);
    case 'CharDelimiterSplit':
      return splitBy(checkPattern({ String: config.delimiter ?? '' }, origin), 'Removed', false);
    case 'BertPreTokenizer': {
      const words = splitBy(/\p{White_Space}+/gu, 'Removed', false);
      const marks = splitBy(punctuation, 'Isolated', false);
      return (text, first) => words(text, first).flatMap((word) => marks(word, false));
    }
    case 'FixedLength':
      return fixedLength(config, origin);
    default:
      throw new UnsupportedError('pre-tokenizer of a kind that is not supported', { file: origin, found: config.type });
  }
}

function flatten(config: Json, origin: string): JsonObject[] {
  if (config === null) return [];
  if (!isObject(config)) throw new TokenizerError('pre_tokenizer must be an object or null', { file: origin });
  if (config.type !== 'Sequence') return [config];
  const list = Array.isArray(config.pretokenizers) ? config.pretokenizers : [];
  return list.flatMap((item) => flatten(item, origin));
}

/** Pre-tokeniser config (null: the text is one piece) → function. */
export function preTokenizer(config: Json, origin: string): PreTokenizer {
  const configs = flatten(config, origin);
  const byteLevelLast = configs.at(-1)?.type === 'ByteLevel';
  const steps = configs.map((c, i) =>
    byteLevelLast && i === configs.length - 1 ? byteLevel(c, false) : step(c, origin),
  );
  const split: PreTokenize = (text, first) => {
    let pieces = [text];
    for (const next of steps) {
      if (pieces.length === 1) pieces = next(pieces[0] as string, first);
      else pieces = pieces.flatMap((piece, i) => next(piece, first && i === 0));
    }
    return pieces;
  };
  return { split, byteLevel: byteLevelLast };
}
