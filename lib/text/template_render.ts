/** Renders a chat template with budgets, and cuts the result where a user's text must not join into special tokens. */
import { TemplateError } from '../errors.js';
import { Environment, Interpreter, type Program, Template } from './jinja.js';
import type { Segment } from './protocol.js';
import type { Json } from './spec.js';
import { strftime } from './strftime.js';

export interface RenderRequest {
  readonly source: string;
  readonly named: Readonly<Record<string, string>>;
  readonly tokens: readonly string[];
  readonly messages: Json;
  readonly tools: Json;
  readonly variables: { readonly [key: string]: Json };
  readonly addGenerationPrompt: boolean;
  readonly now: number;
}

const maxSteps = 1_000_000;
/** Depth of nested evaluation: an expression of 100 brackets inside 100 blocks stays below it. */
const maxDepth = 400;
const maxNesting = 100;
const maxOutput = 16 * 1024 * 1024;
const maxRange = 1_000_000;
const parsed = new Map<string, Program>();

/** Counts steps and depth; strings that a step makes are bounded. */
class BudgetInterpreter extends Interpreter {
  private steps = 0;
  private depth = 0;
  private made = 0;

  override evaluate(statement: Program, environment: Environment): { readonly value?: unknown } {
    this.steps += 1;
    if (this.steps > maxSteps) throw new TemplateError('the template takes too many steps', { expected: maxSteps });
    this.depth += 1;
    if (this.depth > maxDepth)
      throw new TemplateError('the template nests or recurses too deep', { expected: maxDepth });
    try {
      const value = super.evaluate(statement, environment);
      const text = value?.value;
      if (typeof text === 'string') this.count(text.length);
      return value;
    } finally {
      this.depth -= 1;
    }
  }

  private count(length: number): void {
    if (length > 1024) this.made += length;
    if (length > maxOutput || this.made > 64 * maxOutput) {
      throw new TemplateError('the template makes too much text', { expected: `at most ${maxOutput} characters` });
    }
  }
}

