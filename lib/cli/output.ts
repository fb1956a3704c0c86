import { once } from 'node:events';
import { styleText } from 'node:util';
import type { SingleBar } from 'cli-progress';

/** Writes to stdout and waits until the reader keeps up. */
export async function print(text: string): Promise<void> {
  if (!process.stdout.write(text)) await once(process.stdout, 'drain');
}

/** A line on stderr. */
export function note(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** Whether colours and bars suit a stream: a terminal, and NO_COLOR does not forbid them. */
function coloured(stream: NodeJS.WriteStream): boolean {
  return stream.isTTY === true && !process.env.NO_COLOR && process.env.TERM !== 'dumb';
}

/** Text in a colour where stderr is a terminal and NO_COLOR is not set. */
export function colour(name: 'red' | 'dim' | 'bold', text: string): string {
  return coloured(process.stderr) ? styleText(name, text) : text;
}

/** Control characters (of a file's tensor names, say) must not reach a terminal. */
export function oneLine(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is replaced
  return text.replace(/\s*\n\s*/g, '; ').replace(/[\u0000-\u001f\u007f-\u009f]/g, '\ufffd');
}

/** 1536 → '1.5 KiB'. */
export function bytes(count: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let [value, unit] = [count, 0];
  while (value >= 1024 && unit < units.length - 1) [value, unit] = [value / 1024, unit + 1];
  return `${unit === 0 ? value : value.toFixed(value < 10 ? 2 : 1)} ${units[unit]}`;
}

/** Lines of two columns. */
export function table(rows: readonly (readonly [string, string])[]): string {
  const width = Math.max(...rows.map(([name]) => name.length));
  return rows.map(([name, text]) => `${name.padEnd(width)}  ${text}\n`).join('');
}

/** Work that ends sooner than this, in milliseconds, shows nothing: on a terminal, and elsewhere. */
const kQuiet = { terminal: 400, other: 2000 };

/** Progress of long work on stderr: a bar on a terminal, else a plain line for each quarter. */
export class Progress {
  readonly #label: string;
  readonly #started = performance.now();
  #bar: SingleBar | undefined;
  #opening = false;
  #over = false;
  #quarter = 0;

  constructor(label: string) {
    this.#label = label;
  }

  /** Bytes done and in all. */
  update(done: number, total: number): void {
    const terminal = process.stderr.isTTY === true;
    const quiet = terminal ? kQuiet.terminal : kQuiet.other;
    if (this.#over || total <= 0 || performance.now() - this.#started < quiet) return;
    if (!terminal) this.#line(done, total);
    else if (this.#bar !== undefined) this.#bar.update(done, { shown: `${bytes(done)} of ${bytes(total)}` });
    else if (!this.#opening && done < total) void this.#open(done, total);
  }

  stop(): void {
    this.#over = true;
    this.#bar?.stop();
  }

  async #open(done: number, total: number): Promise<void> {
    this.#opening = true;
    const { default: progress } = await import('cli-progress');
    if (this.#over) return;
    const format = `${this.#label} [{bar}] {percentage} %  {shown}`;
    const options = { format, clearOnComplete: true, hideCursor: false, stream: process.stderr, barsize: 32 };
    this.#bar = new progress.SingleBar(options, progress.Presets.legacy);
    this.#bar.start(total, done, { shown: '' });
  }

  #line(done: number, total: number): void {
    const quarter = Math.floor((4 * done) / total);
    if (quarter <= this.#quarter || (this.#quarter === 0 && done >= total)) return;
    this.#quarter = quarter;
    note(`${this.#label}: ${25 * quarter} % of ${bytes(total)}`);
  }
}
