import type { Command } from 'commander';
import type { Program } from '../graph/program.js';
import type { KvType } from '../ops/kv_write.js';
import type { QuantizeType } from '../weights/quantize_rules.js';
import { type Context, integerOf } from './command.js';
import {
  addHubOptions,
  computeOption,
  type HubValues,
  hubOptions,
  kvTypeOption,
  modelArgument,
  quantizeOption,
} from './options.js';
import { print } from './output.js';

interface GraphValues extends HubValues {
  readonly outputs?: string;
  readonly compute?: string;
  readonly quantize?: QuantizeType;
  readonly kvType?: KvType;
  readonly maxContext?: number;
  readonly json?: boolean;
}

export function define(command: Command, context: Context): void {
  addHubOptions(command.argument(...modelArgument))
    .option(
      '--outputs <names>',
      'outputs of the graph with commas between them (logits, hidden_states.0, attentions.0 …); default: the step that samples',
    )
    .addOption(computeOption())
    .addOption(quantizeOption())
    .addOption(kvTypeOption())
    .option(
      '--max-context <tokens>',
      'size of the KV cache: one sequence of that length; default: the longest',
      integerOf,
    )
    .option('--json', 'the program as data')
    .addHelpText('after', '\nReads the headers of the checkpoint, not its weights.')
    .action((model, values) => graph(model, values, context));
}

async function graph(path: string, values: GraphValues, { signal }: Context): Promise<void> {
  const { resolveModel } = await import('../hub/index.js');
  const { openCheckpoint } = await import('../weights/checkpoint.js');
  const { buildCheckpoint } = await import('../engine/build.js');
  const { planMemory } = await import('../engine/memory.js');
  const { blocksFor } = await import('../engine/kv_blocks.js');
  const { outputProgram, stepProgram } = await import('../engine/programs.js');
  const { printProgram } = await import('../graph/program.js');
  const checkpoint = await openCheckpoint(await resolveModel(path, { ...hubOptions(values), signal }));
  const built = buildCheckpoint(checkpoint, undefined, values.quantize, values.kvType);
  const maxContext = values.maxContext ?? built.maxPositions;
  // Memory for one sequence whatever this machine has free, so that the same model prints the same program.
  const kvMemory = built.groups.reduce((n, g) => n + g.bytesPerBlock, 0) * blocksFor(maxContext);
  const plan = planMemory(built.groups, built.maxPositions, {
    maxContext,
    kvMemory: kvMemory > 0 ? kvMemory : undefined,
  });
  for (const group of built.groups) group.blocks.size = plan.blocks;
  const outputs = values.outputs?.split(',').map((name) => name.trim());
  const program =
    outputs === undefined
      ? stepProgram(built, values.compute)
      : outputProgram(built, 'outputs', outputs, values.compute);
  await print(values.json === true ? json(program) : printProgram(program));
}

/** Big integers as decimal texts, arrays of numbers as lists. */
function json(program: Program): string {
  const plain = (_key: string, value: unknown): unknown =>
    typeof value === 'bigint' ? String(value) : ArrayBuffer.isView(value) ? Array.from(value as Float32Array) : value;
  return `${JSON.stringify(program, plain, 2)}\n`;
}
