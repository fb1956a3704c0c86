import type { BuiltSeq2Seq } from '../engine/build.js';
import { packFrames, type SourceIds } from '../engine/encode_texts.js';
import { encoderPositions, packEncoderStep } from '../engine/encoder_host.js';
import { blocksFor } from '../engine/kv_blocks.js';
import { packStep } from '../engine/step_inputs.js';
import { InputError, UnsupportedError } from '../errors.js';
import type { Graph } from '../graph/graph.js';
import { lower } from '../graph/lower.js';
import type { DeviceModel, Executable } from '../runtime/executable.js';
import {
  decoderInputs,
  readTraceRows,
  scatterRows,
  type TraceInput,
  type TraceInputs,
  type TraceRow,
  type TraceTensor,
} from './trace_inputs.js';
import { type SpectrogramTraceInputs, spectrogramRows } from './trace_spectrogram.js';

/** Hugging Face's name of an output of the encoder's or the decoder's graph. */
function publicName(side: 'encoder' | 'decoder', name: string): string {
  return name === 'logits' || name.startsWith('cross_') ? name : `${side}_${name}`;
}

/** What the class makes of the text where nothing is said of the decoder (shift_tokens_right); others refuse. */
function shiftedInputs(built: BuiltSeq2Seq, inputs: TraceInputs | SpectrogramTraceInputs): TraceInput {
  const { modelType } = built.config;
  if ('inputFeatures' in inputs || (modelType !== 'bart' && modelType !== 'mbart'))
    throw new UnsupportedError(`${built.architecture.classes[0]} needs decoder_input_ids`, {
      name: 'decoder_input_ids',
    });
  const [batch, length] = inputs.inputIds.shape as readonly [number, number];
  const pad = built.config.int('pad_token_id');
  const data = Array.from(inputs.inputIds.data, Number);
  for (let b = 0; b < batch; b++) {
    const row = data.slice(b * length, (b + 1) * length);
    const first =
      modelType === 'bart'
        ? built.config.int('decoder_start_token_id')
        : row[row.filter((id) => id !== pad).length - 1]!;
    data.splice(b * length, length, first, ...row.slice(0, -1));
  }
  return { shape: inputs.inputIds.shape, data };
}

interface Side {
  readonly executable: Executable;
  readonly graph: Graph;
  /** Output name of each value that the program gives. */
  readonly names: ReadonlyMap<unknown, string>;
}

async function compileSide(model: DeviceModel, graph: Graph, pattern: RegExp, compute: string): Promise<Side> {
  const wanted = [...graph.outputs].filter(([name]) => pattern.test(name));
  const names = new Map(wanted.map(([name, value]) => [value, name]));
  const executable = await model.compile(lower(graph, { name: 'trace', outputs: [...names.values()], compute }));
  return { executable, graph, names };
}

/** A row of the batch as the encoder reads it. */
interface SourceRow {
  readonly kept: readonly number[];
  readonly source: SourceIds;
}

/** Texts without what their mask hides, or spectrograms. */
function readSources(
  built: BuiltSeq2Seq,
  inputs: TraceInputs | SpectrogramTraceInputs,
): { readonly rows: readonly SourceRow[]; readonly batch: number; readonly length: number } {
  const { encoder } = built.builder;
  if (typeof inputs !== 'object' || inputs === null) throw new InputError('no inputs', { found: inputs });
  if ('inputFeatures' in inputs !== (encoder.spectrogram !== undefined))
    throw new InputError('the model reads something else', {
      ...{ name: 'inputs', expected: encoder.spectrogram === undefined ? 'input_ids' : 'input_features' },
    });
  if ('inputFeatures' in inputs) {
    const rows = spectrogramRows(built, inputs);
    const kept = Array.from({ length: built.maxSource }, (_, i) => i);
    return { rows: rows.map((source) => ({ kept, source })), batch: rows.length, length: built.maxSource };
  }
  const limits = { vocabSize: built.sourceVocab, positions: encoder.learnedPositions };
  const read = readTraceRows({ inputIds: inputs.inputIds, attentionMask: inputs.attentionMask }, limits);
  const rows = read.rows.map(({ ids, kept, padded }) => {
    const all = encoderPositions(encoder, padded.ids);
    return { kept, source: { ids: Int32Array.from(ids), positions: kept.map((c) => all[c]!), places: kept } };
  });
  return { ...read, rows };
}

