import { existsSync, readdirSync, statSync } from 'node:fs';
import { text as readText } from 'node:stream/consumers';
import type { Command } from 'commander';
import { HubError, InputError, ModelNotFoundError } from '../errors.js';
import type { GenerateOptions } from '../generation/options.js';
import type { Generation, GenerationResult, Piece } from '../tasks/generation.js';
import type { Prompt, TextModel } from '../tasks/text_model.js';
import { type Context, integerOf, UsageError } from './command.js';
import {
  addLoadOptions,
  addSamplingOptions,
  type LoadValues,
  loadModel,
  type SamplingValues,
  samplingOptions,
} from './options.js';
import { colour, note, print } from './output.js';

interface RunValues extends LoadValues, SamplingValues {
  readonly prompt?: string;
  readonly n?: number;
  readonly numBeams?: number;
  readonly logprobs?: number;
  readonly echo?: boolean;
  readonly json?: boolean;
  readonly stats?: boolean;
}

const rules = `
One argument is a MODEL if it is a folder or file with a model or looks like a hub id (owner/name), else it is the PROMPT
for the built-in model. To be explicit, give the text with --prompt. A PROMPT of - is read from standard input. Without
a PROMPT the text starts from nothing. Options that are not given come from the checkpoint's generation_config.json.
Standard output carries the continuation and nothing else.`;

export function define(command: Command, context: Context): void {
  command
    .argument('[model]', 'a folder, a .gguf file, or a hub id; default: the built-in model')
    .argument('[prompt]', 'text to continue; - reads it from standard input')
    .option('-p, --prompt <text>', 'the prompt; the only argument is then the model');
  addSamplingOptions(command)
    .option('--n <count>', 'that many continuations, one after another', integerOf)
    .option('--num-beams <n>', 'beam search with n beams, written when it has ended', integerOf)
    .option('--logprobs <k>', 'log-probabilities with k alternatives, on standard error', integerOf)
    .option('--echo', 'the prompt is part of the output')
    .option('--json', 'one JSON document instead of the text')
    .option('--stats', 'tokens, speed and seed on standard error');
  addLoadOptions(command)
    .addHelpText('after', rules)
    .action((model, prompt, values) => run(model, prompt, values, context));
}

/** Whether a path that exists holds a model. */
function holdsModel(path: string): boolean {
  if (!statSync(path).isDirectory()) return /\.(?:gguf|safetensors|bin)$/.test(path);
  return readdirSync(path).some((name) => name === 'config.json' || name.endsWith('.gguf'));
}

/** Tells model and prompt apart; the rule stands in the help. */
function splitArguments(
  first: string | undefined,
  second: string | undefined,
  prompt: string | undefined,
): { model: string | undefined; prompt: string | undefined } {
  const explicit = `If ${JSON.stringify(first)} is the text to continue: verdant run --prompt ${JSON.stringify(first)}`;
  if (second !== undefined && prompt !== undefined)
    throw new UsageError('the prompt is given twice', 'Leave out --prompt or the second argument');
  if (first === undefined || second !== undefined || prompt !== undefined)
    return { model: first, prompt: second ?? prompt };
  if (existsSync(first)) {
    if (holdsModel(first)) return { model: first, prompt: undefined };
    throw new UsageError(`${first} exists, but holds no model`, explicit);
  }
  if (/^(?:\.{0,2}|~)[/\\]\S*$|^[^\s]+\.(?:gguf|safetensors|bin)$/.test(first))
    throw new UsageError(`no such file or folder: ${first}`, explicit);
  if (/^[\w.-]+\/[\w.-]+(?:[@:]\S+)?$/.test(first)) return { model: first, prompt: undefined };
  return { model: undefined, prompt: first };
}

