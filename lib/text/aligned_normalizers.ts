/** The normalisers of tokenizer.json over texts that remember the original; the rules of alignment are Hugging Face's. */
import { UnsupportedError } from '../errors.js';
import { type Aligned, Rewriter } from './aligned.js';
import { CharsMap } from './chars_map.js';
import { control, ideograph, nmtDropped, nmtSpace, normalizer, stripped } from './normalizers.js';
import { checkPattern } from './patterns.js';
import { isObject, type Json, type JsonObject } from './spec.js';

export type Align = (source: Aligned) => Aligned;
type Form = 'NFC' | 'NFD' | 'NFKC' | 'NFKD';

const mark = /\p{M}/u;

/** Every match of a global pattern gives way to `content`, whose characters belong to the match's last one. */
function replaceMatches(source: Aligned, matches: Iterable<readonly [number, number]>, content: string): Aligned {
  const out = new Rewriter(source);
  let from = 0;
  for (const [start, end] of matches) {
    out.keep(start - from);
    out.skip(end - start);
    for (const character of content) out.put(character, 1);
    from = end;
  }
  out.keep(source.text.length - from);
  return out.done();
}

function* matchesOf(text: string, pattern: RegExp): Generator<readonly [number, number]> {
  for (const found of text.matchAll(pattern)) yield [found.index, found.index + found[0].length];
}

function* literals(text: string, literal: string): Generator<readonly [number, number]> {
  for (let at = text.indexOf(literal); at >= 0; at = text.indexOf(literal, at + literal.length))
    yield [at, at + literal.length];
}

/** Leaves out every match. */
function without(source: Aligned, pattern: RegExp): Aligned {
  return source.text.search(pattern) < 0 ? source : replaceMatches(source, matchesOf(source.text, pattern), '');
}

/** Puts a space in place of every match of one character. */
function spaced(source: Aligned, pattern: RegExp): Aligned {
  return source.text.search(pattern) < 0 ? source : replaceMatches(source, matchesOf(source.text, pattern), ' ');
}

function lowercase(source: Aligned): Aligned {
  if (source.text.toLowerCase() === source.text) return source;
  const out = new Rewriter(source);
  for (const character of source.text) {
    let change = 0;
    for (const lower of character.toLowerCase()) {
      out.put(lower, change);
      change = 1;
    }
  }
  return out.done();
}

function ideographsApart(source: Aligned): Aligned {
  if (source.text.search(ideograph) < 0) return source;
  const out = new Rewriter(source);
  let from = 0;
  for (const found of source.text.matchAll(ideograph)) {
    out.keep(found.index - from);
    out.put(' ', 0);
    out.put(found[0], 1);
    out.put(' ', 1);
    from = found.index + found[0].length;
  }
  out.keep(source.text.length - from);
  return out.done();
}

interface Pieces {
  readonly characters: string[];
  readonly changes: number[];
}

/**
 * Every character decomposed (its first part replaces it, the others are new), marks in canonical order. The changes
 * move with their marks.
 */
function decompose(text: string, form: 'NFD' | 'NFKD'): Pieces {
  const parts: Pieces = { characters: [], changes: [] };
  for (const character of text) {
    let change = 0;
    for (const part of character.normalize(form)) {
      parts.characters.push(part);
      parts.changes.push(change);
      change = 1;
    }
  }
  const sorted = [...text.normalize(form)];
  const changes = new Array<number>(sorted.length);
  for (let from = 0; from < sorted.length; ) {
    let to = from + 1;
    if (mark.test(parts.characters[from] as string)) {
      while (to < sorted.length && mark.test(parts.characters[to] as string)) to += 1;
    }
    // Within a run of marks equal ones keep their order.
    const queues = new Map<string, number[]>();
    for (let i = to - 1; i >= from; i -= 1) {
      const character = parts.characters[i] as string;
      const queue = queues.get(character);
      if (queue === undefined) queues.set(character, [i]);
      else queue.push(i);
    }
    for (let i = from; i < to; i += 1) {
      changes[i] = parts.changes[queues.get(sorted[i] as string)?.pop() ?? i] as number;
    }
    from = to;
  }
  return { characters: sorted, changes };
}

/** Composed characters take the changes of all their parts; each part after the first is one character less. */
function compose(text: string, form: 'NFC' | 'NFKC'): Pieces {
  const parts = decompose(text, form === 'NFC' ? 'NFD' : 'NFKD');
  const out: Pieces = { characters: [], changes: [] };
  const used = new Uint8Array(parts.characters.length);
  let first = 0;
  for (const character of text.normalize(form)) {
    let change = 1;
    let from = first;
    for (const part of character.normalize('NFD')) {
      while (from < used.length && (used[from] === 1 || parts.characters[from] !== part)) from += 1;
      used[from] = 1;
      change += (parts.changes[from] ?? 0) - 1;
    }
    while (used[first] === 1) first += 1;
    out.characters.push(character);
    out.changes.push(change);
  }
  return out;
}

