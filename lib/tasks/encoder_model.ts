import type { EncoderHost, EncoderResult, EncoderSequence } from '../engine/encoder_host.js';
import { TokenTable } from '../engine/token_table.js';
import { ContextOverflowError, DisposedError, InputError, OptionError, UnsupportedError } from '../errors.js';
import type { HeadMask, Steering } from '../generation/options.js';
import type { Tokenizer } from '../text/tokenizer.js';
import type { Checkpoint } from '../weights/types.js';
import { checkObject, checkSignal } from './arguments.js';
import { checkEncoderTrace, type EncoderTrace, type EncoderTraceRequest, traceSequence } from './inspect_encoder.js';
import { checkChanges } from './inspect_layers.js';
import {
  embeddingOf,
  type Neighbour,
  type NeighbourOptions,
  neighboursOf,
  type Token,
  type TokenSpace,
  type TokenSum,
} from './neighbours.js';
import { changesOf } from './probe_options.js';
import { checkIds } from './whole.js';

/** A float result with its shape, row-major. */
export interface FloatTensor {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

/** What happens to a text with more tokens than the model takes: it is cut at the end, or refused. */
export type Truncate = 'end' | 'error';

export interface EncoderCallOptions {
  /** Default 'end'. */
  readonly truncate?: Truncate | undefined;
  /** Vectors that are added to hidden states of every token; up to 64, at one layer they add up. */
  readonly steer?: readonly Steering[] | undefined;
  /** Heads whose results become zero, for every token. */
  readonly maskHeads?: readonly HeadMask[] | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface EncoderInput {
  readonly inputIds: readonly number[] | Int32Array;
  /** Segment of each token; default 0. */
  readonly tokenTypeIds?: readonly number[] | Int32Array | undefined;
}

/** @internal What to do about a long text where nothing may be cut. */
export const kShorten = 'Shorten it: it cannot be cut here';

/** @internal A text as the model takes it. */
export interface EncodedText extends EncoderSequence {
  readonly ids: Int32Array;
  readonly truncated: boolean;
}

/** Texts of a call: one, or a list of at least one. Throws InputError. */
export function checkTexts(texts: string | readonly string[], name: string): readonly string[] {
  const list = typeof texts === 'string' ? [texts] : texts;
  if (!Array.isArray(list) || list.length === 0 || !list.every((t) => typeof t === 'string'))
    throw new InputError(`${name} must be a text, or a list of at least one`, {
      name,
      expected: 'texts',
      found: texts,
    });
  return list;
}

/** Names and kinds of a call's options; `more`: names of that call alone. */
export function checkCall(options: EncoderCallOptions, more: readonly string[] = []): void {
  checkObject('options', options, ['truncate', 'steer', 'maskHeads', 'signal', ...more]);
  const { truncate, signal } = options;
  if (truncate !== undefined && truncate !== 'end' && truncate !== 'error')
    throw new OptionError('bad truncate', { name: 'truncate', expected: "'end' or 'error'", found: truncate });
  checkChanges(options);
  checkSignal(signal);
}

/** What the models of all tasks of an encoder share. Concurrent calls run together, and results do not depend on it. */
export class EncoderModel {
  /** Undefined where the checkpoint has none: only `forward` works then. */
  readonly tokenizer: Tokenizer | undefined;
  readonly checkpoint: Checkpoint;
  readonly host: EncoderHost;
  /** Most tokens of a text, special ones included. */
  readonly maxLength: number;
  /** Outputs of the program that the task runs. */
  protected readonly outputs: readonly string[];
  #table: TokenTable | undefined;
  #disposed = false;

  /** @internal Use `load()`. */
  constructor(
    host: EncoderHost,
    checkpoint: Checkpoint,
    tokenizer: Tokenizer | undefined,
    outputs: readonly string[],
    maxLength?: number,
  ) {
    this.host = host;
    this.checkpoint = checkpoint;
    this.tokenizer = tokenizer;
    this.outputs = outputs;
    this.maxLength = Math.min(maxLength ?? host.built.maxPositions, host.built.maxPositions);
  }