/** Ids of an empty text: the token that begins one. */
async function beginning(model: TextModel): Promise<Prompt> {
  if (model.host.reader !== undefined)
    throw new InputError('an encoder-decoder needs a text to read', { name: 'prompt', expected: 'a prompt' });
  const ids = model.tokenizer === undefined ? new Int32Array(0) : await model.encode('');
  if (ids.length > 0) return ids;
  const bos = model.tokenizer?.bosId ?? model.defaults.bosTokenId;
  if (bos !== undefined) return [bos];
  throw new InputError('this model has no token that begins a text', { name: 'prompt', expected: 'a prompt' });
}

async function run(
  first: string | undefined,
  second: string | undefined,
  values: RunValues,
  context: Context,
): Promise<void> {
  const { model: path, prompt } = splitArguments(first, second, values.prompt);
  const text = prompt === '-' ? await readText(process.stdin) : prompt;
  const options: GenerateOptions = {
    ...samplingOptions(values),
    ...(values.n === undefined ? {} : { n: values.n }),
    ...(values.numBeams === undefined ? {} : { numBeams: values.numBeams }),
    ...(values.logprobs === undefined ? {} : { logprobs: values.logprobs }),
    ...(values.echo === undefined ? {} : { echo: values.echo }),
    signal: context.signal,
  };
  const model = await loadModel(path, values, context).catch((error: unknown) => {
    const missing = error instanceof ModelNotFoundError || error instanceof HubError;
    const unsure = missing && first !== undefined && second === undefined && values.prompt === undefined;
    throw unsure
      ? new UsageError(error.message, `If it is the text to continue: verdant run --prompt ${JSON.stringify(first)}`)
      : error;
  });
  try {
    const generation = model.generate(text ?? (await beginning(model)), options);
    if (values.json === true) await printJson(model, generation);
    else if ((values.n ?? model.defaults.numReturnSequences ?? 1) > 1) await printAll(model, generation);
    else await stream(model, generation);
    if (values.stats === true || process.stderr.isTTY === true) summarise(await generation.result());
  } finally {
    await model.dispose();
  }
}

async function stream(model: TextModel, generation: Generation): Promise<void> {
  let last = '';
  for await (const piece of generation) {
    if (piece.text !== '') await print(piece.text);
    last = piece.text || last;
    noteLogprobs(model, piece);
  }
  if (process.stdout.isTTY === true && !last.endsWith('\n')) await print('\n');
}

/** Several continuations: each ends with a newline, an empty line stands between them. */
async function printAll(model: TextModel, generation: Generation): Promise<void> {
  const { completions } = await generation.result();
  for (const [index, { text, ids, logprobs }] of completions.entries()) {
    await print(`${index > 0 ? '\n' : ''}${text}\n`);
    noteLogprobs(model, { index, text, ids, ...(logprobs === undefined ? {} : { logprobs }) });
  }
}

/** One line per token: id, text, log-probability, then the alternatives. */
function noteLogprobs(model: TextModel, piece: Piece): void {
  const show = (id: number, logprob: number): string =>
    `${id} ${JSON.stringify(model.tokenizer?.decode([id]) ?? '')} ${logprob.toFixed(4)}`;
  for (const { id, logprob, top } of piece.logprobs ?? []) {
    note([show(id, logprob), ...top.map((t) => show(t.id, t.logprob))].join('\t'));
  }
}

async function printJson(model: TextModel, generation: Generation): Promise<void> {
  const { completions, seed, usage, timings } = await generation.result();
  const document = { model: model.checkpoint.path, seed: String(seed), usage, timings, completions };
  await print(`${JSON.stringify(document, undefined, 2)}\n`);
}

function summarise({ usage, timings, seed, finishReason }: GenerationResult): void {
  const speed = `${timings.decodeTokensPerSecond.toFixed(1)} tokens/s`;
  const first = `first after ${timings.firstTokenMs.toFixed(0)} ms`;
  const counts = `${usage.promptTokens} + ${usage.completionTokens} tokens`;
  note(colour('dim', `${counts}, ${speed}, ${first}, seed ${seed}, ${finishReason}`));
}