function unicode(form: Form): Align {
  return (source) => {
    const { text } = source;
    if (text.normalize(form) === text) return source;
    const { characters, changes } = form === 'NFC' || form === 'NFKC' ? compose(text, form) : decompose(text, form);
    const out = new Rewriter(source);
    for (let i = 0; i < characters.length; i += 1) out.put(characters[i] as string, changes[i] as number);
    return out.done();
  };
}

function bert(config: JsonObject): Align {
  const lower = config.lowercase !== false;
  const strip = config.strip_accents ?? lower;
  const decomposed = unicode('NFD');
  return (source) => {
    let out = source;
    if (config.clean_text !== false) out = spaced(without(out, control), /\p{White_Space}/gu);
    if (config.handle_chinese_chars !== false) out = ideographsApart(out);
    if (strip === true) out = without(decomposed(out), /\p{Mn}/gu);
    return lower ? lowercase(out) : out;
  };
}

/**
 * SentencePiece's map: the characters of a replacement take the places of the replaced ones; more of them are new, and
 * places left over go with the last character put. (Hugging Face forgets those that go before any is put, which shifts
 * all that follows; here they are left out of the count.)
 */
function precompiled(map: CharsMap): Align {
  return (source) => {
    const out = new Rewriter(source);
    let last: string | undefined;
    let change = 0;
    const flush = (): void => {
      if (last !== undefined) out.put(last, change);
    };
    map.visit(source.text, (old, replaced) => {
      let oldCount = 0;
      for (const _ of old) oldCount += 1;
      let count = 0;
      for (const character of replaced) {
        flush();
        last = character;
        change = count < oldCount ? 0 : 1;
        count += 1;
      }
      if (count >= oldCount) return;
      if (last === undefined) out.skipCharacters(oldCount - count);
      else change -= oldCount - count;
    });
    flush();
    return out.done();
  };
}

function prepend(prefix: string): Align {
  return (source) => (source.text === '' ? source : prepended(source, prefix));
}

/** `prefix` and the first character both belong to that character of the original. */
export function prepended(source: Aligned, prefix: string): Aligned {
  const out = new Rewriter(source);
  const first = String.fromCodePoint(source.text.codePointAt(0) as number);
  let change = 0;
  for (const character of prefix) {
    out.put(character, change);
    change = 1;
  }
  if (change === 0) return source;
  out.put(first, 1);
  out.keep(source.text.length - first.length);
  return out.done();
}

/** Every match of a literal gives way to `content`. */
export function replacedLiteral(source: Aligned, literal: string, content: string): Aligned {
  if (!source.text.includes(literal)) return source;
  return replaceMatches(source, literals(source.text, literal), content);
}

function replace(config: JsonObject, origin: string): Align {
  const { pattern } = config;
  const content = config.content as string;
  if (isObject(pattern) && typeof pattern.String === 'string') {
    const literal = pattern.String;
    return literal === '' ? (source) => source : (source) => replacedLiteral(source, literal, content);
  }
  const regex = checkPattern(pattern, origin);
  return (source) => replaceMatches(source, matchesOf(source.text, regex), content);
}

function made(config: JsonObject, origin: string): Align {
  switch (config.type) {
    case 'Sequence': {
      const steps = (Array.isArray(config.normalizers) ? config.normalizers : []).map((s) =>
        alignedNormalizer(s, origin),
      );
      return (source) => steps.reduce((text, step) => step(text), source);
    }
    case 'BertNormalizer':
      return bert(config);
    case 'Precompiled':
      return precompiled(new CharsMap(config.precompiled_charsmap as string, origin));
    case 'Prepend':
      return prepend(config.prepend as string);
    case 'Replace':
      return replace(config, origin);
    case 'StripAccents':
      return (source) => without(source, /\p{M}/gu);
    case 'Nmt':
      return (source) => spaced(without(source, nmtDropped), nmtSpace);
    case 'Strip':
      return (source) => source.slice(...stripped(source.text, config));
    case 'Lowercase':
      return lowercase;
    case 'SentencePiece':
      throw new UnsupportedError('where tokens come from is not told for SentencePiece model files', {
        file: origin,
        hint: 'Save the tokenizer as tokenizer.json',
      });
    default:
      return unicode(config.type as Form);
  }
}

/** As `normalizer` (which refuses what is not supported or broken), keeping the alignment. */
export function alignedNormalizer(config: Json, origin: string): Align {
  normalizer(config, origin);
  return isObject(config) ? made(config, origin) : (source) => source;
}
