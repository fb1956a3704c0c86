import type { Command } from 'commander';
import { InputError } from '../errors.js';
import type { Lens, LensToken } from '../tasks/lens.js';
import { type Context, given, integerOf, numbersOf } from './command.js';
import { addLoadOptions, type LoadValues, loadModel } from './options.js';
import { oneLine, print } from './output.js';

interface LensValues extends LoadValues {
  readonly top?: number;
  readonly layers?: number[];
  readonly json?: boolean;
}

const rules = `
One argument is the TEXT, for the built-in model; two are MODEL and TEXT. A column for each token of the text, a row for
each layer, the last layer first: what the model would say next if it stopped there (final norm and head on the hidden
state of that layer), and how sure it would be.`;

export function define(command: Command, context: Context): void {
  addLoadOptions(
    command
      .argument('<model>', 'a folder, a .gguf file, or a hub id; default: the built-in model')
      .argument('[text]', 'what the model reads')
      .option('--top <k>', 'tokens in each cell; default: 1', integerOf)
      .option('--layers <n,n…>', 'hidden states to look at: 0 enters the first layer; default: all', numbersOf(4096))
      .option('--json', 'one JSON document instead of a table'),
  )
    .addHelpText('after', rules)
    .action((first, second, values) => lens(first, second, values, context));
}

async function lens(first: string, second: string | undefined, values: LensValues, context: Context): Promise<void> {
  const text = second ?? first;
  if (text === '') throw new InputError('the text is empty', { name: 'text' });
  const model = await loadModel(second === undefined ? undefined : first, values, context);
  try {
    const options = { top: values.top ?? 1, ...given({ layers: values.layers }), signal: context.signal };
    const seen = await model.lens(text, options);
    await print(values.json === true ? json(seen) : tables(seen, process.stdout.columns ?? 100));
  } finally {
    await model.dispose();
  }
}

function json({ ids, tokens, layers }: Lens): string {
  return `${JSON.stringify({ ids: [...ids], tokens, layers: Object.fromEntries(layers) }, null, 2)}\n`;
}

const spelled = (token: string | undefined, id: number): string => oneLine(token ?? `#${id}`);
const percent = (t: LensToken | undefined): string =>
  t === undefined ? '' : `${spelled(t.token, t.id)} ${(100 * t.probability).toFixed(0)}%`;

/** Blocks of columns, each as wide as the terminal at most. */
export function tables({ ids, tokens, layers }: Lens, width: number): string {
  const rows = [...layers].reverse();
  const columns = Array.from(ids, (id, at) => {
    const head = spelled(tokens?.[at], id);
    const cells = rows.map(([, places]) => places[at]!.map(percent));
    const lengths = [head, ...cells.flat()].map((cell) => [...cell].length);
    return { head, cells, width: Math.max(...lengths) };
  });
  const left = 'layer'.length;
  const blocks: string[] = [];
  for (let from = 0, to: number; from < columns.length; from = to) {
    let used = left + columns[from]!.width + 2;
    for (to = from + 1; to < columns.length && used + columns[to]!.width + 2 <= width; to++)
      used += columns[to]!.width + 2;
    const block = columns.slice(from, to);
    const pad = (cell: string, size: number): string => cell + ' '.repeat(size - [...cell].length);
    const line = (name: string, cell: (c: (typeof block)[number]) => string): string =>
      `${[name.padStart(left), ...block.map((c) => pad(cell(c), c.width))].join('  ').trimEnd()}\n`;
    const lines = rows.flatMap(([layer], r) =>
      Array.from({ length: Math.max(...block.map((c) => c.cells[r]!.length)) }, (_, k) =>
        line(k === 0 ? String(layer) : '', (c) => c.cells[r]![k] ?? ''),
      ),
    );
    blocks.push(line('layer', (c) => c.head) + lines.join(''));
  }
  return blocks.join('\n');
}
