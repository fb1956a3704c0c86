/** One tokenizer, however its files spell it: what the encoder and the decode table are built from. */
import type { ChatTemplateSource } from './protocol.js';

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
export type JsonObject = { [key: string]: Json };

export interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly special: boolean;
  /** Matched in the normalised text rather than in the raw text. */
  readonly normalized: boolean;
  /** Takes the white space before (after) it. */
  readonly lstrip: boolean;
  readonly rstrip: boolean;
  /** Only where no word character touches it. */
  readonly singleWord: boolean;
}

/** Merge rules: pair (left, right) → merged, lower rank first, leftmost first among equal ranks. */
export interface MergeList {
  readonly left: Int32Array;
  readonly right: Int32Array;
  readonly merged: Int32Array;
  readonly rank: Int32Array;
}

export interface BpeSpec {
  readonly kind: 'bpe';
  readonly merges: MergeList;
  readonly byteFallback: boolean;
  readonly fuseUnk: boolean;
  readonly unkId: number | undefined;
  /** A piece that is itself a token is taken whole. */
  readonly ignoreMerges: boolean;
  readonly endOfWordSuffix: string;
  readonly continuingPrefix: string;
}

export interface UnigramSpec {
  readonly kind: 'unigram';
  readonly pieces: readonly (readonly [string, number])[];
  readonly unkId: number | undefined;
  readonly byteFallback: boolean;
  /** Ids of the 256 bytes, where they are not to be found by name: their names then match no text. */
  readonly byteIds?: readonly number[] | undefined;
  /** Scores are summed in f32, as the sentencepiece library does. */
  readonly float32?: boolean;
}

export interface WordPieceSpec {
  readonly kind: 'wordpiece';
  readonly unkId: number;
  readonly prefix: string;
  readonly maxChars: number;
}

export type ModelSpec = BpeSpec | UnigramSpec | WordPieceSpec;

/** Part of a template: the tokens of a text (0 the first, 1 the second) or special tokens; `type` is their segment. */
export type TemplateItem =
  | { readonly sequence: 0 | 1; readonly type: number }
  | { readonly ids: readonly number[]; readonly type: number };

/** What is put around a text and around a pair of texts. */
export interface PostSpec {
  /** Names text 0 once. */
  readonly single: readonly TemplateItem[];
  /** Names both texts once; undefined where the files do not say how to join them. */
  readonly pair: readonly TemplateItem[] | undefined;
  /** One entry for each step that trims offsets: whether a prefix space was added to texts. */
  readonly trims: readonly boolean[];
}

/** A model whose own numbering of pieces is not that of the ids. */
export interface PieceIds {
  /** Piece → index, as the model counts. */
  readonly pieces: ReadonlyMap<string, number>;
  /** Id of each index; −1: the unknown token. */
  readonly ids: Int32Array;
  readonly unkId: number;
  /** Index that the model gives for what it does not know. */
  readonly unknown: number;
  /** What the model does not know may yet be a token of the vocabulary, as it stands in the text (vocab.json). */
  readonly bySpelling: boolean;
}

/** How a text says which language it is in, or is to become. */
export interface LanguageCodes {
  /** `before`, `after`: a token of the source language before the text, or after it and its end; `target`: one of the target language before the text. */
  readonly place: 'before' | 'after' | 'target';
  /** Where the target language's token stands: the decoder's first id after the start, or in place of the start (mBART-25). */
  readonly writes: 'forced' | 'start';
  /** Code → id. */
  readonly ids: ReadonlyMap<string, number>;
  /** Language of texts where nothing is said. */
  readonly source: string | undefined;
}

export interface TokenizerSpec {
  /** File or metadata that errors name. */
  readonly origin: string;
  readonly vocab: ReadonlyMap<string, number>;
  readonly added: readonly AddedToken[];
  readonly normalizer: JsonObject | null;
  readonly preTokenizer: JsonObject | null;
  readonly model: ModelSpec;
  readonly post: PostSpec;
  readonly decoder: JsonObject | null;
  readonly cleanUp: boolean;
  readonly bosId: number | undefined;
  readonly eosIds: readonly number[];
  readonly padId: number | undefined;
  readonly specialTokens: Readonly<Record<string, string>>;
  readonly chatTemplates: readonly ChatTemplateSource[];
  /** Where the model counts its pieces otherwise. */
  readonly pieceIds?: PieceIds | undefined;
  /** A text may begin with a token `>>…<<`. */
  readonly leadingCode?: boolean | undefined;
  readonly languages?: LanguageCodes | undefined;
  /** How texts of the target language are spelled, where that differs: Marian. Decoding is by this one. */
  readonly target?: TokenizerSpec | undefined;
}

/** An unknown character among BPE symbols: this bit plus its code point. Ids stay below it. */
export const unknownSymbol: number = 1 << 22;

export function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** GPT-2's bytes → printable characters: byte b is spelled `byteChars[b]`. */
export const byteChars: readonly string[] = (() => {
  const printable = (b: number): boolean => (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
  let next = 0x100;
  return Array.from({ length: 256 }, (_, b) => {
    if (printable(b)) return String.fromCharCode(b);
    next += 1;
    return String.fromCharCode(next - 1);
  });
})();

export const charToByte: ReadonlyMap<string, number> = new Map(byteChars.map((char, byte) => [char, byte]));

/** Byte of a token `<0x41>`, or −1. */
export function byteOfToken(token: string): number {
  return /^<0x[0-9A-Fa-f]{2}>$/.test(token) ? Number.parseInt(token.slice(3, 5), 16) : -1;
}

/** `<0x41>` for byte 0x41. */
export function byteToken(byte: number): string {
  return `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`;
}
