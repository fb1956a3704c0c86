/**
 * Regular expressions of tokenizer files. The library translates Oniguruma syntax to JavaScript's; a pattern with nested
 * unbounded repetition, which a backtracking engine answers in exponential time, is refused.
 */
import { TokenizerError } from '../errors.js';
import { SplitPreTokenizer } from './library.js';
import { isObject, type Json } from './spec.js';

const maxPatternLength = 10_000;

interface Group {
  /** An unbounded quantifier stands inside. */
  repeats: boolean;
  lookaround: boolean;
}

/** Whether a group that contains `+`, `*` or `{n,}` is itself repeated without bound, as in `(a+)+`. */
export function hasNestedRepetition(source: string): boolean {
  const stack: Group[] = [{ repeats: false, lookaround: false }];
  let closed: Group | undefined;
  for (let i = 0; i < source.length; i += 1) {
    const char = source[i];
    if (char === '\\') {
      i += 1;
      closed = undefined;
    } else if (char === '[') {
      i = endOfClass(source, i);
      closed = undefined;
    } else if (char === '(') {
      stack.push({ repeats: false, lookaround: /^\(\?<?[=!]/.test(source.slice(i, i + 4)) });
      const prefix = /^\(\?(?:<?[=!]|[a-z]*:|>|<[A-Za-z_]\w*>)/.exec(source.slice(i));
      if (prefix !== null) i += prefix[0].length - 1;
      closed = undefined;
    } else if (char === ')') {
      closed = stack.length > 1 ? stack.pop() : undefined;
      const parent = stack.at(-1) as Group;
      if (closed?.repeats === true && !closed.lookaround) parent.repeats = true;
    } else if (char === '+' || char === '*' || (char === '{' && /^\{\d*,\}/.test(source.slice(i, i + 12)))) {
      if (closed?.repeats === true) return true;
      (stack.at(-1) as Group).repeats = true;
      if (source[i + 1] === '+' || source[i + 1] === '?') i += 1;
      closed = undefined;
    } else if (char !== '?') closed = undefined;
  }
  return false;
}

function endOfClass(source: string, from: number): number {
  let depth = 0;
  for (let i = from; i < source.length; i += 1) {
    if (source[i] === '\\') i += 1;
    else if (source[i] === '[') depth += 1;
    else if (source[i] === ']') {
      depth -= 1;
      if (depth === 0) return i;
    }
  }
  return source.length;
}

/** `{String}` or `{Regex}` of a tokenizer file → a global regular expression. */
export function checkPattern(pattern: Json | undefined, origin: string): RegExp {
  if (!isObject(pattern))
    throw new TokenizerError('pattern must be {String} or {Regex}', { file: origin, found: pattern });
  const source = pattern.Regex ?? pattern.String;
  if (typeof source !== 'string' || source.length > maxPatternLength) {
    throw new TokenizerError(`pattern must be a string of at most ${maxPatternLength} characters`, { file: origin });
  }
  if (pattern.Regex !== undefined && hasNestedRepetition(source)) {
    throw new TokenizerError('pattern nests unbounded repetitions, which can take exponential time', {
      file: origin,
      found: source,
    });
  }
  try {
    const made = new SplitPreTokenizer({ type: 'Split', pattern, invert: false }).pattern;
    if (made !== null) return made;
  } catch (cause) {
    throw new TokenizerError('pattern cannot be understood', { file: origin, found: source, cause });
  }
  throw new TokenizerError('pattern must be {String} or {Regex}', { file: origin });
}
