import type { Command } from 'commander';
import type { BuiltSeq2Seq } from '../engine/build.js';
import type { DecoderHost } from '../engine/host.js';
import { OptionError } from '../errors.js';
import type { LoadOptions } from '../tasks/load.js';
import type { TextModel } from '../tasks/text_model.js';
import type { Checkpoint, TensorEntry } from '../weights/types.js';
import type { Context } from './command.js';
import {
  counts,
  describeEncoder,
  describeFiles,
  describeReader,
  linearsOf,
  type OpenedEncoder,
  openEncoder,
} from './inspect_parts.js';
import { addLoadOptions, type LoadValues, modelArgument, openModel } from './options.js';
import { bytes, oneLine, print, table } from './output.js';

interface InspectValues extends LoadValues {
  readonly tensors?: boolean;
  readonly json?: boolean;
}

export function define(command: Command, context: Context): void {
  addLoadOptions(command.argument(...modelArgument))
    .option('--tensors', 'list every tensor of the files')
    .option('--json', 'one JSON document')
    .addHelpText('after', '\nLoads the model, so that what it needs and how it computes is what really happens.')
    .action((model, values) => inspect(model, values, context));
}

/** What writes text: a decoder, an encoder-decoder, a Whisper without its tokenizer. */
type Writer = Pick<TextModel, 'checkpoint' | 'host' | 'tokenizer' | 'defaults' | 'eosIds'> & {
  readonly whole?: BuiltSeq2Seq;
};

function describeMemory({ host }: Writer) {
  const { built, plan } = host;
  return {
    weightBytes: host.model.memory().weightBytes,
    kvType: built.builder.kvType,
    kvBytesPerToken: plan.bytesPerToken,
    kvBytes: plan.kvBytes,
    kvBlocks: plan.blocks,
    maxContext: plan.maxContext,
    arenaBytes: host.step.profile().arenaBytes,
  };
}

function describeTokenizer({ tokenizer }: Writer) {
  if (tokenizer === undefined) return null;
  const { vocabSize, bosId = null, eosIds, padId = null, specialTokens } = tokenizer;
  return { vocabSize, bosId, eosIds, padId, specialTokens };
}

/** Everything about an opened model as plain data. */
async function describe(model: Writer) {
  const { checkpoint, host, tokenizer, defaults, whole } = model;
  const { built } = host;
  const linears = linearsOf(host.step);
  const template = tokenizer?.chatTemplates[0];
  const { other, ...named } = defaults;
  return {
    ...describeFiles(checkpoint, built),
    layers: built.layers,
    vocabSize: built.vocabSize,
    maxPositions: built.maxPositions,
    encoder: whole === undefined ? null : await describeReader(host, whole),
    device: host.model.device,
    matrices: built.builder.weights.matrices,
    compute: counts(linears, (n) => n.compute),
    linears,
    memory: describeMemory(model),
    cacheGroups: built.groups.map((g) => ({
      name: g.name,
      layers: g.layers,
      kvHeads: g.kvHeads,
      headDim: g.headDim,
      window: g.window ?? null,
    })),
    tokenizer: describeTokenizer(model),
    chatTemplate:
      template === undefined ? null : { origin: template.origin, sha256: template.sha256, name: template.name },
    eosIds: model.eosIds,
    generation: { ...named, ...other },
  };
}

/** Matrices by the type they are packed in; those whose width forced another type than wanted, by name. */
function packedTypes(matrices: Description['matrices']): [string, string][] {
  const types = Object.entries(counts(matrices, (m) => m.type)).map(([type, n]) => `${type}: ${n} matrices`);
  const forced = matrices.filter((m) => m.type !== m.wanted);
  const list = forced.map((m): [string, string] => [
    '',
    `${oneLine(m.name)} [${m.rows}, ${m.cols}]: ${m.type} in place of ${m.wanted}, whose blocks its rows do not fill`,
  ]);
  return [['packed as', types.join('; ')], ...list];
}

type Description = Awaited<ReturnType<typeof describe>>;

function tensorRows(tensors: Iterable<TensorEntry>): { name: string; dtype: string; shape: readonly number[] }[] {
  return Array.from(tensors, ({ name, dtype, shape }) => ({ name, dtype, shape }));
}

