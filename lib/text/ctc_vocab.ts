import { join } from 'node:path';
import { TokenizerError, UnsupportedError } from '../errors.js';
import type { CtcToken } from '../generation/ctc.js';
import { readJsonFile } from '../weights/files.js';
import type { RawConfig, RawValue } from '../weights/types.js';

/** Bytes of a vocabulary or config file. */
const kMaxFile = 32 << 20;

/** The pieces that a CTC model says, as Wav2Vec2CTCTokenizer of transformers has them. */
export interface CtcVocab {
  /** By id; undefined: no such piece. */
  readonly tokens: readonly (string | undefined)[];
  /** Id of the blank: the padding token. */
  readonly blank: number;
  /** Stands between words. */
  readonly delimiter: string;
  /** What the delimiter becomes in the text. */
  readonly space: string;
  readonly unknown: string;
  readonly lowerCase: boolean;
  /** Takes spaces before punctuation away. */
  readonly cleanUp: boolean;
}

/** A word and its first and last tokens' frames: begin … end − 1. */
export interface CtcWord {
  readonly text: string;
  readonly begin: number;
  readonly end: number;
  /** Mean of the probabilities of its tokens. */
  readonly confidence: number;
}

function fail(message: string, facts: object): TokenizerError {
  return new TokenizerError(message, facts);
}

const isObject = (value: RawValue | undefined): value is RawConfig =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** A token's text: as it is, or the content of an object that describes it. */
function contentOf(value: RawValue | undefined): string | undefined {
  const found = isObject(value) ? value.content : value;
  return typeof found === 'string' ? found : undefined;
}

/** Ids by piece of vocab.json, which lists those of one language or, by their names, of several. */
function idsOf(file: string, found: RawConfig, language: string | undefined): ReadonlyMap<string, number> {
  const nested = language === undefined ? undefined : found[language];
  const listed = isObject(nested) ? nested : found;
  const ids = new Map<string, number>();
  for (const [piece, id] of Object.entries(listed)) {
    if (isObject(id))
      throw new UnsupportedError('the vocabulary has several languages', {
        file,
        expected: 'target_lang in tokenizer_config.json to name one of them',
        found: language,
      });
    if (typeof id !== 'number' || !Number.isInteger(id) || id < 0 || id >= 2 ** 20)
      throw fail('bad id in the vocabulary', { file, name: piece, expected: 'an integer from 0', found: id });
    ids.set(piece, id);
  }
  if (ids.size === 0) throw fail('the vocabulary is empty', { file });
  return ids;
}

/** Reads vocab.json and what lies beside it. Throws TokenizerError, UnsupportedError. */
export async function readCtcVocab(folder: string): Promise<CtcVocab> {
  const file = join(folder, 'vocab.json');
  const read = (name: string): Promise<RawConfig | undefined> => readJsonFile(join(folder, name), kMaxFile, fail);
  const found = await read('vocab.json');
  if (found === undefined) throw fail('the checkpoint has no vocabulary', { file });
  const config = (await read('tokenizer_config.json')) ?? {};
  const map = (await read('special_tokens_map.json')) ?? {};
  const kind = config.tokenizer_class;
  if (typeof kind === 'string' && !/^Wav2Vec2(CTC)?Tokenizer(Fast)?$/.test(kind))
    throw new UnsupportedError('unsupported tokenizer of a CTC model', {
      file: join(folder, 'tokenizer_config.json'),
      name: 'tokenizer_class',
      expected: 'Wav2Vec2CTCTokenizer',
      found: kind,
    });
  const ids = idsOf(file, found, contentOf(config.target_lang));
  const tokens: (string | undefined)[] = [];
  for (const [piece, id] of Object.entries((await read('added_tokens.json')) ?? {}))
    if (typeof id === 'number' && Number.isInteger(id) && id >= 0 && id < 2 ** 20) tokens[id] = piece;
  for (const [id, token] of Object.entries(isObject(config.added_tokens_decoder) ? config.added_tokens_decoder : {}))
    if (/^\d{1,6}$/.test(id)) tokens[Number(id)] = contentOf(token);
  for (const [piece, id] of ids) tokens[id] = piece;
  const named = (name: string, byDefault: string): string =>
    contentOf(name in config ? config[name] : map[name]) ?? byDefault;
  const padding = named('pad_token', '<pad>');
  const blank = tokens.indexOf(padding);
  if (blank < 0)
    throw fail('the padding token, which stands for silence, is not in the vocabulary', { file, found: padding });
  return {
    tokens: Array.from(tokens),
    blank,
    delimiter: named('word_delimiter_token', '|'),
    space: named('replace_word_delimiter_char', ' '),
    unknown: named('unk_token', '<unk>'),
    lowerCase: config.do_lower_case === true,
    cleanUp: config.clean_up_tokenization_spaces === true,
  };
}

/** Spaces before punctuation and contractions go (clean_up_tokenization of transformers). */
const cleanUps: readonly (readonly [string, string])[] = [
  [' .', '.'],
  [' ?', '?'],
  [' !', '!'],
  [' ,', ','],
  [" ' ", "'"],
  [" n't", "n't"],
  [" 'm", "'m"],
  [" 's", "'s"],
  [" 've", "'ve"],
  [" 're", "'re"],
];

/** The text of tokens, and its words with their frames. */
export function renderCtc(vocab: CtcVocab, tokens: readonly CtcToken[]): { text: string; words: CtcWord[] } {
  const pieces = tokens.map((t) => vocab.tokens[t.id] ?? vocab.unknown);
  const joined = pieces.map((p) => (p === vocab.delimiter ? vocab.space : p)).join('');
  const cased = (text: string): string => (vocab.lowerCase ? text.toLowerCase() : text);
  let text = cased(joined.trim());
  if (vocab.cleanUp) for (const [from, to] of cleanUps) text = text.replaceAll(from, to);
  const words: CtcWord[] = [];
  for (let i = 0; i < tokens.length; ) {
    let last = i;
    while (last < tokens.length && pieces[last] !== vocab.delimiter) last++;
    if (last > i) {
      const confidence = tokens.slice(i, last).reduce((sum, t) => sum + t.probability, 0) / (last - i);
      const word = cased(pieces.slice(i, last).join(''));
      words.push({ text: word, begin: tokens[i]!.begin, end: tokens[last - 1]!.end, confidence });
    }
    i = last + 1;
  }
  return { text, words };
}
