#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { OptionError, VerdantError } from '../errors.js';
import { type CommandModule, type Context, UsageError } from './command.js';
import { colour, note, oneLine } from './output.js';

interface Entry {
  readonly summary: string;
  /** Loaded only when the command is used, so that help is fast. */
  readonly load: () => Promise<CommandModule>;
}

const commands: Readonly<Record<string, Entry>> = {
  run: { summary: 'continue a prompt, or tell a story', load: () => import('./run.js') },
  chat: { summary: 'talk with a model', load: () => import('./chat.js') },
  translate: { summary: 'texts into another language', load: () => import('./texts.js') },
  summarize: { summary: 'texts made shorter', load: () => import('./texts.js') },
  inspect: { summary: 'what a model is made of and needs', load: () => import('./inspect.js') },
  graph: { summary: 'print the program of a model', load: () => import('./graph.js') },
  trace: { summary: 'write logits, hidden states and attention maps to a file', load: () => import('./trace.js') },
  lens: { summary: 'what each layer of a model would say next', load: () => import('./lens.js') },
  transcribe: { summary: 'write down speech', load: () => import('./transcribe.js') },
  quantize: { summary: 'write a model as a GGUF file of a smaller type', load: () => import('./quantize.js') },
  pull: { summary: 'download a model from the hub', load: () => import('./pull.js') },
  tour: { summary: 'how transformers work, by example', load: () => import('./tour.js') },
  bench: { summary: 'measure speed, next to what the machine gives', load: () => import('./bench.js') },
  doctor: { summary: 'what this machine can do', load: () => import('./doctor.js') },
};

/** How long a command may take to end after Ctrl-C. */
const kGraceMs = 2000;

/** Ctrl-C aborts the command; the second one, or a command that does not heed it, ends the process. */
function interruptible(): AbortSignal {
  const controller = new AbortController();
  process.on('SIGINT', () => {
    if (controller.signal.aborted) process.exit(130);
    controller.abort();
    setTimeout(() => process.exit(130), kGraceMs).unref();
  });
  return controller.signal;
}

function buildProgram(): Command {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
    version: string;
  };
  const program = new Command('verdant')
    .description('Runs transformers: typed model graphs on native kernels.')
    .version(version, '-V, --version', 'print the version')
    .option('--debug', 'print the stack of an error')
    .exitOverride()
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, 'verdant: ')) });
  for (const [name, { summary }] of Object.entries(commands)) program.command(name).description(summary);
  return program;
}

/** Defines the one command that the arguments name; the others stay lines of the help. */
async function defineUsed(program: Command, args: readonly string[], context: Context): Promise<void> {
  const operands = args.filter((a) => !a.startsWith('-'));
  const name = operands[0] === 'help' ? operands[1] : operands[0];
  if (name === undefined || !Object.hasOwn(commands, name)) return;
  const module = await commands[name]!.load();
  module.define(program.commands.find((c) => c.name() === name)!, context);
}

/** One line, what to do about it on a second one, the stack only for --debug. Returns the exit code. */
function report(error: unknown, signal: AbortSignal, debug: boolean): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  if (signal.aborted) return 130;
  const message = error instanceof Error && error.message !== '' ? error.message : String(error);
  const hint = error instanceof UsageError ? error.hint : error instanceof VerdantError ? error.facts.hint : undefined;
  const bare = hint !== undefined && message.endsWith(`. ${hint}`) ? message.slice(0, -hint.length - 2) : message;
  note(`${colour('red', 'verdant:')} ${oneLine(bare)}`);
  if (hint !== undefined && hint !== '') note(colour('dim', oneLine(hint)));
  if (debug) note(error instanceof Error ? (error.stack ?? '') : '');
  return error instanceof UsageError || error instanceof OptionError ? 2 : 1;
}

async function main(args: readonly string[]): Promise<void> {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    // A reader such as `head` has had enough.
    if (error.code === 'EPIPE') process.exit(0);
    note(`${colour('red', 'verdant:')} standard output: ${oneLine(error.message)}`);
    process.exit(1);
  });
  const signal = interruptible();
  const program = buildProgram();
  try {
    if (args.length === 0) program.outputHelp();
    else {
      await defineUsed(program, args, { signal });
      await program.parseAsync(args, { from: 'user' });
    }
    if (signal.aborted) process.exitCode = 130;
  } catch (error) {
    process.exitCode = report(error, signal, program.opts<{ debug?: boolean }>().debug === true);
  }
}

await main(process.argv.slice(2));
