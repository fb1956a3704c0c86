/** Normalisers of tokenizer.json. */
import { TokenizerError, UnsupportedError } from '../errors.js';
import { CharsMap } from './chars_map.js';
import { checkPattern } from './patterns.js';
import { isObject, type Json, type JsonObject } from './spec.js';
import { spmNormalizer } from './spm_normalizer.js';

export type Normalize = (text: string) => string;

/** CJK ideographs as BERT counts them. */
export const ideograph: RegExp =
  /[\u4E00-\u9FFF\u3400-\u4DBF\uF900-\uFAFF\u{20000}-\u{2A6DF}\u{2A700}-\u{2B73F}\u{2B740}-\u{2B81F}\u{2B820}-\u{2CEAF}\u{2F800}-\u{2FA1F}]/gu;
// Control, format, unassigned and private-use characters, but for tab, newline and carriage return.
export const control: RegExp = /(?![\t\n\r])[\p{C}\uFFFD]/gu;

/** Character by character: without JavaScript's rule for a sigma at the end of a word. */
function lowercase(text: string): string {
  return (text.includes('Σ') ? text.replaceAll('Σ', 'σ') : text).toLowerCase();
}

const whiteSpace = /\p{White_Space}/u;

/** Begin and end of the text without the white space that a Strip takes away. */
export function stripped(text: string, config: JsonObject): [number, number] {
  let from = 0;
  let to = text.length;
  if (config.strip_left === true) while (from < to && whiteSpace.test(text[from] as string)) from += 1;
  if (config.strip_right === true) while (to > from && whiteSpace.test(text[to - 1] as string)) to -= 1;
  return [from, to];
}

function bert(config: JsonObject): Normalize {
  const lower = config.lowercase !== false;
  const strip = config.strip_accents ?? lower;
  return (text) => {
    let out = text;
    if (config.clean_text !== false) out = out.replace(control, '').replace(/\p{White_Space}/gu, ' ');
    if (config.handle_chinese_chars !== false) out = out.replace(ideograph, ' $& ');
    if (strip === true) out = out.normalize('NFD').replace(/\p{Mn}/gu, '');
    return lower ? lowercase(out) : out;
  };
}

/** Control characters that Nmt takes out, and what it makes a space. */
export const nmtDropped: RegExp = /(?![\t\n\f\r\0\u0080-\u008E\u0090-\u009E])\p{Cc}/gu;
export const nmtSpace: RegExp = /[\t\n\f\r\u1680\u200B-\u200F\u2028\u2029\u2581\uFEFF\uFFFD]/g;

const forms = new Set(['NFC', 'NFD', 'NFKC', 'NFKD']);

function stringField(config: JsonObject, name: string, origin: string): string {
  const value = config[name];
  if (typeof value !== 'string') {
    throw new TokenizerError('normalizer field must be a string', { file: origin, name, found: value });
  }
  return value;
}

function replace(config: JsonObject, origin: string): Normalize {
  const { pattern } = config;
  const content = stringField(config, 'content', origin);
  if (isObject(pattern) && typeof pattern.String === 'string') {
    const literal = pattern.String;
    return literal === '' ? (text) => text : (text) => text.replaceAll(literal, () => content);
  }
  const regex = checkPattern(pattern, origin);
  return (text) => text.replace(regex, () => content);
}

/** Normaliser config (null: none) → function. */
export function normalizer(config: Json, origin: string): Normalize {
  if (config === null) return (text) => text;
  if (!isObject(config))
    throw new TokenizerError('normalizer must be an object or null', { file: origin, found: config });
  const type = config.type;
  if (type === 'Sequence') {
    const list = Array.isArray(config.normalizers) ? config.normalizers : [];
    const steps = list.map((step) => normalizer(step, origin));
    return (text) => steps.reduce((t, step) => step(t), text);
  }
  if (type === 'BertNormalizer') return bert(config);
  if (type === 'Precompiled') {
    const map = new CharsMap(stringField(config, 'precompiled_charsmap', origin), origin);
    return (text) => map.apply(text);
  }
  if (type === 'SentencePiece') return spmNormalizer(config, origin);
  if (type === 'Prepend') {
    const prefix = stringField(config, 'prepend', origin);
    return (text) => (text === '' ? text : prefix + text);
  }
  if (type === 'Replace') return replace(config, origin);
  if (type === 'StripAccents') return (text) => text.replace(/\p{M}/gu, '');
  if (type === 'Nmt') return (text) => text.replace(nmtDropped, '').replace(nmtSpace, ' ');
  if (type === 'Lowercase') return lowercase;
  if (type === 'Strip') return (text) => text.slice(...stripped(text, config));
  if (typeof type === 'string' && forms.has(type)) return (text) => text.normalize(type);
  throw new UnsupportedError('normalizer of a kind that is not supported', { file: origin, found: type });
}
