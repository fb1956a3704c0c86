/** `verdant translate` and `verdant summarize`: a text, or each line of standard input. */
import { createInterface } from 'node:readline';
import type { Command } from 'commander';
import { InputError, UnsupportedError } from '../errors.js';
import type { TextOutcome } from '../tasks/in_order.js';
import type { Seq2SeqModel, TranslateOptions } from '../tasks/seq2seq_model.js';
import { type Context, given, integerOf } from './command.js';
import {
  addLoadOptions,
  addSamplingOptions,
  type LoadValues,
  loadModel,
  modelArgument,
  type SamplingValues,
  samplingOptions,
} from './options.js';
import { note, oneLine, print } from './output.js';

interface TextsValues extends LoadValues, SamplingValues {
  readonly from?: string;
  readonly to?: string;
  readonly numBeams?: number;
}

const rules = `
Without a TEXT, or with -, each line of standard input is one and each line of standard output what became of it, in order; as many
run at once as the batch holds. A line that fails is told on standard error and stays empty; the exit code is then 1.`;

export function define(command: Command, context: Context): void {
  const translate = command.name() === 'translate';
  command.argument(...modelArgument).argument('[text]', 'the text; - or nothing reads lines from standard input');
  if (translate) {
    command
      .option('--from <code>', 'language of the text, as the checkpoint names it: en_XX, eng_Latn, en')
      .option('--to <code>', 'language to translate to');
  }
  addSamplingOptions(command).option('--num-beams <n>', 'beam search with n beams', integerOf);
  addLoadOptions(command)
    .addHelpText('after', rules)
    .action((model, text, values) => run(translate, model, text, values, context));
}

async function opened(path: string, values: TextsValues, context: Context): Promise<Seq2SeqModel> {
  const model = await loadModel(path, values, context);
  const { Seq2SeqModel: kind } = await import('../tasks/seq2seq_model.js');
  if (model instanceof kind) return model;
  await model.dispose();
  throw new UnsupportedError('this is no encoder-decoder', {
    file: path,
    hint: 'Use verdant run, and say in the prompt what is wanted',
  });
}

async function run(
  translate: boolean,
  path: string,
  text: string | undefined,
  values: TextsValues,
  context: Context,
): Promise<void> {
  const options: TranslateOptions = {
    ...samplingOptions(values),
    ...given({ numBeams: values.numBeams, from: values.from, to: values.to }),
    signal: context.signal,
  };
  const model = await opened(path, values, context);
  try {
    if (text !== undefined && text !== '-') {
      const generation = translate ? model.translate(text, options) : model.summarize(text, options);
      await print(`${(await generation.text()).trim()}\n`);
      return;
    }
    const lines = new Lines();
    const outcomes = translate ? model.translate(lines, options) : model.summarize(lines, options);
    await lines.print(outcomes);
  } finally {
    await model.dispose();
  }
}

/** Lines of standard input; empty ones are no texts, but keep their place. */
class Lines {
  /** Empty lines before each text, and after the last. */
  readonly #gaps: number[] = [0];

  async *[Symbol.asyncIterator](): AsyncGenerator<string> {
    for await (const line of createInterface({ input: process.stdin, crlfDelay: Number.POSITIVE_INFINITY })) {
      const last = this.#gaps.length - 1;
      if (line.trim() === '') this.#gaps[last] = (this.#gaps[last] as number) + 1;
      else {
        this.#gaps.push(0);
        yield line;
      }
    }
  }

  async print(outcomes: AsyncIterable<TextOutcome>): Promise<void> {
    let [failed, texts, line] = [0, 0, 0];
    const skip = async (count: number): Promise<void> => {
      line += count;
      if (count > 0) await print('\n'.repeat(count));
    };
    for await (const outcome of outcomes) {
      await skip(this.#gaps[outcome.index] as number);
      [texts, line] = [texts + 1, line + 1];
      if (outcome.error !== undefined) {
        failed++;
        note(`line ${line}: ${oneLine(outcome.error.message)}`);
      }
      await print(`${(outcome.text ?? '').replaceAll(/\s*\n\s*/g, ' ').trim()}\n`);
    }
    await skip(this.#gaps[texts] ?? 0);
    if (failed > 0) throw new InputError(`${failed} of ${texts} texts failed`);
  }
}
