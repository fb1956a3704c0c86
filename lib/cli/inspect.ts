import type { Command } from 'commander';
import { buildModel } from '../engine/build.js';
import { separateNames } from '../graph/passes/merge_linears.js';
import { resolveModel } from '../hub/index.js';
import type { Executable } from '../runtime/executable.js';
import { hasTokenizer, type LoadOptions, load } from '../tasks/load.js';
import type { TextModel } from '../tasks/text_model.js';
import { openCheckpoint } from '../weights/checkpoint.js';
import { readSentenceFolder } from '../weights/sentence_transformers.js';
import type { Checkpoint, TensorEntry } from '../weights/types.js';
import type { Context } from './command.js';
import { isOther, type OpenedOther, openOther, takes, taskOf } from './inspect_encoder.js';
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

const elements = (shape: readonly number[]): number => shape.reduce((n, s) => n * s, 1);

/** Counts and bytes of each kind. */
function tally<T>(
  items: Iterable<T>,
  kind: (item: T) => string,
  size: (item: T) => number,
): Record<string, { count: number; bytes: number }> {
  const made: Record<string, { count: number; bytes: number }> = Object.create(null);
  for (const item of items) {
    const { count, bytes: before } = made[kind(item)] ?? { count: 0, bytes: 0 };
    made[kind(item)] = { count: count + 1, bytes: before + size(item) };
  }
  return made;
}

/** Counts by kind. */
function counts<T>(items: Iterable<T>, kind: (item: T) => string): Record<string, number> {
  const found = tally(items, kind, () => 0);
  return Object.fromEntries(Object.entries(found).map(([name, { count }]) => [name, count]));
}

