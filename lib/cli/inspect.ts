import type { Command } from 'commander';
import { separateNames } from '../graph/passes/merge_linears.js';
import type { TextModel } from '../tasks/text_model.js';
import type { TensorEntry } from '../weights/types.js';
import type { Context } from './command.js';
import { addLoadOptions, type LoadValues, loadModel, modelArgument } from './options.js';
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

/** Everything about an opened model as plain data. */
function describe(model: TextModel) {
  const { checkpoint, host, tokenizer, defaults } = model;
  const { built } = host;
  const linears = host.step
    .profile()
    .nodes.filter((n) => n.compute !== '')
    .flatMap((n) => separateNames(n.name).map((name) => ({ name, compute: n.compute })));
  const stored = [...checkpoint.tensors.values()].filter((t) => !checkpoint.absorbed.has(t.name));
  const template = tokenizer?.chatTemplates[0];
  const { other, ...named } = defaults;
  return {
    path: checkpoint.path,
    kind: checkpoint.kind,
    architecture: built.architecture.classes[0]!,
    modelType: built.architecture.modelType,
    layers: built.layers,
    vocabSize: built.vocabSize,
    maxPositions: built.maxPositions,
    parameters: stored.reduce((n, t) => n + elements(t.shape), 0),
    tensors: stored.length,
    dtypes: tally(
      stored,
      (t) => t.dtype,
      (t) => t.bytes,
    ),
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

type Description = ReturnType<typeof describe>;

function tensorRows(tensors: Iterable<TensorEntry>): { name: string; dtype: string; shape: readonly number[] }[] {
  return Array.from(tensors, ({ name, dtype, shape }) => ({ name, dtype, shape }));
}

async function inspect(path: string, values: InspectValues, context: Context): Promise<void> {
  const model = await loadModel(path, values, context);
  try {
    // After a step, so that the arena has grown.
    const generationProblem = await problemOf(model);
    const found = { ...describe(model), generationProblem };
    const tensors = values.tensors === true ? tensorRows(model.checkpoint.tensors.values()) : [];
    if (values.json === true) {
      await print(
        `${JSON.stringify({ ...found, ...(values.tensors === true ? { tensorList: tensors } : {}) }, undefined, 2)}\n`,
      );
      return;
    }
    await print(table(summary(found, found.generationProblem)));
    if (tensors.length === 0) return;
    const width = Math.max(...tensors.map((t) => t.name.length));
    await print(
      `\n${tensors.map((t) => `${oneLine(t.name).padEnd(width)}  ${t.dtype.padEnd(5)} ${JSON.stringify(t.shape)}\n`).join('')}`,
    );
  } finally {
    await model.dispose();
  }
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

function summary(d: Description, problem: string | null): [string, string][] {
  const dtypes = Object.entries(d.dtypes).map(([name, t]) => `${name}: ${t.count} tensors, ${bytes(t.bytes)}`);
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
    ['dtypes', dtypes.join('; ')],
    ...packedTypes(d.matrices),
    ['device', d.device],
    [
      'compute',
      Object.entries(d.compute)
        .map(([name, count]) => `${name}: ${count} linears`)
        .join('; '),
    ],
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
