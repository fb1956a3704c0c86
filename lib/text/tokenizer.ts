/**
 * Tokenizers: text ↔ token ids. Vocabularies are parsed and texts are encoded in one worker thread per process,
 * so that neither a 150k-token vocabulary nor a megabyte of text blocks the event loop. Decoding works on byte tables
 * kept here: it is synchronous and streams.
 */
import { InputError, OptionError } from '../errors.js';
import { DetokenizerStream, TokenTable } from './detokenizer.js';
import { checkPair, checkSegments, checkText } from './limits.js';
import type { ChatTemplateSource, Encoding, LoadResult, PairTruncation, Segment } from './protocol.js';
import type { LanguageCodes } from './spec.js';
import { type TokenizerSource, textWorker } from './text_worker.js';

export { DetokenizerStream } from './detokenizer.js';
export type { ChatTemplateSource, Encoding, PairTruncation, Segment } from './protocol.js';
export type { LanguageCodes } from './spec.js';
export type { GgufMetadata, TokenizerSource } from './text_worker.js';

export interface EncodeOptions {
  /** Whether special tokens spelled in the text become their ids (template text). Default false: user text cannot inject them. */
  readonly specialTokens?: boolean;
  /** Whether BOS, EOS and the like are added as the tokenizer's post-processor says. Default true. */
  readonly addSpecial?: boolean;
  /** Whether the text is one that the model writes, where these are spelled otherwise (Marian's target.spm). Default false. */
  readonly target?: boolean;
}

export interface PairOptions {
  /** Whether the post-processor's special tokens are added. Default true. */
  readonly addSpecial?: boolean;
  /** Most tokens of the result, added special tokens included. Default: no limit. */
  readonly maxLength?: number;
  /**
   * What is cut, at its end, where the pair is longer than `maxLength`: `longest` takes from the longer text until both
   * are equally long (Hugging Face's `longest_first`), `first` and `second` from that text alone (`only_first`,
   * `only_second`). Default `longest`. Needs `maxLength`.
   */
  readonly truncate?: PairTruncation;
}

export interface DecodeOptions {
  /** Leave special tokens out of the text. Default false. */
  readonly skipSpecial?: boolean;
}

export interface StreamOptions extends DecodeOptions {
  /** Ids that come before, such as the end of a prompt that is continued; the last few are enough. */
  readonly after?: ArrayLike<number>;
}

export interface Tokenizer {
  /** Highest id + 1. */
  readonly vocabSize: number;
  readonly bosId: number | undefined;
  /** Ids that end a text by the tokenizer's own files; `generation_config.json` may name more. */
  readonly eosIds: readonly number[];
  readonly padId: number | undefined;
  readonly unkId: number | undefined;
  /** Ids of all tokens marked special. */
  readonly specialIds: readonly number[];
  /** Named special tokens as strings: `bos_token`, `eos_token`, `pad_token`, …, for chat templates. */
  readonly specialTokens: Readonly<Record<string, string>>;
  /** Chat templates found beside the tokenizer, the one to prefer first. */
  readonly chatTemplates: readonly ChatTemplateSource[];
  /** Languages that texts may be marked with; undefined where there are none. */
  readonly languages: LanguageCodes | undefined;
  /** Text → ids, `Int32Array(tokens)`. Never blocks the event loop. Lone surrogates become U+FFFD. */
  encode(text: string, options?: EncodeOptions): Promise<Int32Array>;
  /**
   * One text given in parts of different trust → ids. The parts are tokenised as one text, but a special token counts
   * only where it lies wholly inside one part with `special: true`. `addSpecial` defaults to false: a chat template
   * spells its own BOS.
   */
  encodeSegments(segments: readonly Segment[], options?: { readonly addSpecial?: boolean }): Promise<Int32Array>;
  /**
   * As `encode`, with the stretch of `text` that each token comes from, through all normalisation: the offsets of Hugging
   * Face's tokenizers, in UTF-16 units.
   */
  encodeWithOffsets(text: string, options?: Omit<EncodeOptions, 'target'>): Promise<Encoding>;
  /**
   * Two texts joined by the tokenizer's template for pairs (question and passage, query and document). Special tokens
   * spelled in them are ordinary text. Throws TokenizerError where the tokenizer has no such template, OptionError where
   * `maxLength` is below the special tokens, InputError where the text to be cut is too short for that.
   */
  encodePair(first: string, second: string, options?: PairOptions): Promise<Encoding>;
  /** Ids → text; invalid UTF-8 becomes U+FFFD. Throws InputError for an id outside the vocabulary. */
  decode(ids: ArrayLike<number>, options?: DecodeOptions): string;
  /** Incremental `decode`: the pieces joined equal `decode` of all ids. */
  stream(options?: StreamOptions): DetokenizerStream;
  idToToken(id: number): string | undefined;
  tokenToId(token: string): number | undefined;
  /** Frees the tables in the worker. An idle worker never keeps the process alive. */
  close(): void;
}

/** Options are an object of these names, `flags` true or false. Throws OptionError. */
function checkFlags(call: string, options: object, flags: readonly string[], others: readonly string[] = []): void {
  if (typeof options !== 'object' || options === null)
    throw new OptionError(`${call}: options`, { name: 'options', expected: 'an object', found: options });
  for (const [name, value] of Object.entries(options)) {
    if (flags.includes(name) ? value !== undefined && typeof value !== 'boolean' : !others.includes(name))
      throw new OptionError(`${call}: ${flags.includes(name) ? 'bad' : 'unknown'} option ${name}`, {
        name,
        expected: flags.includes(name) ? 'true or false' : [...flags, ...others].join(', '),
        found: value,
      });
  }
}

const truncations: readonly unknown[] = ['longest', 'first', 'second'] satisfies PairTruncation[];

