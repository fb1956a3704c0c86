/** Puts the tokens of one text or two together as the post-processor's template says, cut to a length before. */
import { InputError, OptionError, TokenizerError } from '../errors.js';
import type { AlignedTokens } from './aligned_encoder.js';
import type { Encoding, PairTruncation } from './protocol.js';
import type { PostSpec, TemplateItem, TokenizerSpec } from './spec.js';

export interface JoinOptions {
  readonly addSpecial: boolean;
  /** Most tokens of the result, added special ones included; undefined: no limit. */
  readonly maxLength: number | undefined;
  readonly truncate: PairTruncation;
}

/** Ids before and after the text of a single template. */
export function singleAround(single: readonly TemplateItem[]): [number[], number[]] {
  const at = single.findIndex((item) => 'sequence' in item);
  const idsOf = (items: readonly TemplateItem[]): number[] => items.flatMap((item) => ('ids' in item ? item.ids : []));
  return [idsOf(single.slice(0, at)), idsOf(single.slice(at + 1))];
}

function specials(template: readonly TemplateItem[]): number {
  return template.reduce((count, item) => count + ('ids' in item ? item.ids.length : 0), 0);
}

/** A text's tokens, of which the first `length` are taken. */
interface Taken {
  readonly tokens: AlignedTokens;
  readonly length: number;
}

function join(template: readonly TemplateItem[], taken: readonly Taken[], addSpecial: boolean): Encoding {
  const items = addSpecial ? template : template.filter((item) => 'sequence' in item);
  const sizeOf = (item: TemplateItem): number =>
    'ids' in item ? item.ids.length : (taken[item.sequence] as Taken).length;
  const size = items.reduce((sum, item) => sum + sizeOf(item), 0);
  const typeIds = new Int32Array(size);
  const [ids, offsets, sequence] = [new Int32Array(size), new Int32Array(2 * size), new Int8Array(size).fill(-1)];
  let at = 0;
  for (const item of items) {
    const end = at + sizeOf(item);
    typeIds.fill(item.type, at, end);
    if ('ids' in item) ids.set(item.ids, at);
    else {
      const { tokens, length } = taken[item.sequence] as Taken;
      ids.set(tokens.ids.subarray(0, length), at);
      offsets.set(tokens.offsets.subarray(0, 2 * length), 2 * at);
      sequence.fill(item.sequence, at, end);
    }
    at = end;
  }
  return { ids, typeIds, offsets, sequence };
}

export function joinSingle(post: PostSpec, tokens: AlignedTokens, addSpecial: boolean): Encoding {
  return join(post.single, [{ tokens, length: tokens.ids.length }], addSpecial);
}

/**
 * Numbers of tokens left of two texts when both may be cut: the longer one gives way until they are equal, then they
 * share. Who is longer is asked of `counted`, as Hugging Face does, and tells who gets the odd token.
 */
function longestFirst(a: AlignedTokens, b: AlignedTokens, room: number): [number, number] {
  const swap = a.counted > b.counted;
  let short = Math.min(a.ids.length, b.ids.length);
  let long = short > room ? short : Math.max(short, room - short);
  if (short + long > room) {
    short = Math.floor(room / 2);
    long = short + (room % 2);
  }
  return swap ? [long, short] : [short, long];
}

/** Numbers of tokens of both texts that stay. */
function lengths(a: AlignedTokens, b: AlignedTokens, room: number, truncate: PairTruncation): [number, number] {
  const [first, second] = [a.ids.length, b.ids.length];
  if (first + second <= room) return [first, second];
  if (room === 0) return [0, 0];
  if (truncate === 'longest') return longestFirst(a, b, room);
  const [cut, whole] = truncate === 'first' ? [first, second] : [second, first];
  if (whole >= room) {
    throw new InputError(`the ${truncate} text cannot be cut enough: the other one alone fills maxLength`, {
      expected: `fewer than ${room} tokens in the other text`,
      found: `${cut} in the ${truncate} text, ${whole} in the other one`,
      hint: "Raise maxLength, or use truncate: 'longest'",
    });
  }
  return truncate === 'first' ? [room - second, second] : [first, room - first];
}

export function joinPair(spec: TokenizerSpec, a: AlignedTokens, b: AlignedTokens, options: JoinOptions): Encoding {
  const { pair } = spec.post;
  if (pair === undefined) {
    throw new TokenizerError('this tokenizer does not say how a pair of texts is joined', {
      file: spec.origin,
      name: 'post_processor',
      expected: 'a pair template with sequences A and B once each',
    });
  }
  const { addSpecial, maxLength, truncate } = options;
  let room = Number.POSITIVE_INFINITY;
  if (maxLength !== undefined) {
    const added = addSpecial ? specials(pair) : 0;
    if (maxLength < added) {
      throw new OptionError('encodePair: maxLength leaves no room for the special tokens', {
        name: 'maxLength',
        expected: `at least ${added}`,
        found: maxLength,
      });
    }
    room = maxLength - added;
  }
  const [first, second] = lengths(a, b, room, truncate);
  const taken = [
    { tokens: a, length: first },
    { tokens: b, length: second },
  ];
  return join(pair, taken, addSpecial);
}
