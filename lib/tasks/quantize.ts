import { basename, resolve } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { type BuiltDecoder, buildCheckpoint } from '../engine/build.js';
import { AbortError, OptionError } from '../errors.js';
import { isRecord } from '../generation/option_rules.js';
import { type PullOptions, resolveModel } from '../hub/index.js';
import { specFromFolder } from '../text/from_folder.js';
import { ggufTokenizer } from '../text/to_gguf.js';
import { openCheckpoint } from '../weights/checkpoint.js';
import { readGenerationConfig } from '../weights/generation_config.js';
import type { GgufValue } from '../weights/gguf_types.js';
import { isQuantizeType, type QuantizeType, quantizeTypes } from '../weights/quantize_rules.js';
import type { Checkpoint } from '../weights/types.js';
import { checkPlace } from '../weights/whole_file.js';
import { type GgufTensor, writeGguf } from '../weights/write_gguf.js';
import { describeForGguf } from '../weights/write_gguf_config.js';
import { hasTokenizer } from './load.js';
import {
  factorsForGguf,
  planGguf,
  plannedForGguf,
  planSafetensors,
  type QuantizedTensor,
  setFileType,
} from './quantize_plan.js';

export type { QuantizedTensor } from './quantize_plan.js';

export interface QuantizeOptions {
  /** Type of every matrix, or a mixture; `load()`'s option of the same meaning lists the rules. */
  readonly type: QuantizeType;
  /** Whether a file of that name may be replaced. Default false. */
  readonly overwrite?: boolean | undefined;
  /** For hub ids: revision, offline, cacheDir, endpoint, token … */
  readonly hub?: Omit<PullOptions, 'signal'> | undefined;
  /** Bytes written and in all. */
  readonly onProgress?: ((progress: { done: number; total: number }) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface QuantizeResult {
  readonly path: string;
  readonly bytes: number;
  readonly tensors: readonly QuantizedTensor[];
  /** What of the model a GGUF file cannot hold, or llama.cpp is known not to heed. */
  readonly notes: readonly string[];
}

function checkQuantizeOptions(output: string, options: QuantizeOptions): void {
  if (!isRecord(options))
    throw new OptionError('quantize: options', { name: 'options', expected: 'an object', found: options });
  const known = ['type', 'overwrite', 'hub', 'onProgress', 'signal'];
  const must = (name: string, good: boolean, expected: string, found: unknown): void => {
    if (!good) throw new OptionError(`quantize: bad ${name}`, { name, expected, found });
  };
  for (const name of Object.keys(options))
    if (!known.includes(name))
      throw new OptionError(`quantize: unknown option ${name}`, { name, expected: known.join(', ') });
  const { type, overwrite, hub, onProgress, signal } = options;
  must('type', isQuantizeType(type), quantizeTypes.join(', '), type);
  must('overwrite', overwrite === undefined || typeof overwrite === 'boolean', 'true or false', overwrite);
  must('hub', hub === undefined || (typeof hub === 'object' && hub !== null), 'an object of options for pull()', hub);
  must('onProgress', onProgress === undefined || typeof onProgress === 'function', 'a function', onProgress);
  must('signal', signal === undefined || signal instanceof AbortSignal, 'an AbortSignal', signal);
  must(
    'output',
    typeof output === 'string' && /[^/\\]\.gguf$/.test(output) && !output.includes('\0'),
    'NAME.gguf',
    output,
  );
}

const text = (value: string): GgufValue => ({ type: 'string', value });
const number = (value: number): GgufValue => ({ type: 'uint32', value });

/** Name of the model: its folder's, or the hub's. */
function nameOf(path: string): string {
  const full = resolve(path);
  const hub = /models--(.+?)[/\\]snapshots[/\\]/.exec(full)?.[1];
  return hub?.split('--').at(-1) ?? basename(full).replace(/\.(?:gguf|safetensors|bin)$/, '');
}

/** Ids that end a text: GGUF has three names for them. */
function endings(ids: readonly number[], notes: string[]): [string, GgufValue][] {
  const keys = ['eos', 'eot', 'eom'];
  if (ids.length > keys.length)
    notes.push(`GGUF names at most ${keys.length} ids that end a text; left out: ${ids.slice(keys.length).join(', ')}`);
  return ids.slice(0, keys.length).map((value, i) => [`tokenizer.ggml.${keys[i]}_token_id`, number(value)]);
}

/** Metadata of a checkpoint in Hugging Face's form, and the tensors that GGUF holds config values in. */
async function describe(
  checkpoint: Checkpoint,
  built: BuiltDecoder,
): Promise<{ metadata: Map<string, GgufValue>; tensors: GgufTensor[]; notes: string[] }> {
  const { metadata: config, factors, notes: found } = describeForGguf(built.config);
  const notes = [...found];
  const metadata = new Map<string, GgufValue>([
    ['general.type', text('model')],
    ['general.name', text(nameOf(checkpoint.path))],
    ...config,
  ]);
  await nextTurn();
  const defaults = readGenerationConfig(checkpoint, built.config, built.vocabSize);
  const ends = new Set<number>();
  const spec = hasTokenizer(checkpoint.folder) ? specFromFolder(checkpoint.folder) : undefined;
  if (spec === undefined) metadata.set('tokenizer.ggml.model', text('none'));
  else {
    await nextTurn();
    const tokenizer = ggufTokenizer(spec, built.vocabSize);
    for (const [key, value] of tokenizer.metadata) metadata.set(key, value);
    notes.push(...tokenizer.notes);
    for (const id of spec.eosIds) ends.add(id);
  }
  for (const id of defaults.eosTokenIds) ends.add(id);
  for (const [key, value] of endings([...ends], notes)) metadata.set(key, value);
  const { bosTokenId: bos, padTokenId: pad } = defaults;
  if (bos !== undefined && !metadata.has('tokenizer.ggml.bos_token_id'))
    metadata.set('tokenizer.ggml.bos_token_id', number(bos));
  if (pad !== undefined && !metadata.has('tokenizer.ggml.padding_token_id'))
    metadata.set('tokenizer.ggml.padding_token_id', number(pad));
  return { metadata, tensors: factorsForGguf(factors), notes };
}

/**
 * Writes a model as a GGUF v3 file that llama.cpp reads: `input` is a folder with safetensors or pytorch_model.bin, an unquantised .gguf file,
 * or a hub id. Tensors are read, encoded and written piece by piece; the file takes its name when it is whole. Throws
 * OptionError, InputError (the place is taken or cannot be written, the disk is full), UnsupportedError (quantised
 * already; something that GGUF cannot express), what `load()` throws for a bad checkpoint, AbortError. Reading the
 * tokenizer occupies the calling thread for a moment.
 */
export async function quantize(input: string, output: string, options: QuantizeOptions): Promise<QuantizeResult> {
  checkQuantizeOptions(output, options);
  const { type, signal, hub, overwrite = false, onProgress } = options;
  try {
    signal?.throwIfAborted();
    await checkPlace(output, overwrite);
    const found = await resolveModel(input, { ...hub, ...(signal === undefined ? {} : { signal }) });
    const checkpoint = await openCheckpoint(found);
    const built = buildCheckpoint(checkpoint, undefined, type);
    const described =
      checkpoint.gguf === undefined
        ? await describe(checkpoint, built)
        : { metadata: copied(checkpoint.gguf.metadata), tensors: [], notes: [] };
    const planned = (checkpoint.kind === 'gguf' ? planGguf : planSafetensors)(checkpoint, built, type);
    setFileType(described.metadata, type);
    const all = [...described.tensors, ...planned.map(plannedForGguf)];
    const bytes = await writeGguf(output, described.metadata, all, { overwrite, onProgress, signal });
    const list = planned.map(({ name, shape, wanted, type: made }) => ({ name, shape, wanted, type: made }));
    return { path: output, bytes, tensors: list, notes: described.notes };
  } catch (cause) {
    throw signal?.aborted === true ? new AbortError(undefined, { cause: signal.reason }) : cause;
  }
}

/** Metadata of another GGUF file, without what belongs to its bytes. */
function copied(metadata: ReadonlyMap<string, GgufValue>): Map<string, GgufValue> {
  return new Map([...metadata].filter(([key]) => key !== 'general.alignment' && !key.startsWith('split.')));
}
