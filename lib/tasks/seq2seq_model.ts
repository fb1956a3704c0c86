import type { BuiltSeq2Seq } from '../engine/build.js';
import type { DecoderHost } from '../engine/host.js';
import { ContextOverflowError, InputError, OptionError, UnsupportedError } from '../errors.js';
import type { GenerateOptions } from '../generation/options.js';
import type { Tokenizer } from '../text/tokenizer.js';
import type { Checkpoint } from '../weights/types.js';
import { checkObject } from './arguments.js';
import type { Generation } from './generation.js';
import type { Trace, TraceRequest } from './inspect_layers.js';
import { traceTexts } from './inspect_seq2seq.js';
import { type DecoderStart, decoderStart } from './seq2seq_start.js';
import { type Prompt, TextModel } from './text_model.js';
import { checkIds } from './whole.js';

/**
 * An encoder-decoder: reads a text, then writes another (Vaswani et al. 2017). The encoder runs once for each request,
 * whatever `n` is; concurrent requests join one batch.
 */
export class Seq2SeqModel extends TextModel {
  readonly whole: BuiltSeq2Seq;
  readonly #start: DecoderStart;

  /** @internal Use `load()`. */
  constructor(host: DecoderHost, checkpoint: Checkpoint, tokenizer: Tokenizer | undefined, whole: BuiltSeq2Seq) {
    const start = decoderStart(checkpoint, whole);
    super(host, checkpoint, tokenizer, start.defaults);
    this.whole = whole;
    this.#start = start;
  }

  /** Longest text that it reads, in tokens. */
  get maxSource(): number {
    return Math.min(this.whole.maxSource, 32 * this.whole.builder.cross.blocks.size);
  }

  /**
   * What the model writes for a text: a translation, a summary, an answer, as it was trained. Token counts and `maxTokens` are
   * of what is written. Throws OptionError, InputError, ContextOverflowError when iterated or awaited.
   */
  override generate(prompt: Prompt, options: GenerateOptions = {}): Generation {
    return this.run(() => Promise.resolve(this.#start.ids), options, {
      source: () => this.#source(prompt),
      forcedEos: this.#start.forcedEos,
      forcedIds: this.#start.forced,
    });
  }

  override chat(): never {
    throw new UnsupportedError('an encoder-decoder has no chat template', { hint: 'Use generate()' });
  }

  override session(): never {
    throw new UnsupportedError('an encoder-decoder keeps nothing between texts', { hint: 'Use generate()' });
  }

  override forward(): Promise<never> {
    return Promise.reject(
      new UnsupportedError('forward() is for decoders', { hint: 'Use traceModel() with decoderInputIds' }),
    );
  }

  override scoreTokens(): Promise<never> {
    return Promise.reject(new UnsupportedError('score() is for decoders so far'));
  }

  /** Hidden states and attention maps of both sides while it reads a prompt and has written `request.target`. */
  override async trace(prompt: Prompt, request: TraceRequest = {}): Promise<Trace> {
    checkObject('request', request);
    const source = await this.#source(prompt);
    return traceTexts(this.host, this.whole, source, await this.#target(request.target), request, this.tokenizer);
  }

  /** The ids that the decoder begins with, then those given. */
  async #target(target: Prompt | undefined): Promise<Int32Array> {
    if (target === undefined) return this.#start.ids;
    if (typeof target === 'string' && this.whole.config.optionalInt('decoder_vocab_size') !== undefined)
      throw new UnsupportedError('texts of a decoder with a vocabulary of its own', { hint: 'Give target as ids' });
    const given = typeof target === 'string' ? await this.encode(target, false) : target;
    checkIds(given, this.whole.vocabSize, 'target');
    const ids = Int32Array.from([...this.#start.ids, ...given]);
    if (ids.length <= this.maxContext) return ids;
    throw new ContextOverflowError('target is longer than the model writes', {
      name: 'target',
      expected: `at most ${this.maxContext} tokens`,
      found: ids.length,
    });
  }

  async #source(prompt: Prompt): Promise<Int32Array> {
    if (typeof prompt === 'string' && prompt === '') throw new InputError('the text is empty', { name: 'prompt' });
    const ids = await this.encode(prompt);
    checkIds(ids, this.whole.sourceVocab, 'prompt');
    if (ids.length > this.maxSource)
      throw new ContextOverflowError('the text is longer than the model reads', {
        expected: `at most ${this.maxSource} tokens`,
        found: ids.length,
      });
    return ids;
  }

  /** @internal */
  protected override checkOptions(options: GenerateOptions): void {
    if (options.echo === true) throw new OptionError('echo is for decoders', { name: 'echo', found: true });
  }
}