  /** What the model's class returns for your own ids, by Hugging Face's names, without the batch dimension. */
  async forward(
    input: EncoderInput,
    options: Omit<EncoderCallOptions, 'truncate'> = {},
  ): Promise<Record<string, FloatTensor>> {
    checkObject('options', options, ['steer', 'maskHeads', 'signal']);
    checkCall(options);
    const found = await this.run(this.#own(input), options);
    return Object.fromEntries(
      Object.entries(found).map(([name, data]) => {
        const [space, cols] = this.host.built.builder.graph.outputs.get(name)!.dims;
        const width = cols!.size!;
        const shape = space!.name === 'seqs' ? [width] : [data.length / width, width];
        return [name, { shape, data }];
      }),
    );
  }

  /**
   * Attention maps and hidden states of one text, or of your own ids, besides what the class returns; costs nothing when not
   * called. Throws InputError, OptionError, ContextOverflowError.
   */
  async trace(input: string | EncoderInput, request: EncoderTraceRequest = {}): Promise<EncoderTrace> {
    checkEncoderTrace(request);
    return traceSequence(this.host, await this.sequenceOf(input), this.outputs, request, this.tokenizer);
  }

  /** The stored vector (width) of one token, by its text or its id. */
  async embedding(token: Token): Promise<Float32Array> {
    return embeddingOf(this.#space(), token);
  }

  /**
   * Tokens whose embeddings point the way of a vector, of a token, or of a sum: { plus: ['woman', 'king'], minus: ['man'] }.
   * Nearest first, without the tokens that are named.
   */
  async neighbours(of: Token | Float32Array | TokenSum, options: NeighbourOptions = {}): Promise<Neighbour[]> {
    return neighboursOf(this.#space(), of, options);
  }

  #space(): TokenSpace {
    if (this.#disposed) throw new DisposedError('the model was disposed');
    this.#table ??= new TokenTable(this.host.model, this.host.built.builder.graph);
    return { table: this.#table, tokenizer: this.tokenizer };
  }

  /** @internal A text, or a caller's own ids, checked. */
  protected async sequenceOf(input: string | EncoderInput): Promise<EncoderSequence & { readonly ids: Int32Array }> {
    if (typeof input !== 'string' && (typeof input !== 'object' || input === null))
      throw new InputError('nothing to trace', { name: 'input', expected: 'a text, or { inputIds }', found: input });
    const encoded = typeof input === 'string' ? await this.readWhole(input) : this.#own(input);
    if (this.#disposed) throw new DisposedError('the model was disposed');
    return { ...encoded, ids: Int32Array.from(encoded.ids) };
  }

  /** @internal What the model reads for a text of the caller's, all of it. */
  protected readWhole(text: string): Promise<EncoderSequence> {
    return this.encodeText(text, 'error', kShorten);
  }

  /** A caller's own ids, checked. */
  #own(input: EncoderInput): EncoderSequence {
    checkObject('input', input, ['inputIds', 'tokenTypeIds']);
    const { inputIds, tokenTypeIds } = input;
    checkIds(inputIds, this.host.built.vocabSize, 'inputIds');
    if (inputIds.length > this.host.built.maxPositions)
      throw new ContextOverflowError('inputIds is longer than the model takes', {
        name: 'inputIds',
        expected: `at most ${this.host.built.maxPositions} tokens`,
        found: inputIds.length,
      });
    if (tokenTypeIds !== undefined) {
      checkIds(tokenTypeIds, this.host.built.builder.segments ?? 1, 'tokenTypeIds');
      if (tokenTypeIds.length !== inputIds.length)
        throw new InputError('tokenTypeIds must be as long as inputIds', {
          name: 'tokenTypeIds',
          expected: inputIds.length,
          found: tokenTypeIds.length,
        });
    }
    return { ids: inputIds, tokenTypes: tokenTypeIds };
  }

  async dispose(): Promise<void> {
    if (this.#disposed) return;
    this.#disposed = true;
    await this.host.dispose();
    this.tokenizer?.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  /** @internal */
  protected async run(sequence: EncoderSequence, options: EncoderCallOptions): Promise<EncoderResult> {
    if (this.#disposed) throw new DisposedError('the model was disposed');
    const { signal } = options;
    const changes = changesOf(this.host.built.builder.graph, options);
    if (changes.size === 0) return this.host.run(this.outputs, sequence, signal);
    return this.host.runChanged(this.outputs, sequence, changes, signal);
  }

  /** @internal The tokenizer, or an error that says what to do without one. */
  protected get words(): Tokenizer {
    if (this.#disposed) throw new DisposedError('the model was disposed');
    if (this.tokenizer !== undefined) return this.tokenizer;
    throw new UnsupportedError('this checkpoint has no tokenizer', {
      file: this.checkpoint.path,
      hint: 'Give token ids to forward() instead of text',
    });
  }

  /** @internal One text with its special tokens, cut to the model's length where `truncate` allows it. */
  protected async encodeText(text: string, truncate: Truncate = 'end', hint?: string): Promise<EncodedText> {
    const { ids, typeIds } = await this.words.encodeWithOffsets(text);
    const types = this.host.built.builder.segments === undefined ? undefined : typeIds;
    const places = await this.places(ids.length, truncate, hint);
    const keep = (x: Int32Array): Int32Array => Int32Array.from(places, (i) => x[i]!);
    const truncated = places.length < ids.length;
    return { ids: keep(ids), tokenTypes: types === undefined ? undefined : keep(types), truncated };
  }

  /** @internal Which of so many tokens are read: of too many the last go, but for special ones at the end. */
  protected async places(count: number, truncate: Truncate = 'end', hint?: string): Promise<readonly number[]> {
    const most = this.maxLength;
    if (count <= most) return [...Array(count).keys()];
    if (truncate === 'error') throw this.tooLong(count, hint);
    const specials = await this.#after();
    return Array.from({ length: most }, (_, i) => (i < most - specials ? i : count - most + i));
  }

  /** @internal */
  protected tooLong(found: number, hint = "Shorten it, or let it be cut with truncate: 'end'"): ContextOverflowError {
    return new ContextOverflowError('the text has more tokens than the model takes', {
      expected: `at most ${this.maxLength} tokens`,
      found,
      hint,
    });
  }

  /** Special tokens after a text. */
  async #after(): Promise<number> {
    const { sequence } = await this.words.encodeWithOffsets('a');
    return sequence.length - 1 - sequence.lastIndexOf(0);
  }
}
