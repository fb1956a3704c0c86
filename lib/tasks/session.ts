import { newRetained, type Retained } from '../engine/sequence.js';
import { DisposedError, InputError } from '../errors.js';
import type { GenerateOptions } from '../generation/options.js';
import type { ChatMessage, RenderOptions } from '../text/chat_template.js';
import { checkObject } from './arguments.js';
import type { Generation } from './generation.js';
import type { Prompt, TextModel } from './text_model.js';

/**
 * A conversation that keeps its keys and values between turns: each turn takes in only what is new. One turn at a time.
 * The answers are those of the same calls without a session.
 */
export class Session {
  readonly #model: TextModel;
  readonly #retained: Retained = newRetained();
  readonly #messages: ChatMessage[] = [];
  #busy = false;
  #disposed = false;

  /** @internal Use `model.session()`. */
  constructor(model: TextModel, system: string | undefined) {
    this.#model = model;
    if (system !== undefined) this.#messages.push({ role: 'system', content: system });
    model.host.engine.pool.retain(this.#retained);
  }

  /** The conversation so far, answers included. */
  get messages(): readonly ChatMessage[] {
    return this.#messages;
  }

  /** Tokens whose keys and values are kept. */
  get cachedTokens(): number {
    return this.#retained.table === undefined ? 0 : this.#retained.ids.length;
  }

  /** Says something and returns the answer as it comes; both join `messages` when the answer is complete. */
  chat(message: string | ChatMessage, options: GenerateOptions & RenderOptions = {}): Generation {
    checkObject('options', options);
    const said: ChatMessage = typeof message === 'string' ? { role: 'user', content: message } : message;
    const { tools, variables, now, ...rest } = options;
    const render = Object.fromEntries(
      Object.entries({ tools, variables, now, addGenerationPrompt: true }).filter(([, v]) => v !== undefined),
    ) as RenderOptions;
    const messages = [...this.#messages, said];
    const generation = this.#turn(() => this.#model.renderChat(messages, render), rest);
    generation.result().then(
      (result) => this.#messages.push(said, { role: 'assistant', content: result.text }),
      () => undefined,
    );
    return generation;
  }

  /** Continues a prompt; what it shares with the turns before, from the first token on, is not computed again. */
  generate(prompt: Prompt, options: GenerateOptions = {}): Generation {
    return this.#turn(() => this.#model.encode(prompt), options);
  }

  /** Gives the kept blocks back. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#model.host.engine.pool.forget(this.#retained);
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #turn(encode: () => Promise<Int32Array>, options: GenerateOptions): Generation {
    if (this.#disposed) throw new DisposedError('the session was disposed');
    if (this.#busy)
      throw new InputError('the session is answering already', { hint: 'Await the turn before, or use two sessions' });
    this.#busy = true;
    const generation = this.#model.run(encode, options, { retained: this.#retained });
    const free = (): void => {
      this.#busy = false;
    };
    generation.result().then(free, free);
    return generation;
  }
}
