import { type BuiltDecoder, buildCheckpoint } from '../engine/build.js';
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

/** A float tensor with its shape, row-major. */
export interface TraceTensor {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

/** Integer inputs under Hugging Face's names, batch first: (batch, length). */
export interface TraceInputs {
  readonly inputIds: { readonly shape: readonly number[]; readonly data: ArrayLike<number> };
  readonly attentionMask?: { readonly shape: readonly number[]; readonly data: ArrayLike<number> } | undefined;
  readonly positionIds?: { readonly shape: readonly number[]; readonly data: ArrayLike<number> } | undefined;
}

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

interface Row {
  /** Columns of the padded row that are not masked. */
  readonly kept: readonly number[];
  readonly ids: readonly number[];
  readonly positions: readonly number[];
  /** Length that Hugging Face computes rope angles for when the row runs alone. */
  readonly ropeLength: number;
}

/** Every input is a (batch, length) list of numbers of its shape. Throws InputError. */
function checkInputs(inputs: TraceInputs): void {
  if (typeof inputs !== 'object' || inputs === null) throw new InputError('no inputs', { found: inputs });
  const { inputIds, attentionMask, positionIds, ...rest } = inputs;
  const unknown = Object.keys(rest)[0];
  if (unknown !== undefined)
    throw new InputError(`unknown input ${unknown}`, { expected: 'inputIds, attentionMask, positionIds' });
  for (const [name, t] of Object.entries({
    input_ids: inputIds,
    attention_mask: attentionMask,
    position_ids: positionIds,
  })) {
    if (t === undefined && name !== 'input_ids') continue;
    const { shape, data } = (t ?? {}) as { shape?: unknown; data?: unknown };
    if (!Array.isArray(shape) || shape.length !== 2 || !shape.every((n) => Number.isSafeInteger(n) && n > 0))
      throw new InputError(`${name} must be (batch, length)`, { name, expected: 'two sizes from 1', found: shape });
    const listed = Array.isArray(data) || (ArrayBuffer.isView(data) && !(data instanceof DataView));
    const count = listed ? (data as unknown as ArrayLike<number>).length : undefined;
    if (count !== shape[0] * shape[1])
      throw new InputError(`${name} must hold one number for each place of its shape`, {
        name,
        expected: shape[0] * shape[1],
        found: count ?? data,
      });
  }
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

function readRows(inputs: TraceInputs, built: BuiltDecoder): { rows: Row[]; batch: number; length: number } {
  checkInputs(inputs);
  const [batch, length] = inputs.inputIds.shape as readonly [number, number];
  for (const [name, t] of [
    ['attention_mask', inputs.attentionMask],
    ['position_ids', inputs.positionIds],
  ] as const) {
    if (t !== undefined && (t.shape.length !== 2 || t.shape[0] !== batch || t.shape[1] !== length)) {
      throw new InputError(`${name} must have the shape of input_ids`, { expected: [batch, length], found: t.shape });
    }
  }
  const rows = Array.from({ length: batch }, (_, b) => {
    const at = (t: { readonly data: ArrayLike<number> } | undefined, c: number): number | undefined =>
      t === undefined ? undefined : Number(t.data[b * length + c]);
    const kept = Array.from({ length }, (_, c) => c).filter((c) => {
      const seen = at(inputs.attentionMask, c) ?? 1;
      if (seen !== 0 && seen !== 1)
        throw new InputError(`attention_mask[${b}, ${c}]`, { name: 'attention_mask', expected: '0 or 1', found: seen });
      return seen === 1;
    });
    const ids = kept.map((c) => at(inputs.inputIds, c)!);
    const positions = kept.map((c) => at(inputs.positionIds, c) ?? c);
    if (kept.length === 0) throw new InputError(`row ${b} of the batch is wholly masked`);
    for (const [i, id] of ids.entries()) {
      if (!Number.isInteger(id) || id < 0 || id >= built.vocabSize)
        throw new InputError(`input_ids[${b}, ${kept[i]}] is out of range`, {
          expected: `0 to ${built.vocabSize - 1}`,
          found: id,
        });
      const p = positions[i]!;
      const limit = built.builder.learnedPositions ?? 2 ** 30;
      if (!Number.isInteger(p) || p < 0 || p >= limit)
        throw new InputError(`position of input_ids[${b}, ${kept[i]}] is out of range`, {
          expected: `0 to ${limit - 1}`,
          found: p,
        });
    }
    return { kept, ids, positions, ropeLength: Math.max(...positions) + 1 };
  });
  return { rows, batch, length };
}

/** For windows: a row sees a key less than `window` positions before it, counted in the padded row. */
function windowMask(row: Row, window: number): Uint8Array {
  const n = row.kept.length;
  const mask = new Uint8Array(n * n);
  for (let q = 0; q < n; q++)
    for (let k = 0; k <= q; k++) mask[q * n + k] = row.kept[q]! - row.kept[k]! < window ? 1 : 0;
  return mask;
}

/** Places a result of the kept rows in zeros of the padded size; `axes`: which axes are rows, which keys. */
function scatter(
  into: Float32Array,
  batch: number,
  row: Row,
  data: Float32Array,
  heads: number,
  length: number,
  width: number,
  keys: boolean,
): void {
  const n = row.kept.length;
  const outer = keys ? length : width;
  for (let h = 0; h < heads; h++) {
    for (const [i, r] of row.kept.entries()) {
      const to = ((batch * heads + h) * length + r) * outer;
      if (!keys) into.set(data.subarray(i * width, (i + 1) * width), to);
      else for (const [j, k] of row.kept.entries()) into[to + k] = data[(h * n + i) * n + j]!;
    }
  }
}

/** Everything that `verdant trace` gives of a decoder: logits, hidden_states.N, attentions.N, padded rows zero. */
export async function traceDecoder(
  checkpoint: Checkpoint,
  inputs: TraceInputs,
  options: TraceOptions = {},
): Promise<Map<string, TraceTensor>> {
  checkTraceOptions(options);
  const built = buildCheckpoint(checkpoint, options.architecture, options.quantize, options.kvType);
  const { rows, batch, length } = readRows(inputs, built);
  const blocks = blocksFor(length);
  for (const group of built.groups) group.blocks.size = blocks;
  const graph = built.builder.graph;
  const names = ['logits', ...[...graph.outputs.keys()].filter((n) => /^(hidden_states|attentions)\.\d+$/.test(n))];
  const masks = built.groups.filter((g) => g.window !== undefined).map((g) => `mask_${g.name}`);
  const program = lower(graph, { name: 'trace', outputs: names, compute: options.compute ?? 'f32', optional: masks });
  const model = await DeviceModel.open(options.device ?? 'cpu', { threads: options.threads });
  try {
    const executable = await model.compile(program);
    const out = new Map<string, TraceTensor>();
    for (const [b, row] of rows.entries()) await traceRow(executable, built, row, b, batch, length, out);
    return out;
  } finally {
    await model.dispose();
  }
}

async function traceRow(
  executable: Executable,
  built: BuiltDecoder,
  row: Row,
  index: number,
  batch: number,
  length: number,
  out: Map<string, TraceTensor>,
): Promise<void> {
  const n = row.kept.length;
  const table = new KvBlocks(Math.ceil(length / pageTokens)).open(n)!;
  table.write(0, n);
  const all = Array.from({ length: n }, (_, i) => i);
  const sequence = {
    ids: row.ids,
    from: 0,
    positions: row.positions,
    ropeLength: row.ropeLength,
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
    scatter(out.get(name)!.data, index, row, data as Float32Array, heads, length, width, keys);
  }
}
