import type { BuiltSeq2Seq } from '../engine/build.js';
import type { DecoderHost } from '../engine/host.js';
import { ContextOverflowError, InputError, OptionError, UnsupportedError } from '../errors.js';
import type { GenerateOptions } from '../generation/options.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { taskParams } from '../weights/generation_config.js';
import type { Checkpoint } from '../weights/types.js';
import { checkObject, checkSignal } from './arguments.js';
import type { Generation } from './generation.js';
import { allOf, checkTexts, inOrder, isPrompt, type TextOutcome } from './in_order.js';
import type { Trace, TraceRequest } from './inspect_layers.js';
import { leaseText, traceTexts, twoVocabularies } from './inspect_seq2seq.js';
import {
  type LanguageOptions,
  type PlanModel,
  summaryPlan,
  summaryTask,
  type TextPlan,
  translationPlan,
} from './languages.js';
import { type Lens, type LensOptions, lensOfIds } from './lens.js';
import type { TokenSpace } from './neighbours.js';
import { type DecoderStart, decoderStart } from './seq2seq_start.js';
import { type Prompt, TextModel } from './text_model.js';
import { checkIds, runWhole } from './whole.js';

export interface TranslateOptions extends GenerateOptions, LanguageOptions {}

type Texts = Prompt | readonly Prompt[] | AsyncIterable<Prompt> | Iterable<Prompt>;
type Outcomes = Generation | Promise<string[]> | AsyncGenerator<TextOutcome, void, undefined>;

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
    return this.#write(prompt, options, undefined, this.#start);
  }

  /**
   * Translates: one text as a generation, an array as all translations (what fails first is thrown), an (async) iterable
   * as outcomes in order, at most 2 × `maxSequences` texts under way; there a text that fails is an outcome of its own.
   * `from` and `to`: language codes of the checkpoint; generation options go to every text; what the config's
   * `task_specific_params` says about translation_FROM_to_TO is their default (transformers' pipelines). Throws OptionError
   * for unknown languages, naming near ones.
   */
  translate(text: Prompt, options?: TranslateOptions): Generation;
  translate(texts: readonly Prompt[], options?: TranslateOptions): Promise<string[]>;
  translate(
    texts: AsyncIterable<Prompt> | Iterable<Prompt>,
    options?: TranslateOptions,
  ): AsyncGenerator<TextOutcome, void, undefined>;
  translate(input: Texts, options: TranslateOptions = {}): Outcomes {
    checkObject('options', options);
    const { from, to, ...rest } = options;
    return this.#task(input, rest, () => {
      const plan = translationPlan(this.#parts, { from, to });
      return [plan, plan?.task ?? (from && to && `translation_${from}_to_${to}`)];
    });
  }

  /**
   * Summarises; texts, arrays and iterables as in `translate`. What the config's `task_specific_params` says about
   * summarization holds as in transformers' pipelines: its prefix is put before texts (ids are taken as they are), its
   * lengths, beams and penalties are defaults that options override.
   */
  summarize(text: Prompt, options?: GenerateOptions): Generation;
  summarize(texts: readonly Prompt[], options?: GenerateOptions): Promise<string[]>;
  summarize(
    texts: AsyncIterable<Prompt> | Iterable<Prompt>,
    options?: GenerateOptions,
  ): AsyncGenerator<TextOutcome, void, undefined>;
  summarize(input: Texts, options: GenerateOptions = {}): Outcomes {
    checkObject('options', options);
    return this.#task(input, options, () => [summaryPlan(this.#parts), summaryTask]);
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

  /** Negative log-likelihood (nats) of `target` as what the model writes for `source`: the sum over its ids, the end included. */
  override async score(source: Prompt, target: Prompt, languages: LanguageOptions = {}): Promise<number> {
    return -(await this.scoreTokens(source, target, languages)).reduce((sum, p) => sum + p, 0);
  }

  /**
   * Log-probability (nats) of each id of `target`, given `source` and the ids before it. A text gets the special tokens of
   * its tokenizer (its end, and the language that `to` names); ids are taken as they are.
   */
  override async scoreTokens(source: Prompt, target: Prompt, languages: LanguageOptions = {}): Promise<Float32Array> {
    this.checkOpen();
    checkObject('languages', languages, ['from', 'to']);
    const marked =
      this.tokenizer?.languages !== undefined || languages.from !== undefined || languages.to !== undefined;
    const plan = marked ? translationPlan(this.#parts, languages) : undefined;
    const read = await this.#source(source, plan);
    const encode = (text: string): Promise<Int32Array> => plan?.encodeTarget(text) ?? this.encode(text, true, true);
    const given = typeof target === 'string' ? await encode(target) : target;
    checkIds(given, this.whole.vocabSize, 'target');
    const written = Int32Array.from(given);
    const start = plan?.start?.ids[0] ?? (this.#start.ids[0] as number);
    const ids = Int32Array.from([start, ...written.subarray(0, -1)]);
    if (ids.length > this.maxContext)
      throw new ContextOverflowError('target is longer than the model writes', {
        name: 'target',
        expected: `at most ${this.maxContext} tokens`,
        found: ids.length,
      });
    const text = await leaseText(this.host, read);
    try {
      await this.host.reader!.show(text, []);
      const { target_logprobs: logprobs } = await runWhole(this.host, ids, {
        outputs: ['target_logprobs'],
        targets: written,
        text,
      });
      return logprobs!;
    } finally {
      this.host.reader!.close(text);
      this.host.engine.pool.notify();
    }
  }

  /** Hidden states and attention maps of both sides while it reads a prompt and has written `request.target`. */
  override async trace(prompt: Prompt, request: TraceRequest = {}): Promise<Trace> {
    this.checkOpen();
    checkObject('request', request);
    const source = await this.#source(prompt);
    return traceTexts(this.host, this.whole, source, await this.#target(request.target), request, this.tokenizer);
  }

  /** The logit lens over what the decoder has written: `options.target`, after the ids that it begins with. */
  override async lens(
    prompt: Prompt,
    options: LensOptions & { readonly target?: TraceRequest['target'] } = {},
  ): Promise<Lens> {
    this.checkOpen();
    checkObject('options', options);
    const { target, ...rest } = options;
    const [source, ids] = [await this.#source(prompt), await this.#target(target)];
    const text = await leaseText(this.host, source, rest.signal);
    try {
      await this.host.reader!.encode([text]);
      return await lensOfIds(this.host, this.lensGraph(), ids, rest, this.tokenizer, { text });
    } finally {
      this.host.reader!.close(text);
      this.host.engine.pool.notify();
    }
  }

  /** @internal Embeddings are those of what it reads, whose ids spell other words where each side has a vocabulary. */
  protected override space(): TokenSpace {
    return { ...super.space(this.whole.builder.encoder.graph), spells: !twoVocabularies(this.whole) };
  }

  /** The ids that the decoder begins with, then those given. */
  async #target(target: Prompt | undefined): Promise<Int32Array> {
    if (target === undefined) return this.#start.ids;
    const given = typeof target === 'string' ? await this.encode(target, false, true) : target;
    checkIds(given, this.whole.vocabSize, 'target');
    const ids = Int32Array.from([...this.#start.ids, ...given]);
    if (ids.length <= this.maxContext) return ids;
    throw new ContextOverflowError('target is longer than the model writes', {
      name: 'target',
      expected: `at most ${this.maxContext} tokens`,
      found: ids.length,
    });
  }

  /** What plans of tasks are made of. */
  get #parts(): PlanModel {
    const { tokenizer, checkpoint } = this;
    const { config, configFile } = checkpoint;
    const startId = this.#start.ids[0] as number;
    return { tokenizer, config, configFile, startId, hasForced: this.#start.forced > 0 };
  }

  /** How the decoder begins and what its defaults are where the config says so for a task. */
  #startFor(task: string | undefined): DecoderStart {
    const known = task !== undefined && taskParams(this.checkpoint.config, task) !== undefined;
    return known ? decoderStart(this.checkpoint, this.whole, task) : this.#start;
  }

  #write(prompt: Prompt, options: GenerateOptions, plan: TextPlan | undefined, start: DecoderStart): Generation {
    const { ids, forced } = plan?.start ?? start;
    return this.run(() => Promise.resolve(ids), options, {
      source: () => this.#source(prompt, plan),
      forcedEos: start.forcedEos,
      forcedIds: forced,
      defaults: start.defaults,
    });
  }

  /** One text or many, each by the plan that `make` gives; what is wrong with options shows before any text is read. */
  #task(
    input: Texts,
    options: GenerateOptions,
    make: () => readonly [TextPlan | undefined, string | undefined],
  ): Outcomes {
    const [plan, task] = make();
    const begin = this.#startFor(task);
    if (isPrompt(input)) return this.#write(input, options, plan, begin);
    checkTexts(input);
    checkSignal(options.signal);
    const start = (text: Prompt): Generation => this.#write(text, options, plan, begin);
    const outcomes = inOrder(input, 2 * this.host.maxSequences, start, options.signal);
    return Array.isArray(input) ? allOf(outcomes) : outcomes;
  }

  async #source(prompt: Prompt, plan?: TextPlan): Promise<Int32Array> {
    if (typeof prompt === 'string' && prompt === '') throw new InputError('the text is empty', { name: 'prompt' });
    const ids =
      typeof prompt === 'string' && plan !== undefined ? await plan.encode(prompt) : await this.encode(prompt);
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
