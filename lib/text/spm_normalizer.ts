/**
 * Normalisation as the sentencepiece library does it (normalizer.cc): the longest rule of the file's map at each place, then
 * spaces become ▁, with one in front, runs of them cut to one and none at the ends, as the file says.
 */
import { TokenizerError } from '../errors.js';
import { CharsMap } from './chars_map.js';
import type { Normalize } from './normalizers.js';
import type { SentencePieceModel } from './sentencepiece.js';
import { PieceType } from './sentencepiece.js';
import type { Json, JsonObject } from './spec.js';

const mark = '▁';

/** The rules of a model as a normaliser config, beside those of tokenizer.json. */
export function spmNormalizerConfig(model: SentencePieceModel): JsonObject {
  return {
    type: 'SentencePiece',
    precompiled_charsmap: model.charsMap,
    add_dummy_prefix: model.addDummyPrefix,
    remove_extra_whitespaces: model.removeExtraWhitespaces,
    escape_whitespaces: model.escapeWhitespaces,
    whitespace_suffix: model.suffix,
    user_defined: model.pieces.filter((piece, i) => model.types[i] === PieceType.userDefined && piece !== ''),
  };
}

/** The longest of some symbols that a text has at a place. */
function longestSymbol(symbols: readonly string[]): (text: string, at: number) => number {
  const byFirst = new Map<string, string[]>();
  for (const symbol of [...symbols].sort((a, b) => b.length - a.length)) {
    const first = symbol[0] as string;
    byFirst.set(first, [...(byFirst.get(first) ?? []), symbol]);
  }
  return (text, at) =>
    byFirst.size === 0
      ? 0
      : (byFirst.get(text[at] as string)?.find((symbol) => text.startsWith(symbol, at))?.length ?? 0);
}

function strings(value: Json | undefined, origin: string): string[] {
  if (Array.isArray(value) && value.every((v) => typeof v === 'string')) return value;
  throw new TokenizerError('user_defined must be a list of strings', { file: origin, found: value });
}

/** The normaliser of `spmNormalizerConfig`. */
export function spmNormalizer(config: JsonObject, origin: string): Normalize {
  const map = new CharsMap(String(config.precompiled_charsmap ?? ''), origin);
  const symbol = longestSymbol(strings(config.user_defined, origin));
  const [removeExtra, dummy] = [config.remove_extra_whitespaces === true, config.add_dummy_prefix === true];
  const space = config.escape_whitespaces === true ? mark : ' ';
  const suffix = config.whitespace_suffix === true;
  return (text) => {
    let out = '';
    let begun = false;
    let afterSpace = removeExtra;
    for (let at = 0; at < text.length; ) {
      let length = symbol(text, at);
      let part = text.slice(at, at + length);
      if (length === 0) ({ length, text: part } = map.longest(text, at));
      at += length;
      if (afterSpace) part = part.replace(/^ +/, '');
      // A text of nothing but spaces is empty, without the mark in front.
      if (!begun && (part !== '' || !removeExtra)) {
        begun = true;
        if (dummy && !suffix) out = space;
      }
      if (part === '') continue;
      out += space === ' ' ? part : part.replaceAll(' ', space);
      afterSpace = removeExtra && part.endsWith(' ');
    }
    if (removeExtra) {
      let end = out.length;
      while (out.endsWith(space, end) && end > 0) end -= space.length;
      out = out.slice(0, end);
    }
    return begun && dummy && suffix ? out + space : out;
  };
}
