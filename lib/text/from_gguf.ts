/** Tokenizers from GGUF metadata: SentencePiece BPE (`llama`), byte-level BPE (`gpt2`), WordPiece (`bert`). */
import { TokenizerError, UnsupportedError } from '../errors.js';
import { templateSource } from './chat_sources.js';
import { bertPost, eachAround } from './post_processor.js';
import type { ChatTemplateSource } from './protocol.js';
import { type AddedToken, type JsonObject, type MergeList, type TokenizerSpec, unknownSymbol } from './spec.js';
import { ggufPreSplits } from './split_patterns.js';
import { checkMerges } from './validate.js';

const origin = 'GGUF metadata';
/** Kinds of tokens in `tokenizer.ggml.token_type`. */
const kind = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;

/** Typed access to the metadata. */
class Metadata {
  private readonly values: ReadonlyMap<string, unknown>;

  constructor(values: ReadonlyMap<string, unknown>) {
    this.values = values;
  }

  string(key: string): string | undefined {
    return this.typed(key, 'string') as string | undefined;
  }

  flag(key: string, fallback: boolean): boolean {
    return (this.typed(key, 'boolean') as boolean | undefined) ?? fallback;
  }

  id(key: string, size: number): number | undefined {
    const value = this.values.get(key);
    if (value === undefined) return undefined;
    const id = typeof value === 'bigint' ? Number(value) : value;
    // Files spell "none" as −1 or its unsigned form.
    if (id === -1 || id === 0xffffffff) return undefined;
    if (typeof id === 'number' && Number.isInteger(id) && id >= 0 && id < size) return id;
    throw new TokenizerError('token id out of range', {
      file: origin,
      name: key,
      expected: `0 … ${size - 1}`,
      found: id,
    });
  }

  list<T>(key: string, type: 'string' | 'number', length?: number): T[] | undefined {
    const value = this.values.get(key);
    if (value === undefined) return undefined;
    if (!Array.isArray(value) || (length !== undefined && value.length !== length)) {
      const found = Array.isArray(value) ? `${value.length} entries` : typeof value;
      throw new TokenizerError('array of another length', { file: origin, name: key, expected: length, found });
    }
    const bad = value.findIndex((entry) => typeof entry !== type);
    if (bad >= 0)
      throw new TokenizerError(`entry ${bad} is not a ${type}`, { file: origin, name: key, found: value[bad] });
    return value as T[];
  }

  templates(): ChatTemplateSource[] {
    const found: ChatTemplateSource[] = [];
    const plain = this.string('tokenizer.chat_template');
    if (plain !== undefined) found.push(templateSource('default', plain, 'GGUF tokenizer.chat_template'));
    for (const [key, value] of this.values) {
      const name = /^tokenizer\.chat_template\.(.+)$/.exec(key)?.[1];
      if (name !== undefined && typeof value === 'string') found.push(templateSource(name, value, `GGUF ${key}`));
    }
    return found;
  }

  private typed(key: string, type: string): unknown {
    const value = this.values.get(key);
    if (value === undefined || typeof value === type) return value;
    throw new TokenizerError(`metadata must be a ${type}`, { file: origin, name: key, found: typeof value });
  }
}

interface Vocabulary {
  readonly tokens: readonly string[];
  readonly types: readonly number[];
  readonly vocab: Map<string, number>;
  readonly added: AddedToken[];
}

function readVocabulary(meta: Metadata, respell: (token: string, type: number) => string): Vocabulary {
  const spelled = meta.list<string>('tokenizer.ggml.tokens', 'string');
  if (spelled === undefined || spelled.length === 0 || spelled.length >= unknownSymbol) {
    throw new TokenizerError('no usable vocabulary', { file: origin, name: 'tokenizer.ggml.tokens' });
  }
  const types =
    meta.list<number>('tokenizer.ggml.token_type', 'number', spelled.length) ??
    new Array<number>(spelled.length).fill(kind.normal);
  const tokens = spelled.map((token, id) => respell(token, types[id] as number));
  const vocab = new Map<string, number>();
  const added: AddedToken[] = [];
  tokens.forEach((content, id) => {
    const type = types[id] as number;
    // Some files repeat a spelling among unused tokens: the first one is found by name.
    if (!vocab.has(content)) vocab.set(content, id);
    const special = type === kind.control || type === kind.unknown;
    if ((special || type === kind.userDefined) && content !== '') {
      added.push({ id, content, special, normalized: false, lstrip: false, rstrip: false, singleWord: false });
    }
  });
  return { tokens, types, vocab, added };
}