function describeMemory({ host }: TextModel) {
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

function describeTokenizer({ tokenizer }: TextModel) {
  if (tokenizer === undefined) return null;
  const { vocabSize, bosId = null, eosIds, padId = null, specialTokens } = tokenizer;
  return { vocabSize, bosId, eosIds, padId, specialTokens };
}

/** What the files hold. */
function describeFiles(checkpoint: Checkpoint) {
  const stored = [...checkpoint.tensors.values()].filter((t) => !checkpoint.absorbed.has(t.name));
  return {
    path: checkpoint.path,
    kind: checkpoint.kind,
    parameters: stored.reduce((n, t) => n + elements(t.shape), 0),
    tensors: stored.length,
    dtypes: tally(
      stored,
      (t) => t.dtype,
      (t) => t.bytes,
    ),
  };
}

/** How the linears of a program multiply, one by one and counted. */
function describeLinears(executable: Executable) {
  const linears = executable
    .profile()
    .nodes.filter((n) => n.compute !== '')
    .flatMap((n) => separateNames(n.name).map((name) => ({ name, compute: n.compute })));
  return { compute: counts(linears, (n) => n.compute), linears };
}

/** Everything about an encoder or a model of speech as plain data. */
function describeOther(opened: OpenedOther) {
  const { checkpoint, built, model, executable } = opened;
  const weights = built.kind === 'seq2seq' ? built.decoder.builder.weights : built.builder.weights;
  return {
    ...describeFiles(checkpoint),
    architecture: built.config.architectures[0] ?? built.architecture.classes[0]!,
    modelType: built.architecture.modelType,
    layers: built.kind === 'seq2seq' ? built.decoder.layers : built.layers,
    vocabSize: built.vocabSize,
    task: taskOf(built),
    takes: takes(opened),
    labels: built.kind === 'encoder' && taskOf(built) === 'classify' ? built.builder.labels : [],
    device: model.device,
    matrices: weights.matrices,
    ...describeLinears(executable),
    memory: { weightBytes: model.memory().weightBytes },
    tokenizer: hasTokenizer(checkpoint.folder),
  };
}

/** Everything about an opened model as plain data. */
function describe(model: TextModel) {
  const { checkpoint, host, tokenizer, defaults } = model;
  const { built } = host;
  const template = tokenizer?.chatTemplates[0];
  const { other, ...named } = defaults;
  return {
    ...describeFiles(checkpoint),
    architecture: built.architecture.classes[0]!,
    modelType: built.architecture.modelType,
    layers: built.layers,
    vocabSize: built.vocabSize,
    maxPositions: built.maxPositions,
    device: host.model.device,
    matrices: built.builder.weights.matrices,
    ...describeLinears(host.step),
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

type Description = ReturnType<typeof describe>;

function tensorRows(tensors: Iterable<TensorEntry>): { name: string; dtype: string; shape: readonly number[] }[] {
  return Array.from(tensors, ({ name, dtype, shape }) => ({ name, dtype, shape }));
}

/** A checkpoint for what its class is made for. */
async function open(path: string, options: LoadOptions): Promise<TextModel | OpenedOther> {
  const checkpoint = await openCheckpoint(await resolveModel(path, { ...options.hub, signal: options.signal! }));
  const sentence = checkpoint.folder === undefined ? undefined : await readSentenceFolder(checkpoint.folder);
  const encoder = sentence && { head: 'base' as const, sentence: sentence.plan };
  const built = buildModel(checkpoint, undefined, options.quantize, options.kvType, encoder);
  if (!isOther(built)) return load(checkpoint.path, options);
  return openOther(checkpoint, built, sentence?.maxLength, options);
}

async function inspect(path: string, values: InspectValues, context: Context): Promise<void> {
  const model = await openModel(values, context, (options) => open(path, options));
  try {
    if ('executable' in model) {
      const found = describeOther(model);
      await show(model.checkpoint, values, found, () => otherSummary(found));
      return;
    }
    // After a step, so that the arena has grown.
    const generationProblem = await problemOf(model);
    const found = { ...describe(model), generationProblem };
    await show(model.checkpoint, values, found, () => summary(found, generationProblem));
  } finally {
    await model.dispose();
  }
}

async function show(
  checkpoint: Checkpoint,
  values: InspectValues,
  found: object,
  rows: () => [string, string][],
): Promise<void> {
  const tensors = values.tensors === true ? tensorRows(checkpoint.tensors.values()) : [];
  if (values.json === true) {
    await print(
      `${JSON.stringify({ ...found, ...(values.tensors === true ? { tensorList: tensors } : {}) }, undefined, 2)}\n`,
    );
    return;
  }
  await print(table(rows()));
  if (tensors.length === 0) return;
  const width = Math.max(...tensors.map((t) => t.name.length));
  await print(
    `\n${tensors.map((t) => `${oneLine(t.name).padEnd(width)}  ${t.dtype.padEnd(5)} ${JSON.stringify(t.shape)}\n`).join('')}`,
  );
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

type Common = Pick<
  Description,
  'path' | 'kind' | 'parameters' | 'tensors' | 'dtypes' | 'matrices' | 'device' | 'compute'
>;

/** The rows that every kind of model has, `architecture` after the first. */
function commonRows(d: Common, architecture: string, weightBytes: number): [string, string][] {
  const dtypes = Object.entries(d.dtypes).map(([name, t]) => `${name}: ${t.count} tensors, ${bytes(t.bytes)}`);
  const compute = Object.entries(d.compute).map(([name, count]) => `${name}: ${count} linears`);
  return [
    ['model', `${oneLine(d.path)} (${d.kind})`],
    ['architecture', architecture],
    ['parameters', `${d.parameters.toLocaleString('en-US')} in ${d.tensors} tensors`],
    ['dtypes', dtypes.join('; ')],
    ...packedTypes(d.matrices),
    ['device', d.device],
    ['compute', compute.join('; ')],
    ['weights', `${bytes(weightBytes)} packed`],
  ];
}

function otherSummary(d: ReturnType<typeof describeOther>): [string, string][] {
  return [
    ...commonRows(d, `${oneLine(d.architecture)}, ${d.layers} layers, vocabulary ${d.vocabSize}`, d.memory.weightBytes),
    ['task', d.task],
    ['takes', d.takes],
    ...(d.labels.length === 0 ? [] : [['labels', oneLine(d.labels.join(', '))] as [string, string]]),
    ['tokenizer', d.tokenizer ? 'in the folder' : 'none: inputs are ids'],
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
    ...commonRows(
      d,
      `${d.architecture}, ${d.layers} layers, vocabulary ${d.vocabSize}, positions ${d.maxPositions}`,
      m.weightBytes,
    ),
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
