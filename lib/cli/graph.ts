import type { Command } from 'commander';
import type { BuiltModel } from '../engine/build.js';
import type { Program } from '../graph/program.js';
import type { CacheGroup } from '../layers/decoder.js';
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
  const { buildModel } = await import('../engine/build.js');
  const { printProgram } = await import('../graph/program.js');
  const checkpoint = await openCheckpoint(await resolveModel(path, { ...hubOptions(values), signal }));
  const built = buildModel(checkpoint, undefined, values.quantize, values.kvType);
  const programs = await programsOf(built, values);
  for (const program of programs) await print(values.json === true ? json(program) : printProgram(program));
}

/** The step of a decoder; what an encoder computes; of an encoder-decoder what reads a text, and the step that writes. */
async function programsOf(built: BuiltModel, values: GraphValues): Promise<Program[]> {
  const { outputProgram, stepProgram } = await import('../engine/programs.js');
  const outputs = values.outputs?.split(',').map((name) => name.trim());
  if (built.kind === 'encoder') {
    const { encoderProgram } = await import('../engine/encoder_host.js');
    const own = [...built.builder.graph.outputs.keys()].filter((name) => !/^(hidden_states|attentions)\./.test(name));
    return [encoderProgram(built, outputs ?? own, values.compute)];
  }
  if (built.kind === 'audio') {
    const { audioProgram } = await import('../engine/audio_host.js');
    const own = [...built.builder.graph.outputs.keys()].filter((name) => !/^(hidden_states|attentions)\./.test(name));
    return [audioProgram(built, outputs ?? own, values.compute)];
  }
  const decoder = built.kind === 'seq2seq' ? built.decoder : built;
  await sizeCache(decoder.groups, decoder.maxPositions, values);
  const step =
    outputs === undefined
      ? stepProgram(decoder, values.compute)
      : outputProgram(decoder, 'outputs', outputs, values.compute);
  if (built.kind === 'decoder') return [step];
  const { encodeProgram } = await import('../engine/encode_texts.js');
  await sizeCache([built.builder.cross], built.maxSource, values);
  return [encodeProgram(built, values.compute), step];
}

/** Memory for one sequence whatever this machine has free, so that the same model prints the same program. */
async function sizeCache(groups: readonly CacheGroup[], longest: number, values: GraphValues): Promise<void> {
  const { planMemory } = await import('../engine/memory.js');
  const { blocksFor } = await import('../engine/kv_blocks.js');
  const maxContext = values.maxContext ?? longest;
  const kvMemory = groups.reduce((n, g) => n + g.bytesPerBlock, 0) * blocksFor(maxContext);
  const plan = planMemory(groups, longest, { maxContext, kvMemory: kvMemory > 0 ? kvMemory : undefined });
  for (const group of groups) group.blocks.size = plan.blocks;
}

/** Big integers as decimal texts, arrays of numbers as lists. */
function json(program: Program): string {
  const plain = (_key: string, value: unknown): unknown =>
    typeof value === 'bigint' ? String(value) : ArrayBuffer.isView(value) ? Array.from(value as Float32Array) : value;
  return `${JSON.stringify(program, plain, 2)}\n`;
}