/**
 * SentencePiece's greedy merging by score as merge rules: two neighbours merge if their texts joined are a token; the
 * higher score first. A character that is no token can still be part of one: it gets a symbol of its own.
 */
export function scoreMerges(words: Pick<Vocabulary, 'tokens' | 'types'>, scores: readonly number[]): MergeList {
  const ids = new Map<string, number>();
  words.tokens.forEach((token, id) => {
    const type = words.types[id];
    if ((type === kind.normal || type === kind.userDefined || type === kind.unused) && !ids.has(token))
      ids.set(token, id);
  });
  const order = [...new Set(scores)].sort((a, b) => b - a);
  const rankOf = new Map(order.map((score, rank) => [score, rank]));
  const symbol = (text: string): number | undefined => {
    const id = ids.get(text);
    if (id !== undefined) return id;
    const code = text.codePointAt(0) as number;
    return text.length === (code > 0xffff ? 2 : 1) ? unknownSymbol | code : undefined;
  };
  const [left, right, merged, rank]: [number[], number[], number[], number[]] = [[], [], [], []];
  for (const [token, id] of ids) {
    for (let cut = 1; cut < token.length; cut += 1) {
      const unit = token.charCodeAt(cut);
      if (unit >= 0xdc00 && unit < 0xe000) continue;
      const a = symbol(token.slice(0, cut));
      const b = symbol(token.slice(cut));
      if (a === undefined || b === undefined) continue;
      left.push(a);
      right.push(b);
      merged.push(id);
      rank.push(rankOf.get(scores[id] as number) as number);
    }
  }
  const ints = (list: number[]): Int32Array => Int32Array.from(list);
  return { left: ints(left), right: ints(right), merged: ints(merged), rank: ints(rank) };
}

type Parts = Pick<TokenizerSpec, 'normalizer' | 'preTokenizer' | 'model' | 'decoder'> & {
  readonly addBos: boolean;
  readonly addEos: boolean;
};

function llamaParts(meta: Metadata, words: Vocabulary): Parts {
  const scores = meta.list<number>('tokenizer.ggml.scores', 'number', words.tokens.length);
  if (scores === undefined)
    throw new TokenizerError('an SPM vocabulary needs scores', { file: origin, name: 'tokenizer.ggml.scores' });
  const prefix = meta.flag('tokenizer.ggml.add_space_prefix', true);
  const escaped: JsonObject = { type: 'Replace', pattern: { String: ' ' }, content: '▁' };
  const unescaped: JsonObject = { type: 'Replace', pattern: { String: '▁' }, content: ' ' };
  const strip: JsonObject[] = prefix ? [{ type: 'Strip', content: ' ', start: 1, stop: 0 }] : [];
  return {
    normalizer: prefix ? { type: 'Sequence', normalizers: [{ type: 'Prepend', prepend: '▁' }, escaped] } : escaped,
    preTokenizer: null,
    model: {
      kind: 'bpe',
      merges: scoreMerges(words, scores),
      byteFallback: true,
      fuseUnk: true,
      unkId: meta.id('tokenizer.ggml.unknown_token_id', words.tokens.length) ?? 0,
      ignoreMerges: false,
      endOfWordSuffix: '',
      continuingPrefix: '',
    },
    decoder: { type: 'Sequence', decoders: [unescaped, { type: 'ByteFallback' }, { type: 'Fuse' }, ...strip] },
    addBos: true,
    addEos: false,
  };
}

function gpt2Parts(meta: Metadata, words: Vocabulary): Parts {
  const name = meta.string('tokenizer.ggml.pre') ?? 'default';
  const pre = ggufPreSplits.get(name);
  if (pre === undefined) {
    throw new UnsupportedError(`pre-tokenizer ${JSON.stringify(name)} is not known`, {
      file: origin,
      name: 'tokenizer.ggml.pre',
      expected: [...ggufPreSplits.keys()].join(', '),
      found: name,
    });
  }
  const merges = meta.list<string>('tokenizer.ggml.merges', 'string');
  if (merges === undefined)
    throw new TokenizerError('a BPE vocabulary needs merges', { file: origin, name: 'tokenizer.ggml.merges' });
  const splits = pre.patterns.map(
    (pattern): JsonObject => ({ type: 'Split', pattern: { Regex: pattern }, behavior: 'Isolated', invert: false }),
  );
  const bytes: JsonObject = { type: 'ByteLevel', add_prefix_space: false, use_regex: false };
  return {
    normalizer: null,
    preTokenizer: { type: 'Sequence', pretokenizers: [...splits, bytes] },
    model: {
      kind: 'bpe',
      merges: checkMerges(merges, words.vocab, '', origin),
      byteFallback: false,
      fuseUnk: false,
      unkId: meta.id('tokenizer.ggml.unknown_token_id', words.tokens.length),
      ignoreMerges: pre.ignoreMerges,
      endOfWordSuffix: '',
      continuingPrefix: '',
    },
    decoder: { type: 'ByteLevel' },
    addBos: pre.addBos,
    addEos: false,
  };
}

