import { createHash } from 'node:crypto';
import type { BuiltDecoder } from '../engine/build.js';
import type { ResolvedProbe, ResolvedTrace } from '../engine/probe_step.js';
import { attentionNode } from '../engine/probes.js';
import { OptionError } from '../errors.js';
import type { GenerateOptions, GenerationTrace, HeadMask, Steering } from '../generation/options.js';
import type { Graph } from '../graph/graph.js';

/** How many outputs NAME.0, NAME.1 … a graph has. */
export function countOf(graph: Graph, name: string): number {
  let count = 0;
  while (graph.outputs.has(`${name}.${count}`)) count++;
  return count;
}

function refuse(name: string, expected: string, found: unknown): never {
  throw new OptionError(`bad ${name}`, { name, expected, found });
}

/** Numbers of layers out of true or a list of them, ascending; `what`: name of the outputs. Throws OptionError. */
export function layersOf(
  graph: Graph,
  what: string,
  name: string,
  given: boolean | readonly number[] | undefined,
): number[] {
  if (given === undefined || given === false) return [];
  const count = countOf(graph, what);
  if (count === 0) refuse(name, 'a model that has them', given);
  if (given === true) return Array.from({ length: count }, (_, i) => i);
  if (!Array.isArray(given)) refuse(name, 'true or a list of numbers', given);
  for (const i of given)
    if (!Number.isInteger(i) || i < 0 || i >= count) refuse(name, `numbers from 0 to ${count - 1}`, i);
  return [...new Set(given as readonly number[])].sort((a, b) => a - b);
}

/** Heads out of a list, ascending, that all these maps have; undefined: all. Throws OptionError. */
export function headsOf(
  maps: readonly (readonly [Graph, string])[],
  name: string,
  given: readonly number[] | undefined,
): number[] | undefined {
  if (given === undefined) return undefined;
  if (!Array.isArray(given) || given.length === 0) refuse(name, 'a list of at least one number', given);
  if (maps.length === 0) refuse(name, 'attention maps that they are heads of', given);
  const least = Math.min(...maps.map(([graph, map]) => Number(attentionNode(graph, map).attrs.heads)));
  for (const h of given)
    if (!Number.isInteger(h) || h < 0 || h >= least) refuse(name, `numbers from 0 to ${least - 1}`, h);
  return [...new Set(given as readonly number[])].sort((a, b) => a - b);
}

function resolveTrace(graph: Graph, trace: GenerationTrace): ResolvedTrace {
  const attentions = layersOf(graph, 'attentions', 'trace.attentions', trace.attentions);
  const crossAttentions = layersOf(graph, 'cross_attentions', 'trace.crossAttentions', trace.crossAttentions);
  const hiddenStates = layersOf(graph, 'hidden_states', 'trace.hiddenStates', trace.hiddenStates);
  const maps = [
    ...attentions.map((i) => [graph, `attentions.${i}`] as const),
    ...crossAttentions.map((i) => [graph, `cross_attentions.${i}`] as const),
  ];
  if (maps.length + hiddenStates.length === 0)
    throw new OptionError('nothing to trace', {
      name: 'trace',
      expected: 'attentions, crossAttentions or hiddenStates',
      found: trace,
    });
  const heads = headsOf(maps, 'trace.heads', trace.heads);
  return { attentions, crossAttentions, hiddenStates, heads, prompt: trace.prompt ?? false };
}

/** Adds up what is added at each layer. */
function steered(graph: Graph, steer: readonly Steering[], into: Map<string, Float32Array>): void {
  const count = countOf(graph, 'hidden_states');
  for (const [i, { layer, vector, scale = 1 }] of steer.entries()) {
    if (layer >= count) refuse(`steer[${i}].layer`, `a number from 0 to ${count - 1}`, layer);
    const name = `hidden_states.${layer}`;
    const size = graph.outputs.get(name)!.dims[1]!.size!;
    if (vector.length !== size) refuse(`steer[${i}].vector`, `${size} numbers`, vector.length);
    const sum = into.get(name) ?? new Float32Array(size).fill(-0);
    for (let c = 0; c < size; c++) sum[c] = sum[c]! + Math.fround(vector[c]!) * scale;
    const bad = sum.findIndex((x) => !Number.isFinite(x));
    if (bad >= 0) refuse(`steer[${i}]`, 'a sum that f32 holds', sum[bad]);
    into.set(name, sum);
  }
}

function masked(graph: Graph, masks: readonly HeadMask[], into: Map<string, Float32Array>): void {
  for (const [i, { layer, heads, attention = 'self' }] of masks.entries()) {
    const kind = attention === 'self' ? 'attentions' : 'cross_attentions';
    const count = countOf(graph, kind);
    if (count === 0) refuse(`maskHeads[${i}].attention`, "'self', for a model that reads no text", attention);
    if (layer >= count) refuse(`maskHeads[${i}].layer`, `a number from 0 to ${count - 1}`, layer);
    const name = `${kind}.${layer}`;
    const { attrs } = attentionNode(graph, name);
    const [all, size] = [Number(attrs.heads), Number(attrs.head_dim)];
    const mask = into.get(name) ?? new Float32Array(all * size).fill(1);
    for (const h of heads) {
      if (h >= all) refuse(`maskHeads[${i}].heads`, `numbers from 0 to ${all - 1}`, h);
      mask.fill(0, h * size, (h + 1) * size);
    }
    into.set(name, mask);
  }
}

function signatureOf(changes: ReadonlyMap<string, Float32Array>): string {
  if (changes.size === 0) return '';
  const hash = createHash('sha256');
  for (const name of [...changes.keys()].sort()) {
    const { buffer, byteOffset, byteLength } = changes.get(name)!;
    hash.update(name).update(new Uint8Array(buffer, byteOffset, byteLength));
  }
  return hash.digest('hex');
}

/** What a request adds or multiplies on the way, by the names of ProbeSpec. Throws OptionError. */
export function changesOf(
  graph: Graph,
  { steer, maskHeads }: Pick<GenerateOptions, 'steer' | 'maskHeads'>,
): Map<string, Float32Array> {
  const changes = new Map<string, Float32Array>();
  steered(graph, steer ?? [], changes);
  masked(graph, maskHeads ?? [], changes);
  return changes;
}

/**
 * What a request sees and changes of the inside, its values checked by the table of options before; undefined: nothing. Throws
 * OptionError where layers, heads or sizes are not the model's.
 */
export function resolveProbe(
  options: Pick<GenerateOptions, 'trace' | 'steer' | 'maskHeads'>,
  built: BuiltDecoder,
): ResolvedProbe | undefined {
  const { graph } = built.builder;
  const trace = options.trace === undefined ? undefined : resolveTrace(graph, options.trace);
  const changes = changesOf(graph, options);
  if (trace === undefined && changes.size === 0) return undefined;
  return { trace, changes, signature: signatureOf(changes) };
}
