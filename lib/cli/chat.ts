import { createInterface, type Interface } from 'node:readline';
import type { Command } from 'commander';
import { TemplateError } from '../errors.js';
import type { GenerateOptions } from '../generation/options.js';
import type { Session } from '../tasks/session.js';
import type { TextModel } from '../tasks/text_model.js';
import type { Context } from './command.js';
import {
  addLoadOptions,
  addSamplingOptions,
  type LoadValues,
  loadModel,
  type SamplingValues,
  samplingOptions,
} from './options.js';
import { colour, note, oneLine, print } from './output.js';

interface ChatValues extends LoadValues, SamplingValues {
  readonly system?: string;
}

const help =
  '/system TEXT  begin anew with a system message\n/reset        forget the conversation\n/exit         leave\n//TEXT        say something that begins with a slash';

export function define(command: Command, context: Context): void {
  command
    .argument('[model]', 'a folder, a .gguf file, or a hub id; default: the built-in model')
    .option('--system <text>', 'system message');
  addLoadOptions(addSamplingOptions(command))
    .addHelpText(
      'after',
      `\nIn the conversation:\n${help}\nCtrl-C stops the answer, a second one leaves. Input that is not a terminal is read line by line.`,
    )
    .action((model, values) => chat(model, values, context));
}

async function chat(path: string | undefined, values: ChatValues, context: Context): Promise<void> {
  const model = await loadModel(path, values, context);
  try {
    if (model.tokenizer === undefined || model.tokenizer.chatTemplates.length === 0) {
      throw new TemplateError('this checkpoint has no chat template', {
        file: model.checkpoint.path,
        hint: 'Use: verdant run',
      });
    }
    await new Conversation(model, samplingOptions(values), values.system, context.signal).run();
  } finally {
    await model.dispose();
  }
}

/** Reads lines, answers them, and lets Ctrl-C stop an answer. */
class Conversation {
  readonly #model: TextModel;
  readonly #options: GenerateOptions;
  readonly #signal: AbortSignal;
  readonly #interactive = process.stdin.isTTY === true && process.stderr.isTTY === true;
  readonly #lines: Interface;
  #system: string | undefined;
  #session: Session;
  /** Ends the answer that is being given. */
  #answer: AbortController | undefined;

  constructor(model: TextModel, options: GenerateOptions, system: string | undefined, signal: AbortSignal) {
    this.#model = model;
    this.#options = options;
    this.#system = system;
    this.#signal = signal;
    this.#session = this.#begin();
    const terminal = this.#interactive ? { output: process.stderr, terminal: true } : { terminal: false };
    this.#lines = createInterface({ input: process.stdin, prompt: '> ', ...terminal });
  }

  async run(): Promise<void> {
    const lines = this.#lines[Symbol.asyncIterator]();
    const leave = (): void => this.#lines.close();
    this.#signal.addEventListener('abort', leave, { once: true });
    // A terminal in raw mode sends no signal: readline reports the key.
    this.#lines.on('SIGINT', () => this.#interrupt());
    if (this.#interactive) note(colour('dim', help));
    try {
      for (;;) {
        if (this.#interactive && !this.#signal.aborted) this.#lines.prompt();
        const { done, value } = await lines.next();
        if (done === true || this.#signal.aborted || !(await this.#take(value))) break;
      }
    } finally {
      this.#signal.removeEventListener('abort', leave);
      this.#lines.close();
      this.#session.dispose();
    }
  }

  #interrupt(): void {
    if (this.#answer !== undefined && !this.#answer.signal.aborted) this.#answer.abort();
    else process.kill(process.pid, 'SIGINT');
  }

  #begin(): Session {
    return this.#model.session(this.#system === undefined ? {} : { system: this.#system });
  }

  #restart(): void {
    this.#session.dispose();
    this.#session = this.#begin();
  }

  /** One line of input; false: leave. */
  async #take(line: string): Promise<boolean> {
    const [word, rest] = [line.trim().split(/\s/, 1)[0]!, line.trim()];
    if (rest === '') return true;
    if (!rest.startsWith('/') || rest.startsWith('//')) {
      await this.#say(rest.startsWith('//') ? rest.slice(1) : rest);
      return true;
    }
    if (word === '/exit' || word === '/quit') return false;
    if (word === '/help') note(help);
    else if (word === '/reset') this.#restart();
    else if (word === '/system') {
      this.#system = rest.slice(word.length).trim() || undefined;
      this.#restart();
    } else note(`verdant: unknown command ${oneLine(word)}; /help lists them`);
    return true;
  }

  /** Prints the answer as it comes. A failure ends the turn on a terminal, and the program otherwise. */
  async #say(message: string): Promise<void> {
    const answer = new AbortController();
    this.#answer = answer;
    const signal = AbortSignal.any([answer.signal, this.#signal]);
    const generation = this.#session.chat(message, { ...this.#options, signal });
    try {
      for await (const piece of generation) await print(piece.text);
      await generation.result();
    } catch (error) {
      if (this.#signal.aborted || (!this.#interactive && !answer.signal.aborted)) throw error;
      const why = answer.signal.aborted ? 'stopped; this turn is not remembered' : oneLine((error as Error).message);
      note(colour('dim', `\nverdant: ${why}`));
    } finally {
      this.#answer = undefined;
    }
    await print('\n');
  }
}