function checkPairOptions(options: PairOptions): void {
  checkFlags('encodePair', options, ['addSpecial'], ['maxLength', 'truncate']);
  const { maxLength, truncate } = options;
  if (maxLength !== undefined && !(Number.isSafeInteger(maxLength) && maxLength > 0)) {
    throw new OptionError('encodePair: bad maxLength', {
      name: 'maxLength',
      expected: 'a whole number of tokens from 1 on',
      found: maxLength,
    });
  }
  if (truncate === undefined) return;
  if (!truncations.includes(truncate)) {
    const expected = truncations.join(', ');
    throw new OptionError('encodePair: bad truncate', { name: 'truncate', expected, found: truncate });
  }
  if (maxLength === undefined) {
    throw new OptionError('encodePair: truncate does nothing without maxLength', {
      name: 'maxLength',
      found: maxLength,
    });
  }
}

function checkIdList(call: string, ids: ArrayLike<number>): void {
  if (Array.isArray(ids) || (ArrayBuffer.isView(ids) && !(ids instanceof DataView))) return;
  throw new InputError(`${call}: ids`, { name: 'ids', expected: 'an array or Int32Array', found: ids });
}

/** Tokenizers that were dropped without close(): the worker frees their tables too. */
const dropped = new FinalizationRegistry<number>((handle) => textWorker().unload(handle));

class WorkerTokenizer implements Tokenizer {
  readonly vocabSize: number;
  readonly bosId: number | undefined;
  readonly eosIds: readonly number[];
  readonly padId: number | undefined;
  readonly unkId: number | undefined;
  readonly specialIds: readonly number[];
  readonly specialTokens: Readonly<Record<string, string>>;
  readonly chatTemplates: readonly ChatTemplateSource[];
  readonly languages: LanguageCodes | undefined;
  private readonly table: TokenTable;
  private readonly handle: number;

  constructor(handle: number, loaded: LoadResult) {
    this.handle = handle;
    dropped.register(this, handle, this);
    this.table = new TokenTable(loaded.table);
    this.vocabSize = loaded.table.vocabSize;
    this.bosId = loaded.bosId;
    this.eosIds = loaded.eosIds;
    this.padId = loaded.padId;
    this.unkId = loaded.unkId;
    this.specialIds = loaded.specialIds;
    this.specialTokens = loaded.specialTokens;
    this.chatTemplates = loaded.chatTemplates;
    this.languages = loaded.languages;
  }

  async encode(text: string, options: EncodeOptions = {}): Promise<Int32Array> {
    checkFlags('encode', options, ['specialTokens', 'addSpecial', 'target']);
    const { specialTokens = false, addSpecial = true, target = false } = options;
    checkText(text);
    return textWorker().encode(this.handle, [{ text, special: specialTokens }], addSpecial, false, target);
  }

  async encodeWithOffsets(text: string, options: Omit<EncodeOptions, 'target'> = {}): Promise<Encoding> {
    checkFlags('encodeWithOffsets', options, ['specialTokens', 'addSpecial']);
    const { specialTokens = false, addSpecial = true } = options;
    checkText(text);
    return textWorker().encodeAligned(this.handle, text, specialTokens, addSpecial);
  }

  async encodePair(first: string, second: string, options: PairOptions = {}): Promise<Encoding> {
    checkPairOptions(options);
    checkPair(first, second);
    const { addSpecial = true, maxLength, truncate = 'longest' } = options;
    return textWorker().encodePair(this.handle, first, second, { addSpecial, maxLength, truncate });
  }

  async encodeSegments(
    segments: readonly Segment[],
    options: { readonly addSpecial?: boolean } = {},
  ): Promise<Int32Array> {
    checkFlags('encodeSegments', options, ['addSpecial']);
    return textWorker().encode(this.handle, checkSegments(segments), options.addSpecial ?? false, true);
  }

  decode(ids: ArrayLike<number>, options: DecodeOptions = {}): string {
    checkFlags('decode', options, ['skipSpecial']);
    checkIdList('decode', ids);
    const stream = this.stream(options);
    const pieces: string[] = [];
    for (let i = 0; i < ids.length; i += 1) {
      this.table.check(ids[i] as number);
      pieces.push(stream.push(ids[i] as number));
    }
    pieces.push(stream.flush());
    return pieces.join('');
  }

  stream(options: StreamOptions = {}): DetokenizerStream {
    checkFlags('stream', options, ['skipSpecial'], ['after']);
    const stream = new DetokenizerStream(this.table, options.skipSpecial ?? false);
    if (options.after !== undefined) checkIdList('stream', options.after);
    if (options.after !== undefined) stream.follow(options.after);
    return stream;
  }

  idToToken(id: number): string | undefined {
    return this.table.token(id);
  }

  tokenToId(token: string): number | undefined {
    if (typeof token !== 'string') throw new InputError('tokenToId takes a string', { found: typeof token });
    return this.table.id(token);
  }

  close(): void {
    dropped.unregister(this);
    textWorker().unload(this.handle);
  }
}

/**
 * Loads a tokenizer from a folder (`tokenizer.json`; or SentencePiece files; or `vocab.json` + `merges.txt`; or `vocab.txt`; with
 * `tokenizer_config.json`, `special_tokens_map.json`, `added_tokens.json`, `chat_template.jinja` beside them) or from
 * GGUF metadata. Truncation and padding sections of tokenizer.json are ignored on purpose: lengths are the caller's.
 * Errors: ModelNotFoundError, TokenizerError (broken files), UnsupportedError (kinds that Verdant does not know).
 */
export async function loadTokenizer(source: TokenizerSource): Promise<Tokenizer> {
  const { handle, loaded } = await textWorker().load(source);
  return new WorkerTokenizer(handle, loaded);
}