function bertParts(meta: Metadata, words: Vocabulary): Parts {
  const unkId = meta.id('tokenizer.ggml.unknown_token_id', words.tokens.length) ?? words.vocab.get('[UNK]');
  if (unkId === undefined) throw new TokenizerError('a WordPiece vocabulary needs an unknown token', { file: origin });
  return {
    normalizer: { type: 'BertNormalizer', clean_text: true, handle_chinese_chars: true, lowercase: true },
    preTokenizer: { type: 'BertPreTokenizer' },
    model: { kind: 'wordpiece', unkId, prefix: '##', maxChars: 100 },
    decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
    addBos: true,
    addEos: true,
  };
}

const makers = { llama: llamaParts, gpt2: gpt2Parts, bert: bertParts } as const;

/** GGUF's WordPiece spells word starts with ▁ and continuations bare; here it is the other way round, with ##. */
function respellBert(token: string, type: number): string {
  if (type === kind.control || type === kind.unknown) return token;
  return token.startsWith('▁') ? token.slice(1) : `##${token}`;
}

function namedTokens(words: Vocabulary, ids: Record<string, number | undefined>): Record<string, string> {
  const names: Record<string, string> = {};
  for (const [name, id] of Object.entries(ids)) if (id !== undefined) names[name] = words.tokens[id] as string;
  return names;
}

/** Metadata values by key → tokenizer. */
export function specFromGguf(values: ReadonlyMap<string, unknown>): TokenizerSpec {
  const meta = new Metadata(values);
  const model = meta.string('tokenizer.ggml.model');
  if (model === undefined || !Object.hasOwn(makers, model)) {
    throw new UnsupportedError('tokenizer of a kind that is not supported', {
      file: origin,
      name: 'tokenizer.ggml.model',
      expected: Object.keys(makers).join(', '),
      found: model,
    });
  }
  const words = readVocabulary(meta, model === 'bert' ? respellBert : (token) => token);
  const parts = makers[model as keyof typeof makers](meta, words);
  const size = words.tokens.length;
  const id = (name: string): number | undefined => meta.id(`tokenizer.ggml.${name}_token_id`, size);
  const bos = id('bos') ?? (model === 'bert' ? id('cls') : undefined) ?? (model === 'llama' ? 1 : undefined);
  const eos = id('eos') ?? (model === 'llama' ? 2 : undefined);
  const sep = id('seperator') ?? id('separator') ?? (model === 'bert' ? words.vocab.get('[SEP]') : undefined);
  const first = model === 'bert' ? (id('cls') ?? bos ?? words.vocab.get('[CLS]')) : bos;
  const last = model === 'bert' ? sep : eos;
  const addBos = meta.flag('tokenizer.ggml.add_bos_token', parts.addBos);
  const addEos = meta.flag('tokenizer.ggml.add_eos_token', parts.addEos) || model === 'bert';
  if ((addBos && first === undefined) || (addEos && last === undefined)) {
    throw new TokenizerError('the file asks for a BOS or EOS token that it does not name', { file: origin });
  }
  // Only BERT's way of joining two texts is known; for the others the format says nothing.
  const whole = eachAround(addBos ? [first as number] : [], addEos ? [last as number] : []);
  const post = model === 'bert' && addBos ? bertPost(first as number, last as number) : { ...whole, pair: undefined };
  const ends = [eos, id('eot'), id('eom')].filter((end) => end !== undefined);
  const { normalizer, preTokenizer, decoder } = parts;
  const pad = id('padding');
  const unk = parts.model.unkId;
  return {
    origin,
    vocab: words.vocab,
    added: words.added,
    normalizer,
    preTokenizer,
    model: parts.model,
    post,
    decoder,
    cleanUp: false,
    bosId: bos,
    eosIds: [...new Set(ends)],
    padId: pad,
    specialTokens: namedTokens(words, {
      bos_token: bos,
      eos_token: eos,
      pad_token: pad,
      unk_token: unk,
      sep_token: sep,
    }),
    chatTemplates: meta.templates(),
  };
}
