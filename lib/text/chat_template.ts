/**
 * Chat templates (Jinja), rendered in a worker thread of their own with limits on steps, depth, output, memory and time.
 *
 * The result is a list of segments for `Tokenizer.encodeSegments`: no special token can form across a segment's edge.
 * Every string of a message is cut so that no special token can begin inside it: rendering is done twice, plain and with
 * invisible marks in the user's strings, and the marks become the cuts. A template that reacts to the marks (it compares
 * the start of a content, say) is rendered with marks only inside spelled special tokens; one that reacts even to those
 * is refused. Limit: a template that builds special tokens out of other letters (`upper`, `replace`) is only safe while
 * the marks survive, which is checked as well.
 */
import { InputError, OptionError, TemplateError } from '../errors.js';
import type { Segment } from './protocol.js';
import { RpcWorker } from './rpc.js';

export interface ChatContentPart {
  readonly type: string;
  readonly text?: string;
  readonly [key: string]: unknown;
}

export interface ChatMessage {
  /** A plain word: `system`, `user`, `assistant`, `tool`, … */
  readonly role: string;
  readonly content?: string | readonly ChatContentPart[] | null;
  readonly name?: string;
  readonly tool_calls?: readonly unknown[];
  readonly tool_call_id?: string;
  readonly [key: string]: unknown;
}

export interface ChatSpecials {
  /** Named tokens that templates print: `bos_token`, `eos_token`, … */
  readonly named: Readonly<Record<string, string>>;
  /** Every special token of the vocabulary as a string. */
  readonly tokens: readonly string[];
}

export interface RenderOptions {
  /** Append the prefix of an assistant's turn. Default false. */
  readonly addGenerationPrompt?: boolean;
  /** JSON schemas of tools. */
  readonly tools?: readonly unknown[];
  /** Further variables of the template (`enable_thinking`, …). They cannot replace the ones that Verdant sets. */
  readonly variables?: Readonly<Record<string, unknown>>;
  /** Date for `strftime_now`. Default: now. */
  readonly now?: Date;
}

export interface ChatTemplate {
  readonly source: string;
  /** Errors: TemplateError (the template fails, raises, or exceeds a limit), InputError (messages), OptionError. */
  render(messages: readonly ChatMessage[], options?: RenderOptions): Promise<Segment[]>;
}

/** Longest template, in UTF-16 units. */
export const maxTemplateLength: number = 1024 * 1024;
const maxInputLength = 16 * 1024 * 1024;
const renderLimitMs = 10_000;
const reserved = new Set(['messages', 'tools', 'add_generation_prompt', 'raise_exception', 'strftime_now', 'range']);

let worker: RpcWorker | undefined;

function templateWorker(): RpcWorker {
  worker ??= new RpcWorker(
    'template_worker',
    { maxOldGenerationSizeMb: 512, stackSizeMb: 4 },
    (message) => new TemplateError(`rendering the chat template failed: ${message}`),
    () => [],
  );
  return worker;
}

/** A copy through JSON: functions, prototypes and host objects cannot reach the template. */
function plain(value: unknown, what: string): unknown {
  let json: string | undefined;
  try {
    json = JSON.stringify(value);
  } catch (cause) {
    throw new InputError(`${what} must be plain data`, { cause });
  }
  if (json === undefined) throw new InputError(`${what} must be plain data`, { found: typeof value });
  if (json.length > maxInputLength) {
    throw new InputError(`${what} too long`, {
      expected: `at most ${maxInputLength} characters of JSON`,
      found: json.length,
    });
  }
  return JSON.parse(json);
}

function checkMessages(messages: readonly ChatMessage[]): void {
  if (!Array.isArray(messages) || messages.length === 0) {
    throw new InputError('messages must be a non-empty array', { name: 'messages' });
  }
  messages.forEach((message: ChatMessage, i) => {
    if (typeof message?.role !== 'string' || !/^[A-Za-z][\w-]{0,63}$/.test(message.role)) {
      throw new InputError(`messages[${i}].role must be a word`, { name: 'role', found: message?.role });
    }
    const { content } = message;
    if (content !== undefined && content !== null && typeof content !== 'string' && !Array.isArray(content)) {
      throw new InputError(`messages[${i}].content must be a string or a list of parts`, { found: typeof content });
    }
    if (!Array.isArray(content)) return;
    for (const [k, part] of (content as readonly Partial<ChatContentPart>[]).entries()) {
      const text = part?.text;
      if (
        typeof part?.type !== 'string' ||
        (part.type === 'text' ? typeof text !== 'string' : text !== undefined && typeof text !== 'string')
      )
        throw new InputError(`messages[${i}].content[${k}] is no part`, {
          name: 'content',
          expected: "{ type: 'text', text: string }",
          found: part,
        });
    }
  });
}

const bad = (name: keyof RenderOptions, expected: string, found: unknown): OptionError =>
  new OptionError(`render: bad ${name}`, { name, expected, found });

type Checked = Required<Omit<RenderOptions, 'tools'>> & { readonly tools: readonly unknown[] | undefined };

/** The options with their defaults. Throws OptionError. */
function checkRenderOptions(options: RenderOptions): Checked {
  if (typeof options !== 'object' || options === null) {
    throw new OptionError('render: options', { name: 'options', expected: 'an object', found: options });
  }
  const { addGenerationPrompt = false, tools, variables = {}, now = new Date(), ...rest } = options;
  const unknown = Object.keys(rest)[0];
  if (unknown !== undefined) throw new OptionError(`render: unknown option ${unknown}`, { name: unknown });
  if (typeof addGenerationPrompt !== 'boolean') throw bad('addGenerationPrompt', 'true or false', addGenerationPrompt);
  if (tools !== undefined && !Array.isArray(tools)) throw bad('tools', 'a list of JSON schemas', tools);
  const object: unknown = variables;
  const proto: unknown = typeof object === 'object' && object !== null ? Object.getPrototypeOf(object) : undefined;
  if (proto !== null && proto !== Object.prototype) throw bad('variables', 'a plain object', variables);
  if (!(now instanceof Date) || Number.isNaN(now.getTime())) throw bad('now', 'a valid Date', now);
  return { addGenerationPrompt, tools, variables, now };
}

/** Checks and holds a template; it is parsed in the worker at the first render, and kept parsed there. */
export function compileChatTemplate(source: string, specials: ChatSpecials): ChatTemplate {
  if (typeof source !== 'string' || source.length > maxTemplateLength) {
    throw new TemplateError('a chat template must be a string of bounded length', {
      expected: `at most ${maxTemplateLength} characters`,
      found: typeof source === 'string' ? source.length : typeof source,
    });
  }
  const tokens = specials.tokens.filter((token) => token !== '');
  return {
    source,
    async render(messages, options = {}) {
      checkMessages(messages);
      const { addGenerationPrompt, tools, variables, now } = checkRenderOptions(options);
      const taken = Object.keys(variables).find((name) => reserved.has(name) || Object.hasOwn(specials.named, name));
      if (taken !== undefined)
        throw new OptionError('a variable may not replace one of the template itself', { name: taken });
      const message = {
        source,
        named: specials.named,
        tokens,
        messages: plain(messages, 'messages'),
        tools: tools === undefined ? null : plain(tools, 'tools'),
        variables: plain(variables, 'variables'),
        addGenerationPrompt,
        now: now.getTime(),
      };
      return (await templateWorker().call(message, renderLimitMs, 'rendering')) as Segment[];
    },
  };
}
