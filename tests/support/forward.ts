import { type BuiltDecoder, buildDecoder } from '../../lib/engine/build.js';
import { lower } from '../../lib/graph/lower.js';
import type { Program } from '../../lib/graph/program.js';
import { pageTokens } from '../../lib/layers/decoder.js';
import type { WeightSource } from '../../lib/layers/weights.js';
import { type DecoderArchitecture, findDecoder } from '../../lib/models/index.js';
import type { DeviceModel, Executable } from '../../lib/runtime/executable.js';
import type { InputArray } from '../../lib/runtime/native.js';
import { type ConfigReader, readConfig } from '../../lib/weights/config.js';
import { checkpointSource } from '../../lib/weights/source.js';
import type { Checkpoint, RawConfig } from '../../lib/weights/types.js';

/** The graph of a checkpoint under another config, or with weights from elsewhere. */
export function build(
  checkpoint: Checkpoint,
  options: { config?: RawConfig; source?: WeightSource; architecture?: DecoderArchitecture } = {},
): BuiltDecoder {
  const config: ConfigReader = readConfig({
    config: options.config ?? checkpoint.config,
    configFile: checkpoint.configFile,
  });
  const architecture =
    options.architecture ?? findDecoder(config.architectures[0], config.modelType, checkpoint.configFile);
  return buildDecoder(architecture, config, options.source ?? checkpointSource(checkpoint, architecture.gguf));
}

/** Lowers for one sequence of up to `tokens` tokens, computed in f32. */
export function program(built: BuiltDecoder, outputs: readonly string[], tokens: number): Program {
  for (const group of built.groups) group.blocks.size = 1 + Math.ceil(tokens / pageTokens);
  return lower(built.builder.graph, { outputs, compute: 'f32' });
}

/** What one pass over rows of a sequence needs besides its ids. */
export interface StepOptions {
  /** Position of each row; default: its place in the cache. */
  readonly positions?: readonly number[];
  /** Rows of the sequence that the cache holds already; default 0. */
  readonly from?: number;
  /** Length that rotary angles are computed for; default: the largest position + 1. */
  readonly ropeLength?: number;
}

/** One pass over rows of the only sequence, whose blocks lie in order. Outputs by name. */
export async function step(
  executable: Executable,
  ids: readonly number[],
  options: StepOptions = {},
): Promise<Readonly<Record<string, Float32Array | Int32Array>>> {
  const rows = ids.length;
  const from = options.from ?? 0;
  const blocks = Math.ceil((from + rows) / pageTokens);
  const places = Int32Array.from({ length: rows }, (_, i) => from + i);
  const positions = Int32Array.from(options.positions ?? places);
  const inputs: Record<string, InputArray> = {
    input_ids: Int32Array.from(ids),
    positions,
    rope_lengths: new Int32Array(rows).fill(options.ropeLength ?? Math.max(...positions) + 1),
    kv_positions: places,
    seq_ids: new Int32Array(rows),
    starts: Int32Array.of(0, rows),
    logit_rows: Int32Array.from({ length: rows }, (_, i) => i),
  };
  const dims: Record<string, number> = { rows, seqs: 1, seq_bounds: 2, logit_rows: rows, keys: from + rows };
  for (const value of executable.program.values) {
    if (value.kind !== 'input' || !value.name.startsWith('table_')) continue;
    const group = value.name.slice('table_'.length);
    inputs[value.name] = Int32Array.from({ length: blocks }, (_, i) => i);
    inputs[`copies_${group}`] = new Int32Array(0);
    dims[`${group}_columns`] = blocks;
    dims[`${group}_copies`] = 0;
  }
  return (await executable.run(dims, inputs)).outputs;
}

/** Compiles and runs one pass over a whole sequence. */
export async function forward(
  model: DeviceModel,
  lowered: Program,
  ids: readonly number[],
  options: StepOptions = {},
): Promise<Readonly<Record<string, Float32Array | Int32Array>>> {
  const executable = await model.compile(lowered);
  try {
    return await step(executable, ids, options);
  } finally {
    executable.dispose();
  }
}
