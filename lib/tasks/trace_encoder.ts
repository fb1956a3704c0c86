import type { BuiltEncoder } from '../engine/build.js';
import { type EncoderSequence, encoderPositions, encoderProgram, packEncoderStep } from '../engine/encoder_host.js';
import type { DeviceModel } from '../runtime/executable.js';
import { scatterRows, type TraceRow, type TraceRows, type TraceTensor } from './trace_inputs.js';

/** Picks the entries of a padded row. */
const at = <T>(values: ArrayLike<T>, columns: readonly number[]): T[] => columns.map((c) => values[c]!);

/**
 * A row of the batch as a sequence, and which of its columns it holds. Classes that read the first place do so even where the
 * mask hides it: then it is there, and no other sees it.
 */
function sequenceOf(
  built: BuiltEncoder,
  row: TraceRow,
  usesFirst: boolean,
): { columns: number[]; sequence: EncoderSequence } {
  const columns = usesFirst && row.kept[0] !== 0 ? [0, ...row.kept] : [...row.kept];
  const positions = row.positions ?? at(encoderPositions(built.builder, row.padded.ids), row.kept);
  const hidden = columns.length > row.kept.length;
  return {
    columns,
    sequence: {
      ids: at(row.padded.ids, columns),
      tokenTypes: at(row.padded.tokenTypes, columns),
      positions: hidden ? [encoderPositions(built.builder, row.padded.ids)[0]!, ...positions] : positions,
      places: columns,
    },
  };
}

/** All that an encoder's class returns of a padded batch; each row runs alone. */
export async function traceEncoderRows(
  model: DeviceModel,
  built: BuiltEncoder,
  { rows, batch, length }: TraceRows,
  compute: string,
): Promise<Map<string, TraceTensor>> {
  const { graph } = built.builder;
  // last_hidden_state and the last of hidden_states are one value, which a program gives once.
  const names = new Map([...graph.outputs].map(([name, value]) => [value, name]));
  const executable = await model.compile(encoderProgram(built, [...names.values()], compute, ['mask']));
  const usesFirst = executable.program.values.some((v) => v.kind === 'input' && v.name === 'first_rows');
  const out = new Map<string, TraceTensor>();
  for (const [b, row] of rows.entries()) {
    const { columns, sequence } = sequenceOf(built, row, usesFirst);
    const n = columns.length;
    const skipped = n - row.kept.length;
    const { dims, inputs } = packEncoderStep(built.builder, [sequence]);
    const mask = Uint8Array.from({ length: n * n }, (_, i) => (i % n >= skipped ? 1 : 0));
    const { outputs } = await executable.run({ ...dims, keys: n }, { ...inputs, mask });
    for (const [name, data] of Object.entries(outputs)) {
      const found = placed(data as Float32Array, graph.outputs.get(name)!.dims[0]!.name, n, skipped);
      const { heads, width, keys } = found;
      const shape = keys
        ? [batch, heads, length, length]
        : found.sequences
          ? [batch, width]
          : [batch, length, ...(name.endsWith('_logits') ? [] : [width])];
      if (!out.has(name)) out.set(name, { shape, data: new Float32Array(shape.reduce((a, s) => a * s, 1)) });
      const into = out.get(name)!.data;
      if (found.sequences) into.set(data as Float32Array, b * width);
      else
        scatterRows(into, b, row.kept, found.data, heads, length, keys ? length : width, keys ? row.kept : undefined);
    }
  }
  for (const [name, value] of graph.outputs) if (!out.has(name)) out.set(name, out.get(names.get(value)!)!);
  return out;
}

interface Placed {
  readonly data: Float32Array;
  readonly heads: number;
  readonly width: number;
  readonly keys: boolean;
  readonly sequences: boolean;
}

/** What kind of output this is by its first dim (rows, seqs, or heads of attention maps), without its first `skipped` rows. */
function placed(data: Float32Array, space: string, n: number, skipped: number): Placed {
  if (space === 'seqs') return { data, heads: 1, width: data.length, keys: false, sequences: true };
  if (space === 'rows' || space === 'logit_rows') {
    const width = data.length / n;
    return { data: data.subarray(skipped * width), heads: 1, width, keys: false, sequences: false };
  }
  const heads = data.length / (n * n);
  const left = n - skipped;
  const maps = new Float32Array(heads * left * left);
  for (let h = 0; h < heads; h++)
    for (let i = 0; i < left; i++) {
      const from = (h * n + i + skipped) * n + skipped;
      maps.set(data.subarray(from, from + left), (h * left + i) * left);
    }
  return { data: maps, heads, width: left, keys: true, sequences: false };
}
