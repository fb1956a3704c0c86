/** Finds added tokens in a text: leftmost, longest. */
import type { AddedToken } from './spec.js';

export interface Match {
  readonly token: AddedToken;
  readonly start: number;
  readonly end: number;
}

interface TrieNode {
  token: AddedToken | undefined;
  readonly children: Map<number, TrieNode>;
}

const wordCharacter = /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]/u;
const whiteSpace = /\p{White_Space}/u;

function characterBefore(text: string, at: number): string {
  const code = at >= 2 ? text.codePointAt(at - 2) : undefined;
  return code !== undefined && code > 0xffff ? String.fromCodePoint(code) : (text[at - 1] ?? '');
}

function characterAt(text: string, at: number): string {
  const code = text.codePointAt(at);
  return code === undefined ? '' : String.fromCodePoint(code);
}

export class AddedTokenFinder {
  private readonly root: TrieNode = { token: undefined, children: new Map() };
  /** One flag per UTF-16 unit that can begin a token: most positions are passed over by it. */
  private readonly first = new Uint8Array(0x10000);
  private readonly empty: boolean;

  /** @param spelled tokens with the text that stands for each (it may be normalised) */
  constructor(spelled: readonly (readonly [string, AddedToken])[]) {
    for (const [text, token] of spelled) {
      if (text === '') continue;
      this.first[text.charCodeAt(0)] = 1;
      let node = this.root;
      for (let i = 0; i < text.length; i += 1) {
        const unit = text.charCodeAt(i);
        let child = node.children.get(unit);
        if (child === undefined) {
          child = { token: undefined, children: new Map() };
          node.children.set(unit, child);
        }
        node = child;
      }
      node.token ??= token;
    }
    this.empty = this.root.children.size === 0;
  }

  /**
   * Matches in order, without overlap.
   * @param allowed whether a token may be taken at text[start .. end]
   */
  find(text: string, allowed: (token: AddedToken, start: number, end: number) => boolean): Match[] {
    const found: Match[] = [];
    if (this.empty) return found;
    let last = 0;
    for (let start = 0; start < text.length; start += 1) {
      if (this.first[text.charCodeAt(start)] === 0) continue;
      const match = this.longest(text, start, allowed);
      if (match === undefined) continue;
      const widened = widen(text, match, last);
      found.push(widened);
      last = widened.end;
      start = widened.end - 1;
    }
    return found;
  }

  private longest(
    text: string,
    start: number,
    allowed: (token: AddedToken, start: number, end: number) => boolean,
  ): Match | undefined {
    let node: TrieNode | undefined = this.root;
    let best: Match | undefined;
    for (let i = start; i < text.length; i += 1) {
      node = node.children.get(text.charCodeAt(i));
      if (node === undefined) break;
      const { token } = node;
      if (token === undefined || !allowed(token, start, i + 1)) continue;
      if (token.singleWord) {
        const inWord = wordCharacter.test(characterBefore(text, start)) || wordCharacter.test(characterAt(text, i + 1));
        if (inWord) continue;
      }
      best = { token, start, end: i + 1 };
    }
    return best;
  }
}

/** Takes the white space around a token that asks for it, back to `last` at most. */
function widen(text: string, match: Match, last: number): Match {
  let { start, end } = match;
  if (match.token.lstrip) while (start > last && whiteSpace.test(text[start - 1] as string)) start -= 1;
  if (match.token.rstrip) while (end < text.length && whiteSpace.test(text[end] as string)) end += 1;
  return { token: match.token, start, end };
}