/** A Whisper on a device: nothing of it is said by its tokenizer, which may be missing. */
interface OpenedSpeech {
  readonly host: DecoderHost;
  readonly writer: Writer;
  dispose(): Promise<void>;
}

async function open(path: string, options: LoadOptions): Promise<TextModel | OpenedSpeech | OpenedEncoder> {
  const { resolveModel } = await import('../hub/index.js');
  const { openCheckpoint } = await import('../weights/checkpoint.js');
  const { buildModel } = await import('../engine/build.js');
  const { checkOptions, load } = await import('../tasks/load.js');
  checkOptions(options);
  const { signal } = options;
  const folder = await resolveModel(path, { ...options.hub, ...(signal === undefined ? {} : { signal }) });
  const checkpoint = await openCheckpoint(folder);
  const { readSentenceFolder } = await import('../weights/sentence_transformers.js');
  // A sentence-transformers folder has no head but its own, whatever class its config names.
  const sentence = checkpoint.folder === undefined ? undefined : await readSentenceFolder(checkpoint.folder);
  const encoder = sentence && { head: 'base' as const, sentence: sentence.plan };
  const built = buildModel(checkpoint, undefined, options.quantize, options.kvType, encoder);
  if (built.kind === 'encoder' || built.kind === 'audio') {
    refuseCache(options, built.architecture.classes[0]!);
    return openEncoder(checkpoint, built, options);
  }
  if (built.kind === 'decoder' || built.builder.encoder.spectrogram === undefined) return load(folder, options);
  const { DecoderHost } = await import('../engine/host.js');
  const host = await DecoderHost.open(built.decoder, options, built);
  const { readGenerationConfig } = await import('../weights/generation_config.js');
  try {
    const defaults = readGenerationConfig(checkpoint, built.config, built.vocabSize);
    const writer = { checkpoint, host, tokenizer: undefined, defaults, eosIds: defaults.eosTokenIds, whole: built };
    return { host, writer, dispose: () => host.dispose() };
  } catch (error) {
    await host.dispose();
    throw error;
  }
}

function refuseCache(options: LoadOptions, found: string): void {
  for (const name of ['kvType', 'maxContext', 'kvMemory'] as const)
    if (options[name] !== undefined)
      throw new OptionError(`${name} has no meaning for ${found}`, { name, expected: 'nothing', found: options[name] });
}

async function inspect(path: string, values: InspectValues, context: Context): Promise<void> {
  const model = await openModel(values, context, (options) => open(path, options));
  try {
    const [found, rows, checkpoint] = await describeAny(model);
    const tensors = values.tensors === true ? tensorRows(checkpoint.tensors.values()) : [];
    if (values.json === true) {
      await print(
        `${JSON.stringify({ ...found, ...(values.tensors === true ? { tensorList: tensors } : {}) }, undefined, 2)}\n`,
      );
      return;
    }
    await print(table(rows));
    if (tensors.length === 0) return;
    const width = Math.max(...tensors.map((t) => t.name.length));
    await print(
      `\n${tensors.map((t) => `${oneLine(t.name).padEnd(width)}  ${t.dtype.padEnd(5)} ${JSON.stringify(t.shape)}\n`).join('')}`,
    );
  } finally {
    await model.dispose();
  }
}

/** As data, as lines, and the files. */
async function describeAny(
  model: TextModel | OpenedSpeech | OpenedEncoder,
): Promise<[object, [string, string][], Checkpoint]> {
  if ('executable' in model) {
    const found = describeEncoder(model);
    return [found, encoderRows(found), model.checkpoint];
  }
  const writer = 'writer' in model ? model.writer : model;
  // After a step, so that the arena has grown.
  const generationProblem = 'writer' in model ? null : await problemOf(model);
  const found = { ...(await describe(writer)), generationProblem };
  const speech = ['tokenizer', 'chat template'];
  const rows = summary(found, generationProblem);
  return [found, 'writer' in model ? rows.filter(([name]) => !speech.includes(name)) : rows, writer.checkpoint];
}

/** Why the checkpoint's defaults cannot be honoured, if so. */
async function problemOf(model: TextModel): Promise<string | null> {
  try {
    await model.generate([0], { maxTokens: 1 }).result();
    return null;
  } catch (error) {
    return (error as Error).message;
  }
}

