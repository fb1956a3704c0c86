/** Tokenizer → GGUF metadata, the inverse of from_gguf.ts: byte-level BPE (`gpt2`) and BPE with byte fallback (`llama`). */
import { TokenizerError, UnsupportedError } from '../errors.js';
import type { GgufValue } from '../weights/gguf_types.js';
import { singleAround } from './join.js';
import { type BpeSpec, byteOfToken, isObject, type Json, type JsonObject, type TokenizerSpec } from './spec.js';
import { ggufPreSplits } from './split_patterns.js';

export interface GgufTokenizer {
  readonly metadata: ReadonlyMap<string, GgufValue>;
  /** What of the tokenizer the format cannot hold, and what that changes. */
  readonly notes: readonly string[];
}

/** Kinds of tokens in `tokenizer.ggml.token_type`. */
const kind = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;

interface Words {
  readonly tokens: string[];
  readonly types: Int32Array;
}

const string = (value: string): GgufValue => ({ type: 'string', value });
const bool = (value: boolean): GgufValue => ({ type: 'bool', value });
const id = (value: number): GgufValue => ({ type: 'uint32', value });
const strings = (value: readonly string[]): GgufValue => ({ type: 'array', items: 'string', value });

/** Tokens by id for an embedding of `rows` rows; rows without a token get a name that no text holds. */
function listTokens(spec: TokenizerSpec, rows: number): Words {
  const tokens = Array.from({ length: rows }, (_, i) => `[PAD${i}]`);
  const types = new Int32Array(rows).fill(kind.unused);
  const put = (text: string, at: number, type: number): void => {
    if (at >= rows)
      throw new TokenizerError('a token has no row in the embedding', {
        file: spec.origin,
        expected: `ids from 0 to ${rows - 1}`,
        found: `${JSON.stringify(text)} with id ${at}`,
      });
    tokens[at] = text;
    types[at] = type;
  };
  const bytes = spec.model.kind === 'bpe' && spec.model.byteFallback;
  for (const [text, at] of spec.vocab) put(text, at, bytes && byteOfToken(text) >= 0 ? kind.byte : kind.normal);
  for (const { id: at, content, special } of spec.added) put(content, at, special ? kind.control : kind.userDefined);
  const unknown = spec.model.kind === 'unigram' ? undefined : spec.model.unkId;
  if (unknown !== undefined) types[unknown] = kind.unknown;
  return { tokens, types };
}

function refuse(spec: TokenizerSpec, part: string, found: unknown, expected: string): never {
  throw new UnsupportedError(`GGUF has no place for this ${part}`, { file: spec.origin, name: part, expected, found });
}

/** The steps of a Sequence, or the step itself. */
function steps(value: JsonObject | null, list: string): JsonObject[] {
  if (value === null) return [];
  const inner = value[list];
  return value.type === 'Sequence' && Array.isArray(inner) ? inner.filter(isObject) : [value];
}

const isSpaceMark = (s: JsonObject): boolean =>
  s.type === 'Replace' && isObject(s.pattern) && s.pattern.String === ' ' && s.content === '▁';

/** Whether a space mark goes before the text. */
function spacePrefix(spec: TokenizerSpec, notes: string[]): boolean {
  const normal = steps(spec.normalizer, 'normalizers');
  const rest = normal.filter((s) => !isSpaceMark(s) && !(s.type === 'Prepend' && s.prepend === '▁'));
  const pre = steps(spec.preTokenizer, 'pretokenizers');
  const meta = pre.find((s) => s.type === 'Metaspace');
  if (rest.length > 0) refuse(spec, 'normalizer', rest, "none, or spaces replaced by '▁'");
  if (meta === undefined && !normal.some(isSpaceMark)) refuse(spec, 'normalizer', spec.normalizer, "' ' to '▁'");
  // Gemma splits at spaces that its normalizer has replaced already: a step that does nothing.
  const idle = (s: JsonObject): boolean =>
    s === meta || (s.type === 'Split' && isObject(s.pattern) && s.pattern.String === ' ' && meta === undefined);
  if (pre.some((s) => !idle(s)))
    notes.push('GGUF has no place for the pre-tokenizer: only merges decide where words are split');
  if (meta === undefined) return normal.some((s) => s.type === 'Prepend');
  const scheme: Json = meta.prepend_scheme ?? (meta.add_prefix_space === false ? 'never' : 'always');
  if (scheme === 'first') notes.push('after a special token, GGUF readers put a space that this tokenizer does not');
  return scheme !== 'never';
}

/**
 * SentencePiece merges neighbours whose joined text is a token, the best score first; here merges have an order. The
 * order of each token's first merge is its score. Also counts tokens that merge from pairs which no merge names.
 */
