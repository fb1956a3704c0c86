import { type BuiltDecoder, buildModel } from '../engine/build.js';
import { blocksFor, KvBlocks } from '../engine/kv_blocks.js';
import { packStep } from '../engine/step_inputs.js';
import { InputError, OptionError } from '../errors.js';
import { lower } from '../graph/lower.js';
import { pageTokens } from '../layers/decoder.js';
import type { Architecture } from '../models/architecture.js';
import type { KvType } from '../ops/kv_write.js';
import { DeviceModel, type Executable } from '../runtime/executable.js';
import type { QuantizeType } from '../weights/quantize_rules.js';
import type { Checkpoint } from '../weights/types.js';
import { checkOptions, type LoadOptions } from './load.js';
import { type AudioTraceInputs, traceAudio } from './trace_audio.js';
import { traceEncoderRows } from './trace_encoder.js';
import {
  readTraceRows,
  scatterRows,
  type TraceInputs,
  type TraceRow,
  type TraceRows,
  type TraceTensor,
} from './trace_inputs.js';
import { traceSeq2Seq } from './trace_seq2seq.js';
import type { SpectrogramTraceInputs } from './trace_spectrogram.js';

export type { AudioTraceInputs } from './trace_audio.js';
export type { TraceInputs, TraceTensor } from './trace_inputs.js';
export type { SpectrogramTraceInputs } from './trace_spectrogram.js';

export interface TraceOptions {
  readonly device?: string | undefined;
  readonly threads?: number | undefined;
  /** How linears multiply; default f32, with weights upcast. */
  readonly compute?: string | undefined;
  readonly architecture?: Architecture | undefined;
  /** As for `load()`: the type that matrices are packed in. */
  readonly quantize?: QuantizeType | undefined;
  /** As for `load()`: what the cache holds keys and values in. */
  readonly kvType?: KvType | undefined;
}

function checkTraceOptions(options: TraceOptions): void {
  if (typeof options !== 'object' || options === null)
    throw new OptionError('trace: options', { name: 'options', expected: 'an object', found: options });
  const known = ['device', 'threads', 'compute', 'architecture', 'quantize'];
  const unknown = Object.keys(options).find((name) => !known.includes(name));
  if (unknown !== undefined)
    throw new OptionError(`trace: unknown option ${unknown}`, { name: unknown, expected: known.join(', ') });
  checkOptions(options as LoadOptions);
}

/** For windows: a row sees a key less than `window` positions before it, counted in the padded row. */
function windowMask(row: TraceRow, window: number): Uint8Array {
  const n = row.kept.length;
  const mask = new Uint8Array(n * n);
  for (let q = 0; q < n; q++)
    for (let k = 0; k <= q; k++) mask[q * n + k] = row.kept[q]! - row.kept[k]! < window ? 1 : 0;
  return mask;
}

/**
 * Everything that `verdant trace` gives of a model under Hugging Face's names, padded rows zero: logits, hidden_states.N and
 * attentions.N of a decoder; what its class returns of an encoder, of text or of waveforms.
 */
export async function traceModel(
  checkpoint: Checkpoint,
  given: TraceInputs | AudioTraceInputs | SpectrogramTraceInputs,
  options: TraceOptions = {},
): Promise<Map<string, TraceTensor>> {
  checkTraceOptions(options);
  const built = buildModel(checkpoint, options.architecture, options.quantize, options.kvType);
  const model = await DeviceModel.open(options.device ?? 'cpu', { threads: options.threads });
  try {
    const compute = options.compute ?? 'f32';
    if (built.kind === 'audio') return await traceAudio(model, built, given as AudioTraceInputs, compute);
    if (built.kind === 'seq2seq')
      return await traceSeq2Seq(model, built, given as TraceInputs | SpectrogramTraceInputs, compute);
    const inputs = given as TraceInputs;
    for (const name of ['decoderInputIds', 'decoderAttentionMask'] as const)
      if (inputs?.[name] !== undefined) throw new InputError(`${name} is for encoder-decoders`, { name });
    if (inputs?.tokenTypeIds !== undefined && built.kind === 'decoder')
      throw new InputError('token_type_ids are for encoders', { name: 'token_type_ids' });
    const segments = built.kind === 'encoder' ? built.builder.segments : undefined;
    const positions = built.builder.learnedPositions;
    const counted = built.kind === 'decoder' && built.builder.positionsFromMask;
    const rows = readTraceRows(inputs, { vocabSize: built.vocabSize, positions, counted, segments });
    if (built.kind === 'encoder') return await traceEncoderRows(model, built, rows, compute);
    return await traceDecoderRows(model, built, rows, compute);
  } finally {
    await model.dispose();
  }
}

async function traceDecoderRows(
  model: DeviceModel,
  built: BuiltDecoder,
  { rows, batch, length }: TraceRows,
  compute: string,
): Promise<Map<string, TraceTensor>> {
  const blocks = blocksFor(length);
  for (const group of built.groups) group.blocks.size = blocks;
  const graph = built.builder.graph;
  const names = ['logits', ...[...graph.outputs.keys()].filter((n) => /^(hidden_states|attentions)\.\d+$/.test(n))];
  const masks = built.groups.filter((g) => g.window !== undefined).map((g) => `mask_${g.name}`);
  const executable = await model.compile(lower(graph, { name: 'trace', outputs: names, compute, optional: masks }));
  const out = new Map<string, TraceTensor>();
  for (const [b, row] of rows.entries()) await traceRow(executable, built, row, b, batch, length, out);
  return out;
}

async function traceRow(
  executable: Executable,
  built: BuiltDecoder,
  row: TraceRow,
  index: number,
  batch: number,
  length: number,
  out: Map<string, TraceTensor>,
): Promise<void> {
  const n = row.kept.length;
  const table = new KvBlocks(Math.ceil(length / pageTokens)).open(n)!;
  table.write(0, n);
  const all = Array.from({ length: n }, (_, i) => i);
  const positions = row.positions ?? (built.builder.positionsFromMask ? all : row.kept);
  const sequence = {
    ids: row.ids,
    from: 0,
    positions,
    // As Hugging Face computes rope angles when the row runs alone.
    ropeLength: Math.max(...positions) + 1,
    blocks: table.blocks,
    logits: all,
  };
  const step = packStep(
    [sequence],
    [],
    built.groups.map((g) => g.name),
  );
  for (const g of built.groups) if (g.window !== undefined) step.inputs[`mask_${g.name}`] = windowMask(row, g.window);
  const result = await executable.run({ ...step.dims, keys: n }, step.inputs);
  for (const [name, data] of Object.entries(result.outputs)) {
    const keys = name.startsWith('attentions.');
    const heads = keys ? data.length / (n * n) : 1;
    const width = keys ? length : data.length / n;
    const shape = keys ? [batch, heads, length, length] : [batch, length, width];
    if (!out.has(name)) out.set(name, { shape, data: new Float32Array(shape.reduce((a, s) => a * s, 1)) });
    scatterRows(
      out.get(name)!.data,
      index,
      row.kept,
      data as Float32Array,
      heads,
      length,
      width,
      keys ? row.kept : undefined,
    );
  }
}
