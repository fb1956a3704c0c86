import type { EncoderHost } from '../engine/encoder_host.js';
import { OptionError } from '../errors.js';
import type { Tokenizer } from '../text/tokenizer.js';
import type { SentenceFolder } from '../weights/sentence_transformers.js';
import type { Checkpoint } from '../weights/types.js';
import {
  checkCall,
  checkTexts,
  type EncodedText,
  type EncoderCallOptions,
  EncoderModel,
  kShorten,
} from './encoder_model.js';

export interface EmbedOptions extends EncoderCallOptions {
  /** Name of a prompt of the checkpoint that goes before each text (`query`, `document` …); default: its own default. */
  readonly prompt?: string | undefined;
}

export interface Embeddings {
  /** (texts, size), row-major. */
  readonly data: Float32Array;
  readonly shape: readonly [number, number];
  /** Indices of texts that were cut. */
  readonly truncated: readonly number[];
  /** Tokens of each text, special ones included. */
  readonly tokens: readonly number[];
}

/** One vector for each text (Reimers and Gurevych 2019). */
export class EmbeddingModel extends EncoderModel {
  readonly #folder: SentenceFolder;

  /** @internal Use `load(path, { task: 'embed' })`. */
  constructor(host: EncoderHost, checkpoint: Checkpoint, tokenizer: Tokenizer | undefined, folder: SentenceFolder) {
    super(host, checkpoint, tokenizer, ['sentence_embedding'], folder.maxLength);
    this.#folder = folder;
  }

  /** Numbers in a vector. */
  get size(): number {
    return this.host.built.builder.graph.outputs.get('sentence_embedding')!.dims[1]!.size!;
  }

  /**
   * Vectors of one text or of many, which run together. Throws InputError, OptionError, ContextOverflowError (with
   * `truncate: 'error'`), AbortError.
   */
  async embed(texts: string | readonly string[], options: EmbedOptions = {}): Promise<Embeddings> {
    const list = checkTexts(texts, 'texts');
    checkCall(options, ['prompt']);
    const before = this.#prompt(options.prompt);
    const encoded = await Promise.all(list.map((text) => this.encodeText(this.#whole(text, before), options.truncate)));
    const found = await Promise.all(encoded.map((text) => this.run(text, options)));
    const data = new Float32Array(list.length * this.size);
    for (const [i, { sentence_embedding: vector }] of found.entries()) data.set(vector!, i * this.size);
    const truncated = encoded.flatMap((text, i) => (text.truncated ? [i] : []));
    return { data, shape: [list.length, this.size], truncated, tokens: encoded.map((text) => text.ids.length) };
  }

  /** With the checkpoint's own prompt before it. */
  protected override readWhole(text: string): Promise<EncodedText> {
    return this.encodeText(this.#whole(text, this.#prompt(undefined)), 'error', kShorten);
  }

  #whole(text: string, before: string): string {
    return before + (this.#folder.lowerCase ? text.toLowerCase() : text);
  }

  #prompt(name: string | undefined): string {
    const { prompts, defaultPrompt } = this.#folder;
    const chosen = name ?? defaultPrompt;
    if (chosen === undefined) return '';
    if (Object.hasOwn(prompts, chosen)) return prompts[chosen]!;
    const expected = Object.keys(prompts).join(', ');
    throw new OptionError('no such prompt', {
      name: 'prompt',
      expected: expected === '' ? 'no prompt' : expected,
      found: name,
    });
  }
}
