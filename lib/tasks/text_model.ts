import type { DecoderHost } from '../engine/host.js';
import { decoderLens, type LensGraph } from '../engine/lens.js';
import { specOf } from '../engine/probe_step.js';
import { stepProgram } from '../engine/programs.js';
import type { Retained } from '../engine/sequence.js';
import { TokenTable } from '../engine/token_table.js';
import { DisposedError, InputError, OptionError, TemplateError, UnsupportedError } from '../errors.js';
import type { GenerateOptions } from '../generation/options.js';
import { optionTexts, resolveOptions } from '../generation/options.js';
import type { Graph } from '../graph/graph.js';
import { printProgram } from '../graph/program.js';
import { type ChatMessage, type ChatTemplate, compileChatTemplate, type RenderOptions } from '../text/chat_template.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { Pacer } from '../weights/files.js';
import { type GenerationDefaults, readGenerationConfig } from '../weights/generation_config.js';
import type { Checkpoint } from '../weights/types.js';
import { checkObject } from './arguments.js';
import { Generation } from './generation.js';
import { type Trace, type TraceRequest, traceIds } from './inspect_layers.js';
import { type Lens, type LensOptions, lensOfIds } from './lens.js';
import {
  embeddingOf,
  type Neighbour,
  type NeighbourOptions,
  neighboursOf,
  type Token,
  type TokenSpace,
  type TokenSum,
} from './neighbours.js';
import { resolveProbe } from './probe_options.js';
import { Session } from './session.js';
import { checkIds, runWhole } from './whole.js';

/** A prompt: text for the tokenizer, or your own ids. */
export type Prompt = string | readonly number[] | Int32Array;

export interface ChatOptions extends GenerateOptions, RenderOptions {}

export interface ForwardResult {
  /** (rows, vocab): one row per input id, or only the last. */
  readonly logits: Float32Array;
  readonly shape: readonly [number, number];
}

/** @internal What a generation has besides a prompt. */
export interface RunOptions {
  readonly retained?: Retained | undefined;
  /** What an encoder-decoder reads; the prompt is then how the decoder begins. */
  readonly source?: (() => Promise<Int32Array>) | undefined;
  /** A text of the greatest length ends with this id. */
  readonly forcedEos?: number | undefined;
  /** How many ids at the end of the prompt the decoder was forced to begin with. */
  readonly forcedIds?: number | undefined;
  /** In place of the checkpoint's. */
  readonly defaults?: GenerationDefaults | undefined;
}

/** A decoder with its tokenizer. Concurrent calls join one running batch. */
export class TextModel {
  /** Undefined where the checkpoint has none: prompts are then ids. */
  readonly tokenizer: Tokenizer | undefined;
  readonly checkpoint: Checkpoint;
  readonly defaults: GenerationDefaults;
  readonly host: DecoderHost;
  #template: ChatTemplate | undefined;
  #disposed = false;
  #table: TokenTable | undefined;
  #lens: LensGraph | undefined;
  readonly #breakers = new Map<string, Promise<number[]>>();

  /** @internal Use `load()`. */
  constructor(
    host: DecoderHost,
    checkpoint: Checkpoint,
    tokenizer: Tokenizer | undefined,
    defaults: GenerationDefaults = readGenerationConfig(checkpoint, host.built.config, host.built.vocabSize),
  ) {
    this.host = host;
    this.checkpoint = checkpoint;
    this.tokenizer = tokenizer;
    this.defaults = defaults;
  }

  /** Ids that end a sequence: the generation config's and the tokenizer's. */
  get eosIds(): readonly number[] {
    const own = this.defaults.eosTokenIds;
    return [...new Set([...own, ...(this.tokenizer?.eosIds ?? [])])].filter((id) => id < this.host.built.vocabSize);
  }

  /** Longest sequence in tokens, prompt included. */
  get maxContext(): number {
    return this.host.plan.maxContext;
  }

  /** Continues a prompt. Throws OptionError for bad options when iterated or awaited. */
  generate(prompt: Prompt, options: GenerateOptions = {}): Generation {
    return this.run(() => this.encode(prompt), options);
  }

  /** Answers a conversation through the checkpoint's chat template. */
  chat(messages: readonly ChatMessage[], options: ChatOptions = {}): Generation {
    checkObject('options', options);
    const { tools, variables, now, addGenerationPrompt, ...rest } = options;
    const render = { tools, variables, now, addGenerationPrompt: addGenerationPrompt ?? true };
    const given = Object.fromEntries(Object.entries(render).filter(([, v]) => v !== undefined)) as RenderOptions;
    return this.run(() => this.renderChat(messages, given), rest);
  }

  /** A conversation whose KV cache is kept from turn to turn. Dispose it to give the blocks back. */
  session(options: { readonly system?: string } = {}): Session {
    this.checkOpen();
    checkObject('options', options, ['system']);
    return new Session(this, options.system);
  }