function scoresOf(words: Words, model: BpeSpec): { scores: Float32Array; loose: number } {
  const { left, right, merged, rank } = model.merges;
  const best = new Map<number, number>();
  const pairs = new Map<number, Set<number>>();
  for (let i = 0; i < merged.length; i += 1) {
    const token = merged[i] as number;
    best.set(token, Math.min(best.get(token) ?? Number.POSITIVE_INFINITY, rank[i] as number));
    const cuts = pairs.get(token) ?? new Set<number>();
    pairs.set(token, cuts.add((left[i] as number) * 0x1000000 + (right[i] as number)));
  }
  const scores = new Float32Array(words.tokens.length);
  const order = [...best].sort((a, b) => a[1] - b[1]);
  order.forEach(([token], place) => {
    scores[token] = -(place + 1);
  });
  const ids = new Map<string, number>();
  words.tokens.forEach((text, token) => {
    const type = words.types[token];
    if (type !== kind.normal) return;
    if (!best.has(token)) scores[token] = -(order.length + 1);
    ids.set(text, token);
  });
  let loose = 0;
  for (const [text, token] of ids) {
    for (let cut = 1; cut < text.length; cut += 1) {
      const [a, b] = [ids.get(text.slice(0, cut)), ids.get(text.slice(cut))];
      if (a === undefined || b === undefined || pairs.get(token)?.has(a * 0x1000000 + b) === true) continue;
      loose += 1;
      break;
    }
  }
  return { scores, loose };
}

function llamaParts(spec: TokenizerSpec, model: BpeSpec, words: Words, notes: string[]): [string, GgufValue][] {
  const prefix = spacePrefix(spec, notes);
  const { scores, loose } = scoresOf(words, model);
  if (loose > 0)
    notes.push(
      `${loose} of ${model.merges.merged.length} merged tokens can also be built from other pairs than the tokenizer's merges; ` +
        'GGUF readers merge those too, so rare words may be split otherwise',
    );
  const missing = 256 - words.types.reduce((n, type) => n + (type === kind.byte ? 1 : 0), 0);
  if (missing > 0)
    notes.push(
      `${missing} of 256 byte tokens are missing: llama.cpp ends the process at text that it cannot spell without them`,
    );
  return [
    ['tokenizer.ggml.model', string('llama')],
    ['tokenizer.ggml.pre', string('default')],
    ['tokenizer.ggml.scores', { type: 'array', items: 'float32', value: scores }],
    ['tokenizer.ggml.add_space_prefix', bool(prefix)],
  ];
}

