/** A token of a text, and where it ends in seconds; it begins where the one before it ends. */
export interface TimedToken {
  readonly id: number;
  readonly start: number;
  readonly end: number;
  readonly logprob: number;
}

/** Languages that put no spaces between words. */
const unspaced = ['zh', 'ja', 'th', 'lo', 'my', 'yue'];
const punctuation = '!"#$%&\'()*+,-./:;<=>?@[\\]^_`{|}~';
const prepended = '"\'“¡¿([{-';
const appended = '"\'.。,，!！?？:：”)]}、';

interface Piece {
  text: string;
  tokens: TimedToken[];
}

/** Splits where the tokens so far are whole characters, or will never be. */
function characters(tokens: readonly TimedToken[], decode: (ids: readonly number[]) => string): Piece[] {
  const broken = '\ufffd';
  const full = Array.from(decode(tokens.map((t) => t.id)));
  const pieces: Piece[] = [];
  let [current, offset]: [TimedToken[], number] = [[], 0];
  for (const token of tokens) {
    current.push(token);
    const text = Array.from(decode(current.map((t) => t.id)));
    const at = text.indexOf(broken);
    if (at >= 0 && offset + at < full.length && full[offset + at] !== broken) continue;
    pieces.push({ text: text.join(''), tokens: current });
    current = [];
    offset += text.length;
  }
  return pieces;
}

/** Joins what begins with neither a space nor punctuation to what is before it. */
function bySpaces(pieces: readonly Piece[]): Piece[] {
  const words: Piece[] = [];
  for (const piece of pieces) {
    const begins = piece.text.startsWith(' ') || punctuation.includes(piece.text.trim()) || words.length === 0;
    if (begins) words.push({ text: piece.text, tokens: [...piece.tokens] });
    else {
      words.at(-1)!.text += piece.text;
      words.at(-1)!.tokens.push(...piece.tokens);
    }
  }
  return words;
}

/** Opening marks go to the word after them, closing ones to the word before. */
function mergeMarks(words: Piece[]): Piece[] {
  let after = words.length - 1;
  for (let i = words.length - 2; i >= 0; i--) {
    const [word, next] = [words[i]!, words[after]!];
    if (word.text.startsWith(' ') && prepended.includes(word.text.trim())) {
      Object.assign(next, { text: word.text + next.text, tokens: [...word.tokens, ...next.tokens] });
      Object.assign(word, { text: '', tokens: [] });
    } else after = i;
  }
  let before = 0;
  for (let j = 1; j < words.length; j++) {
    const [word, last] = [words[j]!, words[before]!];
    if (!last.text.endsWith(' ') && appended.includes(word.text)) {
      Object.assign(last, { text: last.text + word.text, tokens: [...last.tokens, ...word.tokens] });
      Object.assign(word, { text: '', tokens: [] });
    } else before = j;
  }
  return words.filter((w) => w.text !== '');
}

/**
 * Words of a segment's text tokens as WhisperTokenizer groups them (_combine_tokens_into_words), with the spaces that they
 * begin with. `language`: its code; undefined: one with spaces.
 */
export function wordsOf(
  tokens: readonly TimedToken[],
  language: string | undefined,
  decode: (ids: readonly number[]) => string,
): { text: string; start: number; end: number; confidence: number }[] {
  const pieces = characters(tokens, decode);
  const words = mergeMarks(unspaced.includes(language ?? '') ? pieces : bySpaces(pieces));
  return words.map((word) => ({
    text: word.text,
    start: word.tokens[0]!.start,
    end: word.tokens.at(-1)!.end,
    confidence: Math.exp(word.tokens.reduce((sum, t) => sum + t.logprob, 0) / word.tokens.length),
  }));
}
