/** Checks on vocabularies, merges, and post-processors, before anything is built from them. */
import { TokenizerError } from '../errors.js';
import { type AddedToken, isObject, type Json, type JsonObject, type MergeList, unknownSymbol } from './spec.js';

/** Largest id allowed: gaps are legal, arrays sized from a wild id are not. */
function idLimit(entries: number): number {
  return Math.min(4 * entries + 65_536, unknownSymbol);
}

function checkId(id: unknown, token: string, limit: number, origin: string): number {
  if (typeof id === 'number' && Number.isInteger(id) && id >= 0 && id < limit) return id;
  throw new TokenizerError(`token ${JSON.stringify(token)} has an unusable id`, {
    file: origin,
    expected: `an integer in 0 … ${limit - 1}`,
    found: id,
  });
}

/** token → id from a JSON object. */
export function checkVocab(value: Json | undefined, origin: string): Map<string, number> {
  if (!isObject(value))
    throw new TokenizerError('vocab must be an object of token: id', { file: origin, found: typeof value });
  const entries = Object.entries(value);
  if (entries.length === 0) throw new TokenizerError('vocab is empty', { file: origin });
  const vocab = new Map<string, number>();
  const taken = new Map<number, string>();
  const limit = idLimit(entries.length);
  for (const [token, raw] of entries) {
    const id = checkId(raw, token, limit, origin);
    const other = taken.get(id);
    if (other !== undefined) {
      throw new TokenizerError(`tokens ${JSON.stringify(other)} and ${JSON.stringify(token)} share one id`, {
        file: origin,
        found: id,
      });
    }
    taken.set(id, token);
    vocab.set(token, id);
  }
  return vocab;
}

/** Unigram's vocab: a list of [piece, score]. */
export function checkPieces(value: Json | undefined, origin: string): [string, number][] {
  if (!Array.isArray(value) || value.length === 0) {
    throw new TokenizerError('a Unigram vocab must be a list of [piece, score]', { file: origin });
  }
  return value.map((entry, i) => {
    const [piece, score] = Array.isArray(entry) ? entry : [];
    if (typeof piece !== 'string' || typeof score !== 'number' || !Number.isFinite(score)) {
      throw new TokenizerError(`vocab[${i}] must be [piece, score]`, { file: origin, found: entry });
    }
    return [piece, score];
  });
}

/** Pair of a merge: `"a b"` or `["a", "b"]`; tokens may hold spaces, then the cut is where all three tokens exist. */
function mergePair(
  entry: unknown,
  i: number,
  vocab: ReadonlyMap<string, number>,
  origin: string,
): readonly [string, string] {
  if (Array.isArray(entry) && entry.length === 2) {
    const [left, right] = entry as unknown[];
    if (typeof left === 'string' && typeof right === 'string' && left !== '' && right !== '') return [left, right];
  } else if (typeof entry === 'string') {
    let found: readonly [string, string] | undefined;
    for (let at = entry.indexOf(' ', 1); at > 0 && at < entry.length - 1; at = entry.indexOf(' ', at + 1)) {
      const pair = [entry.slice(0, at), entry.slice(at + 1)] as const;
      if (vocab.has(pair[0]) && vocab.has(pair[1]) && vocab.has(pair[0] + pair[1])) return pair;
      found ??= pair;
    }
    if (found !== undefined) return found;
  }
  throw new TokenizerError(`merge ${i} must be a pair of tokens`, { file: origin, found: entry });
}

/** Merge rules with every part and every result in the vocabulary. */
export function checkMerges(
  merges: readonly unknown[],
  vocab: ReadonlyMap<string, number>,
  prefix: string,
  origin: string,
): MergeList {
  const n = merges.length;
  const list = {
    left: new Int32Array(n),
    right: new Int32Array(n),
    merged: new Int32Array(n),
    rank: new Int32Array(n),
  };
  for (let i = 0; i < n; i += 1) {
    const [left, right] = mergePair(merges[i], i, vocab, origin);
    if (prefix.length > right.length) {
      throw new TokenizerError(`merge ${i}: the right part is shorter than the continuing prefix`, { file: origin });
    }
    const joined = left + (prefix !== '' && right.startsWith(prefix) ? right.slice(prefix.length) : right);
    const ids = [left, right, joined].map((token) => vocab.get(token));
    const missing = ids.indexOf(undefined);
    if (missing >= 0) {
      throw new TokenizerError(`merge ${i} needs a token that the vocabulary lacks`, {
        file: origin,
        expected: [left, right, joined][missing],
        found: `merge ${left} ${right}`,
      });
    }
    [list.left[i], list.right[i], list.merged[i]] = ids as [number, number, number];
    list.rank[i] = i;
  }
  return list;
}

const flagNames = ['special', 'normalized', 'lstrip', 'rstrip', 'single_word'] as const;

/** One entry of `added_tokens` or `added_tokens_decoder`. */
export function addedToken(entry: JsonObject, id: Json | undefined, limit: number, origin: string): AddedToken {
  const { content } = entry;
  if (typeof content !== 'string' || content === '') {
    throw new TokenizerError('an added token needs a non-empty content', { file: origin, found: entry });
  }
  for (const name of flagNames) {
    if (entry[name] !== undefined && typeof entry[name] !== 'boolean') {
      throw new TokenizerError(`added token ${JSON.stringify(content)}: ${name} must be a boolean`, { file: origin });
    }
  }
  const special = entry.special === true;
  return {
    id: checkId(id, content, limit, origin),
    content,
    special,
    normalized: (entry.normalized ?? !special) === true,
    lstrip: entry.lstrip === true,
    rstrip: entry.rstrip === true,
    singleWord: entry.single_word === true,
  };
}

/** Added tokens must not contradict each other or the vocabulary. */
export function checkAdded(added: readonly AddedToken[], vocab: ReadonlyMap<string, number>, origin: string): void {
  const byContent = new Map<string, number>();
  const byId = new Map<number, string>();
  const names = new Map<number, string>();
  for (const [token, id] of vocab) names.set(id, token);
  for (const { id, content } of added) {
    const inVocab = vocab.get(content);
    const other = byId.get(id) ?? names.get(id);
    if ((other !== undefined && other !== content) || (byContent.get(content) ?? inVocab ?? id) !== id) {
      throw new TokenizerError(`added token ${JSON.stringify(content)} contradicts another token`, {
        file: origin,
        expected: { id: inVocab ?? byContent.get(content), content: other },
        found: { id, content },
      });
    }
    byContent.set(content, id);
    byId.set(id, content);
  }
}

export function addedLimit(vocab: ReadonlyMap<string, number>, added: number): number {
  return idLimit(vocab.size + added);
}