/** One spelling for patterns that match the same: (?i:'s|'t) and '[sS]|'[tT]. */
function canonical(pattern: string): string {
  const spelled = pattern.replace(/\(\?i:((?:'[a-z]+\|?)+)\)/g, (_, list: string) => {
    const parts = list.split('|').map((p) => p.replace(/[a-z]/g, (c) => `[${c}${c.toUpperCase()}]`));
    return `(?:${parts.join('|')})`;
  });
  return spelled.replace(/\\([$+<=>^~|])(?=[^[]*\])/g, '$1');
}

/** The patterns that a pre-tokenizer splits by; undefined where it does something else too. */
function splitPatterns(pre: JsonObject | null): string[] | undefined {
  const found: string[] = [];
  const list = steps(pre, 'pretokenizers');
  if (list.at(-1)?.type !== 'ByteLevel') return undefined;
  for (const s of list) {
    if (s.type === 'ByteLevel' && s === list.at(-1)) {
      if (s.add_prefix_space === true) return undefined;
      if (s.use_regex !== false) found.push(ggufPreSplits.get('gpt-2')!.patterns[0]!);
    } else if (s.type === 'Digits') found.push(s.individual_digits === true ? '\\p{N}' : '\\p{N}+');
    else if (s.type === 'Split' && s.behavior === 'Isolated' && s.invert !== true && isObject(s.pattern)) {
      if (typeof s.pattern.Regex !== 'string') return undefined;
      found.push(s.pattern.Regex);
    } else return undefined;
  }
  return found;
}

function gpt2Parts(spec: TokenizerSpec, model: BpeSpec, words: Words, notes: string[]): [string, GgufValue][] {
  const patterns = splitPatterns(spec.preTokenizer);
  const same = (a: readonly string[]): boolean => a.map(canonical).join('\n') === patterns?.map(canonical).join('\n');
  const pre = [...ggufPreSplits].find(([, p]) => p.ignoreMerges === model.ignoreMerges && same(p.patterns))?.[0];
  if (pre === undefined)
    refuse(spec, 'pre-tokenizer', spec.preTokenizer, `the splits of ${[...ggufPreSplits.keys()].join(', ')}`);
  const rest = steps(spec.normalizer, 'normalizers').filter((s) => s.type !== 'NFC');
  if (rest.length > 0) refuse(spec, 'normalizer', rest, 'none, or NFC');
  if (spec.normalizer !== null) notes.push('GGUF readers do not normalise text to NFC as this tokenizer does');
  const { left, right, rank } = model.merges;
  const order = Int32Array.from(rank, (_, i) => i).sort((a, b) => (rank[a] as number) - (rank[b] as number));
  const text = (token: number): string => words.tokens[token] as string;
  const merges = Array.from(order, (i) => `${text(left[i] as number)} ${text(right[i] as number)}`);
  return [
    ['tokenizer.ggml.model', string('gpt2')],
    ['tokenizer.ggml.pre', string(pre)],
    ['tokenizer.ggml.merges', strings(merges)],
  ];
}

/** Ids around a text, as flags: only a begin and an end that have names of their own can be said. */
function around(spec: TokenizerSpec): [string, GgufValue][] {
  const [before, after] = singleAround(spec.post.single);
  const { bosId } = spec;
  const [bos, eos] = [bosId ?? before[0], spec.eosIds[0] ?? after[0]];
  if (before.length > 1 || (before.length === 1 && before[0] !== bos))
    refuse(spec, 'post-processor', before, 'at most bos before the text');
  if (after.length > 1 || (after.length === 1 && after[0] !== eos))
    refuse(spec, 'post-processor', after, 'at most eos after the text');
  return [
    ...(bos === undefined ? [] : [['tokenizer.ggml.bos_token_id', id(bos)] as [string, GgufValue]]),
    ...(eos === undefined ? [] : [['tokenizer.ggml.eos_token_id', id(eos)] as [string, GgufValue]]),
    ...(spec.padId === undefined ? [] : [['tokenizer.ggml.padding_token_id', id(spec.padId)] as [string, GgufValue]]),
    ['tokenizer.ggml.add_bos_token', bool(before.length > 0)],
    ['tokenizer.ggml.add_eos_token', bool(after.length > 0)],
  ];
}

function templates(spec: TokenizerSpec): [string, GgufValue][] {
  const named = spec.chatTemplates.filter(({ name }) => name !== 'default');
  const plain = spec.chatTemplates.find(({ name }) => name === 'default');
  return [
    ...(plain === undefined ? [] : [['tokenizer.chat_template', string(plain.template)] as [string, GgufValue]]),
    ...(named.length === 0
      ? []
      : [['tokenizer.chat_templates', strings(named.map((t) => t.name))] as [string, GgufValue]]),
    ...named.map((t): [string, GgufValue] => [`tokenizer.chat_template.${t.name}`, string(t.template)]),
  ];
}

/**
 * GGUF metadata of a tokenizer for an embedding of `rows` rows. Throws UnsupportedError for kinds and rules that GGUF
 * cannot hold, TokenizerError where ids go beyond the embedding.
 */
export function ggufTokenizer(spec: TokenizerSpec, rows: number): GgufTokenizer {
  const notes: string[] = [];
  const { model } = spec;
  if (model.kind !== 'bpe') refuse(spec, 'tokenizer model', model.kind, 'BPE');
  if (spec.pieceIds !== undefined) refuse(spec, 'tokenizer', 'ids that are not those of its pieces', 'tokenizer.json');
  if (model.endOfWordSuffix !== '' || model.continuingPrefix !== '')
    refuse(spec, 'BPE', [model.continuingPrefix, model.endOfWordSuffix], 'no prefix or suffix of parts of words');
  const words = listTokens(spec, rows);
  const parts = (model.byteFallback ? llamaParts : gpt2Parts)(spec, model, words, notes);
  const strips = spec.added.filter((t) => t.lstrip || t.rstrip || t.singleWord).length;
  if (strips > 0)
    notes.push(`${strips} added tokens take white space beside them or only whole words; GGUF cannot say so`);
  if (spec.cleanUp) notes.push('GGUF readers do not clean up spaces in decoded text as this tokenizer does');
  const metadata = new Map<string, GgufValue>([
    ...parts,
    ['tokenizer.ggml.tokens', strings(words.tokens)],
    ['tokenizer.ggml.token_type', { type: 'array', items: 'int32', value: words.types }],
    ...(model.unkId === undefined ? [] : [['tokenizer.ggml.unknown_token_id', id(model.unkId)] as [string, GgufValue]]),
    ...around(spec),
    ...templates(spec),
  ]);
  return { metadata, notes };
}
