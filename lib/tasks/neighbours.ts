import type { TokenTable } from '../engine/token_table.js';
import { InputError, OptionError } from '../errors.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { checkObject } from './arguments.js';
import { largest } from './largest.js';
import { checkIds } from './whole.js';

/** A token by its text, which must be one token, or by its id. */
export type Token = string | number;

/** Sums of embeddings: { plus: ['woman', 'king'], minus: ['man'] } is woman − man + king. */
export interface TokenSum {
  readonly plus: readonly Token[];
  readonly minus?: readonly Token[] | undefined;
}

export interface NeighbourOptions {
  /** How many, from 1 to 1000; default 10. */
  readonly count?: number | undefined;
}

export interface Neighbour {
  readonly id: number;
  /** As the vocabulary spells it; undefined without a tokenizer. */
  readonly token: string | undefined;
  /** Cosine of the angle between the two vectors. */
  readonly similarity: number;
}

/** What asks for tokens: the table and how texts become ids. */
export interface TokenSpace {
  readonly table: TokenTable;
  readonly tokenizer: Tokenizer | undefined;
  /** Whether the tokenizer spells the ids of this table; default true. */
  readonly spells?: boolean;
}

async function idOf({ table, tokenizer, spells = true }: TokenSpace, token: Token, name: string): Promise<number> {
  if (typeof token === 'number') {
    checkIds([token], table.vocab, name);
    return token;
  }
  if (typeof token !== 'string')
    throw new InputError(`${name} is no token`, { name, expected: 'a text of one token, or an id', found: token });
  if (tokenizer === undefined)
    throw new InputError('this checkpoint has no tokenizer', { name, expected: 'an id', found: token });
  const ids = await tokenizer.encode(token, { addSpecial: false });
  if (ids.length === 1) return ids[0]!;
  throw new InputError(`${name} must be one token`, {
    name,
    expected: 'one token',
    found: spells ? Array.from(ids, (id) => tokenizer.idToToken(id)) : `${ids.length} tokens`,
    hint: 'Write a space before a word in the middle of a text, or give an id',
  });
}

/** The stored vector of a token (width). Throws InputError. */
export async function embeddingOf(space: TokenSpace, token: Token): Promise<Float32Array> {
  return space.table.vector(await idOf(space, token, 'token'));
}

interface Question {
  readonly vector: Float32Array;
  /** Tokens that it names. */
  readonly named: readonly number[];
}

async function questionOf(space: TokenSpace, of: Token | Float32Array | TokenSum): Promise<Question> {
  const { table } = space;
  if (of instanceof Float32Array) {
    if (of.length !== table.width)
      throw new InputError('a vector of another size', { name: 'of', expected: table.width, found: of.length });
    return { vector: of, named: [] };
  }
  if (typeof of === 'string' || typeof of === 'number') return questionOf(space, { plus: [of] });
  checkObject('of', of, ['plus', 'minus']);
  const { plus, minus = [] } = of;
  if (!Array.isArray(plus) || !Array.isArray(minus) || plus.length + minus.length === 0)
    throw new InputError('a sum of nothing', { name: 'of', expected: 'lists of tokens: plus, minus', found: of });
  const vector = new Float32Array(table.width);
  const named: number[] = [];
  for (const [sign, list] of [
    [1, plus],
    [-1, minus],
  ] as const)
    for (const token of list) {
      const id = await idOf(space, token, 'of');
      named.push(id);
      for (const [i, x] of (await table.vector(id)).entries()) vector[i]! += sign * x;
    }
  return { vector, named };
}

/** Tokens whose embeddings point the way of a vector, nearest first; those that the question names are left out. */
export async function neighboursOf(
  space: TokenSpace,
  of: Token | Float32Array | TokenSum,
  options: NeighbourOptions,
): Promise<Neighbour[]> {
  checkObject('options', options, ['count']);
  const { table } = space;
  const tokenizer = space.spells === false ? undefined : space.tokenizer;
  const { count = 10 } = options;
  const most = Math.min(1000, table.vocab);
  if (!Number.isInteger(count) || count < 1 || count > most)
    throw new OptionError('bad count', { name: 'count', expected: `an integer from 1 to ${most}`, found: count });
  const { vector, named } = await questionOf(space, of);
  if (!vector.every(Number.isFinite) || vector.every((x) => x === 0))
    throw new InputError('a vector without direction', { name: 'of', expected: 'finite numbers, not all 0' });
  const cosines = await table.cosines(vector);
  // Rows at the end of the table may stand for no token.
  cosines.fill(-Infinity, Math.min(table.vocab, tokenizer?.vocabSize ?? table.vocab));
  for (const id of named) cosines[id] = -Infinity;
  return largest(cosines, count)
    .filter((id) => cosines[id]! > -Infinity)
    .map((id) => ({ id, token: tokenizer?.idToToken(id), similarity: cosines[id]! }));
}
