/** Pre-tokenisers of tokenizer.json: text → pieces that the model sees apart. */
import { TokenizerError, UnsupportedError } from '../errors.js';
import { type Aligned, nextCharacter, Rewriter } from './aligned.js';
import { prepended, replacedLiteral } from './aligned_normalizers.js';
import { checkPattern } from './patterns.js';
import { byteChars, isObject, type Json, type JsonObject } from './spec.js';

/** @param first whether the text begins the whole input */
export type PreTokenize = (text: string, first: boolean) => string[];
/** The same over a text that remembers the original. */
export type AlignedPreTokenize = (text: Aligned, first: boolean) => Aligned[];

export interface PreTokenizer {
  readonly split: PreTokenize;
  readonly align: AlignedPreTokenize;
  /** The model's vocabulary is spelled in byte characters; pieces come as plain text. */
  readonly byteLevel: boolean;
}

interface Step {
  readonly split: PreTokenize;
  readonly align: AlignedPreTokenize;
}

type Behavior = 'Removed' | 'Isolated' | 'MergedWithPrevious' | 'MergedWithNext' | 'Contiguous';
/** Text → begin, end, begin, end, … of its pieces. */
type Cut = (text: string) => number[];

/** Cuts at matches; `behavior` says where the matches go. */
function cutBy(regex: RegExp, behavior: Behavior, invert: boolean): Cut {
  return (text) => {
    const out: number[] = [];
    /** Begin of a match that waits for the text after it. */
    let waiting = -1;
    let lastWasMatch = false;
    const add = (begin: number, end: number, isMatch: boolean): void => {
      if (begin === end) return;
      const match = isMatch !== invert;
      if (!match) {
        out.push(waiting < 0 ? begin : waiting, end);
        waiting = -1;
      } else if (behavior === 'Isolated') out.push(begin, end);
      else if (behavior === 'MergedWithPrevious' && out.length > 0 && !lastWasMatch) out[out.length - 1] = end;
      else if (behavior === 'Contiguous' && out.length > 0 && lastWasMatch) out[out.length - 1] = end;
      else if (behavior === 'MergedWithPrevious' || behavior === 'Contiguous') out.push(begin, end);
      else if (behavior === 'MergedWithNext') {
        if (waiting >= 0) out.push(waiting, begin);
        waiting = begin;
      }
      lastWasMatch = match;
    };
    let from = 0;
    regex.lastIndex = 0;
    for (let found = regex.exec(text); found !== null; found = regex.exec(text)) {
      add(from, found.index, false);
      from = found.index + found[0].length;
      add(found.index, from, true);
      // A match of nothing stays where it is.
      if (from === found.index) regex.lastIndex = from < text.length ? nextCharacter(text, from) : from + 1;
    }
    add(from, text.length, false);
    if (waiting >= 0) out.push(waiting, text.length);
    return out;
  };
}

function pieces<T extends { slice(from: number, to: number): T }>(text: T, ranges: readonly number[]): T[] {
  const out = new Array<T>(ranges.length / 2);
  for (let i = 0; i < ranges.length; i += 2) out[i / 2] = text.slice(ranges[i] as number, ranges[i + 1] as number);
  return out;
}

function cutting(cut: Cut): Step {
  return { split: (text) => pieces(text, cut(text)), align: (source) => pieces(source, cut(source.text)) };
}

const splitBy = (regex: RegExp, behavior: Behavior, invert: boolean): Step => cutting(cutBy(regex, behavior, invert));

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
  const wants = (text: string, first: boolean): boolean =>
    !text.startsWith(mark) && (scheme === 'always' || (scheme === 'first' && first));
  return {
    split: (text, first) => {
      let out = text.replaceAll(' ', mark);
      if (wants(out, first)) out = mark + out;
      return cut === undefined ? [out] : cut.split(out, first);
    },
    align: (source, first) => {
      let out = replacedLiteral(source, ' ', mark);
      if (wants(out.text, first)) out = prepended(out, mark);
      return cut === undefined ? [out] : cut.align(out, first);
    },
  };
}

/** `\w+|[^\w\s]+` as Rust's regex reads it: joiners are word characters. */
const wordsOrSymbols =
  /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]+|[^\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}\p{White_Space}]+/gu;
const punctuation = /[\p{P}\u0021-\u002F\u003A-\u0040\u005B-\u0060\u007B-\u007E]/gu;

/** GPT-2's byte-level step. The last one of a sequence leaves the pieces as text: the model spells the bytes. */
function byteLevel(config: JsonObject, spell: boolean): Step {
  const regex =
    /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;
  const prefix = config.add_prefix_space === true;
  const useRegex = config.use_regex !== false;
  const utf8 = new TextEncoder();
  const spelled = (piece: string): string => Array.from(utf8.encode(piece), (b) => byteChars[b]).join('');
  const alignedSpelled = (source: Aligned): Aligned => {
    const out = new Rewriter(source);
    for (const character of source.text) {
      let change = 0;
      for (const byte of utf8.encode(character)) {
        out.put(byteChars[byte] as string, change);
        change = 1;
      }
    }
    return out.done();
  };
  // The pattern matches every character, so its matches are all the pieces.
  const cut = cutBy(regex, 'Isolated', false);
  return {
    split: (piece) => {
      const text = prefix && !piece.startsWith(' ') ? ` ${piece}` : piece;
      const found = useRegex ? (text.match(regex) ?? []) : [text];
      return spell ? found.map(spelled) : found;
    },
    align: (piece) => {
      const source = prefix && !piece.text.startsWith(' ') ? prepended(piece, ' ') : piece;
      const found = useRegex ? pieces(source, cut(source.text)) : [source];
      return spell ? found.map(alignedSpelled) : found;
    },
  };
}

function fixedLength(config: JsonObject, origin: string): Step {
  const length = config.length;
  if (typeof length !== 'number' || !Number.isInteger(length) || length < 1) {
    throw new TokenizerError('FixedLength needs a length of at least 1', { file: origin, found: length });
  }
  return cutting((text) => {
    const out: number[] = [];
    for (let from = 0, to = 0; from < text.length; from = to) {
      for (let n = 0; n < length && to < text.length; n += 1) to = nextCharacter(text, to);
      out.push(from, to);
    }
    return out;
  });
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
      return splitBy(wordsOrSymbols, 'Removed', true);
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
      return {
        split: (text, first) => words.split(text, first).flatMap((word) => marks.split(word, false)),
        align: (text, first) => words.align(text, first).flatMap((word) => marks.align(word, false)),
      };
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
  const through = <T>(text: T, first: boolean, of: (step: Step) => (piece: T, first: boolean) => T[]): T[] => {
    let found = [text];
    for (const each of steps) {
      const next = of(each);
      if (found.length === 1) found = next(found[0] as T, first);
      else found = found.flatMap((piece, i) => next(piece, first && i === 0));
    }
    return found;
  };
  return {
    split: (text, first) => through(text, first, (each) => each.split),
    align: (text, first) => through(text, first, (each) => each.align),
    byteLevel: byteLevelLast,
  };
}