/** Brackets and blocks, counted before the recursive parser sees them. */
function checkNesting(source: string): void {
  let brackets = 0;
  let blocks = 0;
  const tag = /\{%-?\s*(end\w+|if|for|macro|call|filter|set|generation)\b[^%]*|[([{]|[)\]}]/g;
  for (const [text, word] of source.matchAll(tag)) {
    if (word === undefined) brackets = Math.max(0, brackets + ('([{'.includes(text) ? 1 : -1));
    else if (word.startsWith('end')) blocks = Math.max(0, blocks - 1);
    else if (word !== 'set' || !text.includes('=')) blocks += 1;
    if (brackets > 2 * maxNesting || blocks > maxNesting) {
      throw new TemplateError('the template nests too deep', { expected: `at most ${maxNesting} levels` });
    }
  }
}

function parse(source: string): Program {
  const known = parsed.get(source);
  if (known !== undefined) return known;
  checkNesting(source);
  let program: Program;
  try {
    program = new Template(source).parsed;
  } catch (error) {
    throw new TemplateError(`the chat template cannot be parsed: ${(error as Error).message}`);
  }
  if (parsed.size >= 32) parsed.clear();
  parsed.set(source, program);
  return program;
}

function range(start: number, stop?: number, step = 1): number[] {
  const [from, to] = stop === undefined || stop === null ? [0, start] : [start, stop];
  const length = Math.ceil((to - from) / step);
  if (!Number.isInteger(from) || !Number.isInteger(to) || !Number.isInteger(step) || step === 0 || length > maxRange) {
    throw new TemplateError('range() needs integers and a sensible length', { expected: maxRange, found: length });
  }
  return Array.from({ length: Math.max(0, length) }, (_, i) => from + i * step);
}

/** One render: variables of the request first, so that the template's own always win. */
function render(request: RenderRequest, messages: Json, tools: Json): string {
  const environment = new Environment();
  const values: Record<string, unknown> = {
    ...request.variables,
    ...request.named,
    true: true,
    false: false,
    none: null,
    True: true,
    False: false,
    None: null,
    messages,
    tools,
    add_generation_prompt: request.addGenerationPrompt,
    range,
    raise_exception: (message: unknown) => {
      throw new TemplateError(`the chat template refuses these messages: ${String(message)}`);
    },
    strftime_now: (format: unknown) => strftime(new Date(request.now), String(format)),
  };
  for (const [name, value] of Object.entries(values)) environment.set(name, value);
  const program = parse(request.source);
  try {
    const out: unknown = new BudgetInterpreter(environment).run(program).value;
    if (typeof out !== 'string' || out.length > maxOutput) {
      throw new TemplateError('the template makes too much text', { expected: `at most ${maxOutput} characters` });
    }
    return out;
  } catch (error) {
    if (error instanceof TemplateError) throw error;
    throw new TemplateError(`the chat template fails: ${(error as Error).message}`);
  }
}

/** A private-use character that neither the template nor the strings contain. */
function pickMark(texts: readonly string[]): string {
  for (let code = 0xf8ff; code >= 0xe000; code -= 1) {
    const mark = String.fromCharCode(code);
    if (!texts.some((text) => text.includes(mark))) return mark;
  }
  throw new TemplateError('the messages use every private-use character');
}

type Marker = (text: string) => string;

/** Marks after the first character of every special token, and of every beginning of one at the end of the text. */
function markSpelled(text: string, tokens: readonly string[], mark: string): string {
  const cuts = new Set<number>();
  for (const token of tokens) {
    for (let at = text.indexOf(token); at >= 0; at = text.indexOf(token, at + 1)) cuts.add(at + 1);
    for (let length = Math.min(token.length - 1, text.length); length > 0; length -= 1) {
      if (text.endsWith(token.slice(0, length))) cuts.add(text.length - length + 1);
    }
  }
  return insert(text, cuts, mark);
}

/** Marks at the first visible character and after every character with which a special token begins. */
function markAll(text: string, firsts: ReadonlySet<string>, mark: string): string {
  const cuts = new Set<number>();
  const start = text.search(/\S/);
  if (start >= 0) cuts.add(start);
  for (let i = 0; i < text.length; i += 1) if (firsts.has(text[i] as string)) cuts.add(i + 1);
  return insert(text, cuts, mark);
}

function insert(text: string, cuts: ReadonlySet<number>, mark: string): string {
  let out = '';
  let from = 0;
  for (const cut of [...cuts].sort((a, b) => a - b)) {
    out += text.slice(from, cut) + mark;
    from = cut;
  }
  return out + text.slice(from);
}

/** Applies `all` to strings, `spelled` to keys and to `type` (templates compare those); roles are plain words already. */
function mapStrings(value: Json, all: Marker, spelled: Marker, key = ''): Json {
  if (typeof value === 'string') return key === 'role' ? value : key === 'type' ? spelled(value) : all(value);
  if (Array.isArray(value)) return value.map((item) => mapStrings(item, all, spelled));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, item]) => [spelled(name), mapStrings(item, all, spelled, name)]),
  );
}

/** Renders to segments: a special token in the user's strings never lies inside one of them whole. */
export function renderSegments(request: RenderRequest): Segment[] {
  const { messages, tools, tokens } = request;
  const text = render(request, messages, tools);
  if (tokens.length === 0) return [{ text, special: true }];
  const data = JSON.stringify([messages, tools, request.variables]);
  const mark = pickMark([request.source, text, data, ...Object.values(request.named)]);
  const firsts = new Set(tokens.map((token) => token[0] as string));
  const spelled: Marker = (t) => markSpelled(t, tokens, mark);
  for (const all of [(t: string) => markAll(t, firsts, mark), spelled]) {
    let marked: string;
    try {
      const variables = mapStrings(request.variables, all, spelled) as RenderRequest['variables'];
      marked = render({ ...request, variables }, mapStrings(messages, all, spelled), mapStrings(tools, all, spelled));
    } catch {
      continue;
    }
    if (marked.replaceAll(mark, '') !== text) continue;
    return marked
      .split(mark)
      .filter((part) => part !== '')
      .map((part) => ({ text: part, special: true }));
  }
  throw new TemplateError('the chat template changes the messages so that special tokens in them cannot be told apart');
}