  /** Logits of your own ids: `logits: 'all'` (default) for every position, 'last' for the last one only. */
  async forward(
    input: { readonly inputIds: readonly number[] | Int32Array },
    options: { readonly logits?: 'all' | 'last'; readonly signal?: AbortSignal } = {},
  ): Promise<ForwardResult> {
    this.checkOpen();
    checkObject('input', input, ['inputIds']);
    checkObject('options', options, ['logits', 'signal']);
    if (options.signal !== undefined && !(options.signal instanceof AbortSignal))
      throw new OptionError('bad signal', { name: 'signal', expected: 'an AbortSignal', found: options.signal });
    const which = options.logits ?? 'all';
    if (which !== 'all' && which !== 'last')
      throw new OptionError('bad logits', { name: 'logits', expected: "'all' or 'last'", found: which });
    const ids = this.#own(input.inputIds, 'inputIds');
    const { logits } = await runWhole(this.host, ids, {
      outputs: ['logits'],
      logitsFrom: which === 'last' ? ids.length - 1 : 0,
      signal: options.signal,
    });
    const vocab = this.host.built.vocabSize;
    return { logits: logits!, shape: [logits!.length / vocab, vocab] };
  }

  /** Negative log-likelihood (nats) of `continuation` after `prompt`; both together must fit the context. */
  async score(prompt: Prompt, continuation: Prompt): Promise<number> {
    return -(await this.scoreTokens(prompt, continuation)).reduce((sum, p) => sum + p, 0);
  }

  /** Log-probability (nats) of each id of `continuation`, given `prompt` and the ids before it. */
  async scoreTokens(prompt: Prompt, continuation: Prompt): Promise<Float32Array> {
    this.checkOpen();
    const [before, after] = [await this.encode(prompt), await this.encode(continuation, false)];
    checkIds(before, this.host.built.vocabSize, 'prompt');
    checkIds(after, this.host.built.vocabSize, 'continuation');
    const ids = this.#own([...before, ...after], 'prompt and continuation').subarray(0, -1);
    const { target_logprobs: logprobs } = await runWhole(this.host, ids, {
      outputs: ['target_logprobs'],
      logitsFrom: before.length - 1,
      targets: after,
    });
    return logprobs!;
  }

  /** Hidden states and attention maps of a prompt, taken on the same weights and cache; costs nothing when not called. */
  async trace(prompt: Prompt, request: TraceRequest = {}): Promise<Trace> {
    this.checkOpen();
    const ids = this.#own(await this.encode(prompt), 'prompt');
    return traceIds(this.host, ids, request, this.tokenizer);
  }

  /**
   * The logit lens: what the model would say at each position if its head read the hidden states of each layer. Natively, by
   * another program of the same graph.
   */
  async lens(prompt: Prompt, options: LensOptions = {}): Promise<Lens> {
    this.checkOpen();
    const ids = this.#own(await this.encode(prompt), 'prompt');
    return lensOfIds(this.host, this.lensGraph(), ids, options, this.tokenizer);
  }

  /** @internal */
  protected lensGraph(): LensGraph {
    this.#lens ??= decoderLens(this.host.built.builder.graph);
    return this.#lens;
  }

  /**
   * The stored vector (width) of one token, by its text or its id: embedding('woman'). With a space before it where words
   * in the middle of a text are spelled so.
   */
  async embedding(token: Token): Promise<Float32Array> {
    this.checkOpen();
    return embeddingOf(this.space(), token);
  }

  /**
   * Tokens whose embeddings point the way of a vector, of a token, or of a sum: { plus: ['woman', 'king'], minus: ['man'] }.
   * Nearest first, without the tokens that are named.
   */
  async neighbours(of: Token | Float32Array | TokenSum, options: NeighbourOptions = {}): Promise<Neighbour[]> {
    this.checkOpen();
    return neighboursOf(this.space(), of, options);
  }

