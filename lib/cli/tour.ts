import type { Command } from 'commander';
import { type Context, UsageError } from './command.js';
import { print } from './output.js';

/** Columns of a paragraph. */
const kWidth = 100;

export function define(command: Command, context: Context): void {
  command
    .argument('[name]', 'one stop of the tour; default: all')
    .option('--list', 'names and titles only')
    .addHelpText(
      'after',
      '\nEverything is computed as it is printed, by the built-in models and by graphs of a few lines.',
    )
    .action((name, values) => tour(name, values, context));
}

/** Words in lines of at most `kWidth` columns. */
function paragraph(text: string): string {
  let [lines, line] = ['', ''];
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > kWidth) {
      lines += `${line}\n`;
      line = '';
    }
    line += line === '' ? word : ` ${word}`;
  }
  return `${lines}${line}`;
}

async function tour(name: string | undefined, values: { readonly list?: boolean }, { signal }: Context): Promise<void> {
  const { stops } = await import('../tour/index.js');
  const chosen = stops.filter((stop) => name === undefined || stop.name === name);
  if (chosen.length === 0)
    throw new UsageError(`the tour has no stop '${name}'`, `Stops: ${stops.map((s) => s.name).join(', ')}`);
  if (values.list === true) {
    const width = Math.max(...chosen.map((s) => s.name.length));
    for (const stop of chosen) await print(`${stop.name.padEnd(width)}  ${stop.title}\n`);
    return;
  }
  for (const [i, stop] of chosen.entries()) {
    if (signal.aborted) return;
    const title = `${stop.title}  (verdant tour ${stop.name})`;
    await print(
      `${i === 0 ? '' : '\n\n'}${title}\n${'='.repeat(title.length)}\n${paragraph(stop.about)}\n\n${await stop.show()}\n`,
    );
  }
}