const dtypeText = (dtypes: Description['dtypes']): string =>
  Object.entries(dtypes)
    .map(([name, t]) => `${name}: ${t.count} tensors, ${bytes(t.bytes)}`)
    .join('; ');

const computeText = (compute: Description['compute']): string =>
  Object.entries(compute)
    .map(([name, count]) => `${name}: ${count} linears`)
    .join('; ');

function encoderRows(d: ReturnType<typeof describeEncoder>): [string, string][] {
  const most = d.maxPositions === null ? '' : `, positions ${d.maxPositions}`;
  const outputs = Object.entries(d.outputs).map(([name, dims]) => `${name} [${dims.join(', ')}]`);
  return [
    ['model', `${oneLine(d.path)} (${d.kind})`],
    ['architecture', `${oneLine(d.architecture)}, ${d.layers} layers, vocabulary ${d.vocabSize}${most}`],
    ['reads', d.reads],
    ['outputs', outputs.join('; ')],
    ['parameters', `${d.parameters.toLocaleString('en-US')} in ${d.tensors} tensors`],
    ['dtypes', dtypeText(d.dtypes)],
    ...packedTypes(d.matrices),
    ['device', d.device],
    ['compute', computeText(d.compute)],
    ['weights', `${bytes(d.memory.weightBytes)} packed`],
    ['arena', `${bytes(d.memory.arenaBytes)} for the shortest input`],
  ];
}

function readerRows(d: NonNullable<Description['encoder']>): [string, string][] {
  const { cache: c } = d;
  const what = d.reads === 'ids' ? `vocabulary ${d.vocabSize}` : `${d.bands} bands`;
  return [
    ['encoder', `${d.layers} layers, reads ${d.reads}, ${what}, at most ${d.maxSource} rows`],
    ['encoder compute', computeText(d.compute)],
    ['cross cache', `${c.layers} layers of ${c.kvHeads} x ${c.headDim}, ${bytes(c.bytes)} in ${c.blocks} blocks`],
  ];
}

function summary(d: Description, problem: string | null): [string, string][] {
  const defaults = Object.entries(d.generation).filter(
    ([, v]) => v !== undefined && !(Array.isArray(v) && v.length === 0),
  );
  const groups = d.cacheGroups
    .filter((g) => g.layers > 0)
    .map((g) => `${g.layers} layers of ${g.kvHeads} x ${g.headDim}${g.window === null ? '' : `, window ${g.window}`}`);
  const { memory: m, tokenizer: t, chatTemplate: c } = d;
  const special = (name: string, id: number | null): string => (id === null ? '' : `, ${name} ${id}`);
  return [
    ['model', `${oneLine(d.path)} (${d.kind})`],
    ['architecture', `${d.architecture}, ${d.layers} layers, vocabulary ${d.vocabSize}, positions ${d.maxPositions}`],
    ['parameters', `${d.parameters.toLocaleString('en-US')} in ${d.tensors} tensors`],
    ['dtypes', dtypeText(d.dtypes)],
    ...packedTypes(d.matrices),
    ['device', d.device],
    ['compute', computeText(d.compute)],
    ...(d.encoder === null ? [] : readerRows(d.encoder)),
    ['weights', `${bytes(m.weightBytes)} packed`],
    [
      'KV cache',
      `${m.kvType}, ${bytes(m.kvBytesPerToken)} per token, ${bytes(m.kvBytes)} in ${m.kvBlocks} blocks, committed when used`,
    ],
    ['cache groups', groups.join('; ')],
    ['context', `${m.maxContext} tokens`],
    ['arena', m.arenaBytes === 0 ? 'grows with the first step' : bytes(m.arenaBytes)],
    [
      'tokenizer',
      t === null
        ? 'none: prompts are ids'
        : `${t.vocabSize} tokens${special('bos', t.bosId)}${special('pad', t.padId)}`,
    ],
    ['ends', d.eosIds.length === 0 ? 'no id ends a sequence' : `ids ${d.eosIds.join(', ')}`],
    ['chat template', c === null ? 'none' : `${oneLine(c.origin)}, sha256 ${c.sha256}`],
    ['generation', defaults.map(([name, v]) => `${oneLine(name)} ${JSON.stringify(v)}`).join(', ') || 'no defaults'],
    ...(problem === null ? [] : [['problem', oneLine(problem)] as [string, string]]),
  ];
}