  /** @internal */
  protected space(graph: Graph = this.host.built.builder.graph): TokenSpace {
    this.#table ??= new TokenTable(this.host.model, graph);
    return { table: this.#table, tokenizer: this.tokenizer };
  }

  /** The program of the main path as text. */
  printGraph(): string {
    return printProgram(stepProgram(this.host.built, this.host.compute));
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

  /** @internal Ids of a prompt, checked; text goes through the tokenizer with its usual special tokens; `target`: as what is written. */
  async encode(prompt: Prompt, addSpecial = true, target = false): Promise<Int32Array> {
    if (typeof prompt !== 'string') {
      checkIds(prompt, this.host.built.vocabSize, 'prompt');
      return Int32Array.from(prompt);
    }
    if (this.tokenizer === undefined)
      throw new UnsupportedError('this checkpoint has no tokenizer', {
        file: this.checkpoint.path,
        hint: 'Give token ids instead of text',
      });
    return this.tokenizer.encode(prompt, { addSpecial, target });
  }

  /** @internal */
  async renderChat(messages: readonly ChatMessage[], options: RenderOptions): Promise<Int32Array> {
    if (!Array.isArray(messages) || messages.length === 0)
      throw new InputError('bad messages', {
        ...{ name: 'messages', expected: 'a list of at least one { role, content }', found: messages },
      });
    const tokenizer = this.tokenizer;
    const source = tokenizer?.chatTemplates[0];
    if (tokenizer === undefined || source === undefined)
      throw new TemplateError('this checkpoint has no chat template', {
        file: this.checkpoint.path,
        hint: 'Use generate() with a written dialogue instead',
      });
    this.#template ??= compileChatTemplate(source.template, {
      named: tokenizer.specialTokens,
      tokens: tokenizer.specialIds.map((id) => tokenizer.idToToken(id)).filter((t) => t !== undefined),
    });
    return tokenizer.encodeSegments(await this.#template.render(messages, options));
  }

  /** @internal Tokenises, resolves options and submits; what goes wrong reaches the reader of the generation. */
  run(encode: () => Promise<Int32Array>, options: GenerateOptions, more: RunOptions = {}): Generation {
    return new Generation(async (generation, signal) => {
      this.checkOpen();
      const texts = optionTexts(options);
      this.checkOptions(options);
      const source = await more.source?.();
      const prompt = await encode();
      checkIds(prompt, this.host.built.vocabSize, 'prompt');
      const [badWordIds, breakerIds] = [await this.#badWords(texts.badWords), await this.#breakerIds(texts.breakers)];
      if (signal.aborted) return;
      const context = {
        vocab: this.host.built.vocabSize,
        eosIds: this.eosIds,
        contextLeft: this.maxContext - prompt.length,
        promptLength: prompt.length,
      };
      const found = resolveOptions(options, more.defaults ?? this.defaults, { ...context, badWordIds, breakerIds });
      if (found.beams !== undefined && more.retained !== undefined)
        throw new OptionError('a session takes no beams', { name: 'numBeams', hint: 'Give greedy: true' });
      // The last id of the greatest length would be the forced end, which is not part of the text; beams score it.
      const cut = more.forcedEos !== undefined && found.beams === undefined;
      const resolved = cut ? { ...found, maxTokens: Math.max(1, found.maxTokens - 1) } : found;
      const probe = resolveProbe(options, this.host.built);
      // Here, so that what may go wrong with it is this request's own.
      if (probe !== undefined) await this.host.probed(undefined, specOf(probe)).ready();
      const n = resolved.n;
      const hasText = (id: number): boolean => this.tokenizer?.idToToken(id) !== undefined;
      generation.begin({
        n,
        stop: resolved.stop,
        logprobs: resolved.logprobs,
        traces: probe?.trace !== undefined,
        seed: resolved.seed,
        promptTokens: (source ?? prompt).length,
        lead: resolved.echo ? (this.tokenizer?.decode(prompt.filter(hasText), { skipSpecial: true }) ?? '') : '',
        hasText,
        detokenizer: () => this.tokenizer?.stream({ skipSpecial: true, after: prompt.subarray(-16) }),
      });
      if (resolved.maxTokens === 0) {
        for (let i = 0; i < n; i++) generation.finish(i, 'length');
        return;
      }
      this.host.engine.submit({
        prompt,
        options: { ...resolved, signal },
        sink: generation,
        retained: more.retained,
        source: source && { ids: source },
        forcedIds: more.forcedIds,
        forcedEos: more.forcedEos,
        probe,
      });
    }, options?.signal);
  }

  /** @internal Refuses options that this kind of model does not have. */
  protected checkOptions(_options: GenerateOptions): void {}

  /** @internal Throws a DisposedError. */
  protected checkOpen(): void {
    if (this.#disposed) throw new DisposedError('the model was disposed');
  }

  #own(ids: ArrayLike<number>, name: string): Int32Array {
    checkIds(ids, this.host.built.vocabSize, name);
    if (ids.length > this.maxContext)
      throw new InputError(`${name} is longer than the context`, {
        name,
        expected: `at most ${this.maxContext} tokens`,
        found: ids.length,
      });
    return Int32Array.from(ids);
  }

  /** Each word as it stands and with a space before it, without duplicates. */
  async #badWords(words: readonly string[]): Promise<number[][] | undefined> {
    if (words.length === 0 || this.tokenizer === undefined) return undefined;
    const lists = new Map<string, number[]>();
    for (const word of words) {
      for (const text of [word, ` ${word}`]) {
        const ids = Array.from(await this.tokenizer.encode(text, { addSpecial: false }));
        if (ids.length > 0) lists.set(ids.join(' '), ids);
      }
    }
    return [...lists.values()];
  }

  /** All ids whose text contains one of the breakers; found once per set, in slices that leave the event loop free. */
  async #breakerIds(breakers: readonly string[]): Promise<number[] | undefined> {
    const tokenizer = this.tokenizer;
    if (breakers.length === 0 || tokenizer === undefined) return undefined;
    const key = JSON.stringify(breakers);
    const find = async (): Promise<number[]> => {
      const found: number[] = [];
      const pacer = new Pacer();
      const stream = tokenizer.stream();
      for (let id = 0; id < Math.min(tokenizer.vocabSize, this.host.built.vocabSize); id++) {
        if (pacer.due()) await pacer.pause();
        const text = stream.push(id) + stream.flush();
        if (breakers.some((b) => text.includes(b))) found.push(id);
      }
      return found;
    };
    const known = this.#breakers.get(key) ?? find();
    this.#breakers.set(key, known);
    return known;
  }
}
