/** What crosses between the main thread and the text worker: plain data only. */
import type { LanguageCodes } from './spec.js';

/** A stretch of text; special tokens are recognised in it only where `special` is true. */
export interface Segment {
  readonly text: string;
  readonly special: boolean;
}

/** The tokens of a text or of a pair of texts; every list has one entry per token, `offsets` two. */
export interface Encoding {
  readonly ids: Int32Array;
  /** Segment of each token, as the tokenizer's post-processor numbers them. */
  readonly typeIds: Int32Array;
  /**
   * Begin and end, in UTF-16 units of the text that the token comes from (`text.slice(begin, end)`); 0, 0 for a special
   * token that was added. Tokens that are parts of one character all have the whole of it.
   */
  readonly offsets: Int32Array;
  /** 0: from the (first) text; 1: from the second; −1: a special token that was added. */
  readonly sequence: Int8Array;
}

/** Which text gives way where a pair is too long: the longer one, or one of them alone. */
export type PairTruncation = 'longest' | 'first' | 'second';

export interface ChatTemplateSource {
  /** `default`, or the name under which the files list it (`tool_use`, `rag`). */
  readonly name: string;
  readonly template: string;
  /** File or metadata key that it comes from. */
  readonly origin: string;
  /** SHA-256 of the template, hex. */
  readonly sha256: string;
}

/** Flag bits per token. */
export const TokenFlag = { special: 1, present: 2 } as const;

/** How the bytes of single tokens join to a text. */
export interface DecodeRules {
  /** Spaces dropped at the very start of the text, when it begins with them (SentencePiece's dummy prefix). */
  readonly stripLeading: number;
  /** WordPiece: the first token is spelled as it stands, without joining rules. */
  readonly rawFirst: boolean;
  /** A word suffix decodes to a space, except at the end of the text. */
  readonly dropTrailingSpace: boolean;
  /** `clean_up_tokenization_spaces`: " ." → "." and so on. */
  readonly cleanUp: boolean;
}

/** Token strings and their decoded bytes, each as one blob: token i is `bytes[offsets[i] .. offsets[i + 1]]`. */
export interface TableData {
  readonly vocabSize: number;
  readonly textBytes: Uint8Array;
  readonly textOffsets: Uint32Array;
  readonly tokenBytes: Uint8Array;
  readonly tokenOffsets: Uint32Array;
  readonly flags: Uint8Array;
  /** Open-addressing hash of token strings → id, −1 where empty; length is a power of two. */
  readonly index: Int32Array;
  readonly rules: DecodeRules;
}

export interface LoadResult {
  readonly table: TableData;
  readonly bosId: number | undefined;
  readonly eosIds: readonly number[];
  readonly padId: number | undefined;
  readonly unkId: number | undefined;
  readonly specialIds: readonly number[];
  readonly specialTokens: Readonly<Record<string, string>>;
  readonly chatTemplates: readonly ChatTemplateSource[];
  readonly languages: LanguageCodes | undefined;
}

/** FNV-1a over bytes, for `TableData.index`. */
export function hashBytes(bytes: Uint8Array, start: number, end: number): number {
  let hash = 0x811c9dc5;
  for (let i = start; i < end; i += 1) hash = Math.imul(hash ^ (bytes[i] as number), 0x01000193);
  return hash >>> 0;
}