/** All that an encoder-decoder's class returns of a padded batch; each row runs alone. */
export async function traceSeq2Seq(
  model: DeviceModel,
  built: BuiltSeq2Seq,
  inputs: TraceInputs | SpectrogramTraceInputs,
  compute: string,
): Promise<Map<string, TraceTensor>> {
  const { builder } = built;
  const { encoder, decoder } = builder;
  const source = readSources(built, inputs);
  const target = readTraceRows(decoderInputs(inputs, inputs.decoderInputIds ?? shiftedInputs(built, inputs)), {
    vocabSize: built.vocabSize,
    positions: decoder.learnedPositions,
  });
  builder.cross.blocks.size = blocksFor(source.length);
  for (const group of built.groups) group.blocks.size = blocksFor(target.length);
  const sides = {
    encoder: await compileSide(model, encoder.graph, /^(last_hidden_state|(hidden_states|attentions)\.\d+)$/, compute),
    decoder: await compileSide(
      model,
      decoder.graph,
      /^(logits|(hidden_states|attentions|cross_attentions)\.\d+)$/,
      compute,
    ),
  };
  const out = new Map<string, TraceTensor>();
  if (target.batch !== source.batch)
    throw new InputError('decoder_input_ids must have a row for each row of the batch', {
      ...{ name: 'decoder_input_ids', expected: source.batch, found: target.batch },
    });
  for (const [b, row] of source.rows.entries()) {
    const written = target.rows[b]!;
    const results = {
      encoder: await runEncoder(built, sides.encoder.executable, row),
      decoder: await runDecoder(built, sides.decoder.executable, written, row.kept.length),
    };
    for (const side of ['encoder', 'decoder'] as const) {
      const [own, length] = side === 'encoder' ? [row, source.length] : [written, target.length];
      for (const [name, data] of Object.entries(results[side])) {
        const cross = name.startsWith('cross_');
        const maps = cross || name.startsWith('attentions.');
        const keys = cross ? row.kept : own.kept;
        const heads = maps ? data.length / (own.kept.length * keys.length) : 1;
        const width = maps ? (cross ? source.length : length) : data.length / own.kept.length;
        const shape = maps ? [source.batch, heads, length, width] : [source.batch, length, width];
        const full = publicName(side, name);
        if (!out.has(full)) out.set(full, { shape, data: new Float32Array(shape.reduce((a, s) => a * s, 1)) });
        scatterRows(out.get(full)!.data, b, own.kept, data, heads, length, width, maps ? keys : undefined);
      }
    }
  }
  for (const side of ['encoder', 'decoder'] as const)
    for (const [name, value] of sides[side].graph.outputs) {
      const given = sides[side].names.get(value);
      if (given !== undefined && !out.has(publicName(side, name)))
        out.set(publicName(side, name), out.get(publicName(side, given))!);
    }
  return out;
}

/** Blocks 0, 1, … of one sequence. */
const blockTable = (tokens: number): Int32Array => Int32Array.from({ length: blocksFor(tokens) }, (_, i) => i);

async function runEncoder(
  built: BuiltSeq2Seq,
  executable: Executable,
  { source }: SourceRow,
): Promise<Record<string, Float32Array>> {
  const n = source.ids.length;
  const { dims, inputs } = packEncoderStep(built.builder.encoder, [source]);
  const frames = packFrames(built.builder.encoder, [source]);
  const table = blockTable(n);
  const cross = {
    cross_positions: Int32Array.from({ length: n }, (_, i) => i),
    seq_ids: new Int32Array(n),
    table_cross: table,
  };
  const { outputs } = await executable.run(
    { ...dims, ...frames.dims, keys: n, cross_columns: table.length },
    { ...inputs, ...frames.inputs, ...cross },
  );
  return outputs as Record<string, Float32Array>;
}

async function runDecoder(
  built: BuiltSeq2Seq,
  executable: Executable,
  row: TraceRow,
  source: number,
): Promise<Record<string, Float32Array>> {
  const n = row.kept.length;
  const step = packStep(
    [
      {
        ids: row.ids,
        from: 0,
        positions: row.kept,
        ropeLength: n,
        blocks: [...blockTable(n)],
        logits: row.ids.map((_, i) => i),
      },
    ],
    [],
    built.groups.map((g) => g.name),
  );
  const table = blockTable(source);
  const cross = { table_cross: table, cross_last: new Int32Array(n).fill(source - 1) };
  const { outputs } = await executable.run(
    { ...step.dims, keys: n, source_keys: source, cross_columns: table.length },
    { ...step.inputs, ...cross },
  );
  return outputs as Record<string, Float32Array>;
}
