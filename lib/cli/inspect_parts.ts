import type { BuiltAudio, BuiltEncoder, BuiltModel, BuiltSeq2Seq } from '../engine/build.js';
import type { DecoderHost } from '../engine/host.js';
import type { Graph } from '../graph/graph.js';
import { separateNames } from '../graph/passes/merge_linears.js';
import type { DeviceModel, Executable } from '../runtime/executable.js';
import type { LoadOptions } from '../tasks/load.js';
import type { Checkpoint } from '../weights/types.js';

/** Counts and bytes of each kind. */
export function tally<T>(
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
export function counts<T>(items: Iterable<T>, kind: (item: T) => string): Record<string, number> {
  const found = tally(items, kind, () => 0);
  return Object.fromEntries(Object.entries(found).map(([name, { count }]) => [name, count]));
}

/** Each linear of a program and how it multiplies. */
export function linearsOf(executable: Executable): { name: string; compute: string }[] {
  return executable
    .profile()
    .nodes.filter((n) => n.compute !== '')
    .flatMap((n) => separateNames(n.name).map((name) => ({ name, compute: n.compute })));
}

const elements = (shape: readonly number[]): number => shape.reduce((n, s) => n * s, 1);

/** The files, and what their tensors come to. */
export function describeFiles(checkpoint: Checkpoint, built: BuiltModel) {
  const stored = [...checkpoint.tensors.values()].filter((t) => !checkpoint.absorbed.has(t.name));
  return {
    path: checkpoint.path,
    kind: checkpoint.kind,
    architecture: built.config.architectures[0] ?? built.architecture.classes[0]!,
    modelType: built.architecture.modelType,
    parameters: stored.reduce((n, t) => n + elements(t.shape), 0),
    tensors: stored.length,
    dtypes: tally(
      stored,
      (t) => t.dtype,
      (t) => t.bytes,
    ),
  };
}

/** Outputs of a graph without those of single layers, and their dims, named where steps set them. */
function outputsOf(graph: Graph): Record<string, (string | number)[]> {
  const own = [...graph.outputs].filter(([name]) => !/^(hidden_states|attentions)\./.test(name));
  return Object.fromEntries(own.map(([name, value]) => [name, value.dims.map((d) => d.size ?? d.name)]));
}

/** The encoder's side of an encoder-decoder, and the cache of what it has read. */
export async function describeReader(host: DecoderHost, built: BuiltSeq2Seq) {
  const { encodeProgram } = await import('../engine/encode_texts.js');
  const { countOf } = await import('../tasks/probe_options.js');
  const executable = await host.model.compile(encodeProgram(built, host.compute));
  const linears = linearsOf(executable);
  await executable.dispose();
  const { encoder, cross } = built.builder;
  return {
    reads: encoder.spectrogram === undefined ? ('ids' as const) : ('spectrogram' as const),
    layers: countOf(encoder.graph, 'attentions'),
    vocabSize: encoder.spectrogram === undefined ? built.sourceVocab : null,
    bands: encoder.spectrogram?.bands ?? null,
    maxSource: built.maxSource,
    compute: counts(linears, (n) => n.compute),
    linears,
    cache: {
      layers: cross.layers,
      kvHeads: cross.kvHeads,
      headDim: cross.headDim,
      blocks: cross.blocks.size!,
      bytes: cross.bytesPerBlock * cross.blocks.size!,
    },
  };
}

/** An encoder of ids or of waveforms on a device, after one step of the shortest input. */
export interface OpenedEncoder {
  readonly built: BuiltEncoder | BuiltAudio;
  readonly checkpoint: Checkpoint;
  readonly model: DeviceModel;
  readonly executable: Executable;
  dispose(): Promise<void>;
}

export async function openEncoder(
  checkpoint: Checkpoint,
  built: BuiltEncoder | BuiltAudio,
  options: LoadOptions,
): Promise<OpenedEncoder> {
  const { openDevice } = await import('../engine/open_device.js');
  const { encoderProgram, packEncoderStep } = await import('../engine/encoder_host.js');
  const { audioProgram, packAudioStep } = await import('../engine/audio_host.js');
  const { receptiveField } = await import('../layers/audio.js');
  const outputs = Object.keys(outputsOf(built.builder.graph));
  const program =
    built.kind === 'encoder'
      ? encoderProgram(built, outputs, options.compute)
      : audioProgram(built, outputs, options.compute);
  const { model, executable } = await openDevice(program, options);
  try {
    const { dims, inputs } =
      built.kind === 'encoder'
        ? packEncoderStep(built.builder, [{ ids: [0] }])
        : packAudioStep(built.builder, [new Float32Array(receptiveField(built.builder.convolutions).samples)]);
    await executable.run(dims, inputs);
  } catch (error) {
    await model.dispose();
    throw error;
  }
  return { built, checkpoint, model, executable, dispose: () => model.dispose() };
}

/** Everything about such an encoder as plain data. */
export function describeEncoder({ built, checkpoint, model, executable }: OpenedEncoder) {
  const linears = linearsOf(executable);
  return {
    ...describeFiles(checkpoint, built),
    reads: built.kind === 'encoder' ? ('ids' as const) : ('waveform' as const),
    layers: built.layers,
    vocabSize: built.vocabSize,
    maxPositions: built.kind === 'encoder' ? built.maxPositions : null,
    outputs: outputsOf(built.builder.graph),
    device: model.device,
    matrices: built.builder.weights.matrices,
    compute: counts(linears, (n) => n.compute),
    linears,
    memory: { weightBytes: model.memory().weightBytes, arenaBytes: executable.profile().arenaBytes },
  };
}
