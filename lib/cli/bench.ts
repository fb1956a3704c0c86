import { writeFile } from 'node:fs/promises';
import type { Command } from 'commander';
import type { KvType } from '../ops/kv_write.js';
import { type Context, given, integerOf, numbersOf } from './command.js';
import { addHubOptions, computeOption, type HubValues, hubOptions, kvTypeOption } from './options.js';
import { colour, note, Progress, print } from './output.js';

interface BenchValues extends HubValues {
  readonly shape?: string;
  readonly quant?: string;
  readonly prompt?: number;
  readonly generate?: number;
  readonly batch?: number[];
  readonly context?: number;
  readonly threads?: number;
  readonly device?: string;
  readonly compute?: string;
  readonly kvType?: KvType;
  readonly repeat?: number;
  readonly profile?: boolean;
  readonly rivals?: boolean;
  readonly rivalPath?: string;
  readonly json?: string;
  readonly svg?: string;
}

const rules = `
Each run stands between two measurements of what the machine gives at that moment (memory stream, f32, bf16, int8), and its
fractions are of those. Figures are medians (min-max). GB/s are bytes of weights that a step reads, GFLOP/s the
multiplications and additions that the model needs. --rivals compares with node-llama-cpp on the same .gguf file, a fresh
process for each run; that of a --shape is written to the temporary folder first and removed again.`;

export function define(command: Command, context: Context): void {
  command
    .argument('[model]', 'a folder, a .gguf file, or a hub id (owner/name)')
    .option(
      '--shape <name>',
      'instead of a model: sizes of a published one with random weights, such as llama-3.2-1b or bert-base',
    )
    .option('--quant <type>', 'weight type: of --shape (default: q8_0), or of an unquantised model when it is loaded')
    .option('--prompt <n>', 'ids that prefill takes in; default: 512', integerOf)
    .option('--generate <n>', 'ids that a sequence decodes; default: 128', integerOf)
    .option('--batch <list>', 'sequences that decode together, such as 1,4,8,16,32; default: 1', numbersOf(32))
    .option('--context <n>', 'also decode behind that many ids', integerOf)
    .option('--threads <n>', 'threads of one step', integerOf)
    .option('--device <name>', 'cpu, cpu:generic, cpu:avx2, cpu:avx512, cuda:0; see: verdant doctor')
    .addOption(computeOption())
    .addOption(kvTypeOption())
    .option('--repeat <n>', 'runs of each measurement; default: 3', integerOf)
    .option('--profile', 'time per node')
    .option('--rivals', 'alternate with node-llama-cpp on the same file')
    .option('--rival-path <folder>', 'whose node_modules hold it; default: the current folder')
    .option('--json <file>', 'write samples and environment')
    .option('--svg <file>', 'write a chart');
  addHubOptions(command)
    .addHelpText('after', rules)
    .action((model, values) => run(model, values, context));
}

async function run(model: string | undefined, values: BenchValues, { signal }: Context): Promise<void> {
  const { isFamily } = await import('../bench/family_shapes.js');
  const { benchFamily } = await import('../bench/families.js');
  const { familyText } = await import('../bench/family_text.js');
  const { checkBench } = await import('../bench/options.js');
  const { bench } = await import('../bench/measure.js');
  const { reportText } = await import('../bench/text.js');
  const { reportChart } = await import('../bench/chart.js');
  const { revision: _revision, offline: _offline, cacheDir: _cacheDir, ...measured } = values;
  const progress = new Progress(values.shape === undefined ? 'loading' : 'making weights');
  const hooks = {
    signal,
    hub: hubOptions(values),
    onProgress: ({ done, total }: { done: number; total: number }) => progress.update(done, total),
    note: (text: string) => {
      progress.stop();
      note(colour('dim', text));
    },
  };
  try {
    if (isFamily(values.shape)) {
      const found = await benchFamily(values.shape, checkBench(measured), hooks);
      if (values.json !== undefined) await writeFile(values.json, `${JSON.stringify(found, undefined, 2)}\n`);
      await print(familyText(found));
      return;
    }
    const report = await bench({ ...measured, ...given({ model }) }, hooks);
    signal.throwIfAborted();
    if (values.json !== undefined) await writeFile(values.json, `${JSON.stringify(report, undefined, 2)}\n`);
    if (values.svg !== undefined) await writeFile(values.svg, reportChart(report));
    await print(reportText(report));
  } finally {
    progress.stop();
  }
}
