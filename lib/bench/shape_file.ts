/** A published model's sizes with random weights as a GGUF file, for engines that read files. */
import { rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AbortError } from '../errors.js';
import { factorsForGguf, plannedForGguf, planPublished, setFileType } from '../tasks/quantize_plan.js';
import type { GgufValue } from '../weights/gguf_types.js';
import type { QuantizeType } from '../weights/quantize_rules.js';
import type { RawConfig } from '../weights/types.js';
import { type WriteGgufOptions, writeGguf } from '../weights/write_gguf.js';
import { describeForGguf } from '../weights/write_gguf_config.js';
import { randomDecoder } from './random_model.js';

export type ShapeFileOptions = Pick<WriteGgufOptions, 'onProgress' | 'signal'>;

const ids = (value: number): GgufValue => ({ type: 'uint32', value });

/** A vocabulary of that size that llama.cpp accepts; it refuses to run without one: <unk>, <s>, </s>, bytes, t259 … */
function vocabulary(size: number): [string, GgufValue][] {
  const bytes = 259;
  const hex = (byte: number): string => byte.toString(16).toUpperCase().padStart(2, '0');
  const token = (i: number): string => ['<unk>', '<s>', '</s>'][i] ?? (i < bytes ? `<0x${hex(i - 3)}>` : `t${i}`);
  // llama_token_type: 1 normal, 2 unknown, 3 control, 6 byte.
  const type = (i: number): number => [2, 3, 3][i] ?? (i < bytes ? 6 : 1);
  const list = <T>(of: (i: number) => T): T[] => Array.from({ length: size }, (_, i) => of(i));
  return [
    ['tokenizer.ggml.model', { type: 'string', value: 'llama' }],
    ['tokenizer.ggml.tokens', { type: 'array', items: 'string', value: list(token) }],
    ['tokenizer.ggml.scores', { type: 'array', items: 'float32', value: new Float32Array(size) }],
    ['tokenizer.ggml.token_type', { type: 'array', items: 'int32', value: Int32Array.from(list(type)) }],
    ['tokenizer.ggml.unknown_token_id', ids(0)],
    ['tokenizer.ggml.bos_token_id', ids(1)],
    ['tokenizer.ggml.eos_token_id', ids(2)],
  ];
}

/**
 * Writes the file that `verdant quantize` makes of a checkpoint with the weights of `buildRandom`, with a vocabulary that
 * means nothing.
 * Returns its bytes. Throws InputError (the disk is full), UnsupportedError (GGUF cannot express the config), AbortError.
 */
export async function writeShapeFile(
  path: string,
  config: RawConfig,
  name: string,
  quant: QuantizeType,
  { onProgress, signal }: ShapeFileOptions = {},
): Promise<number> {
  try {
    const { built, tensors } = randomDecoder(config, name, quant);
    const { metadata: described, factors } = describeForGguf(built.config);
    const metadata = new Map<string, GgufValue>([
      ['general.type', { type: 'string', value: 'model' }],
      ['general.name', { type: 'string', value: name }],
      ...described,
      ...vocabulary(built.vocabSize),
    ]);
    setFileType(metadata, quant);
    const all = [...factorsForGguf(factors), ...planPublished(tensors, built, quant).map(plannedForGguf)];
    return await writeGguf(path, metadata, all, { onProgress, signal });
  } catch (cause) {
    throw signal?.aborted === true ? new AbortError(undefined, { cause: signal.reason }) : cause;
  }
}

/** Gives `use` a file name in a temporary folder, which goes when it ends, or when the process exits before. */
export async function withTemporaryFile<T>(name: string, use: (path: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'verdant-bench-'));
  const atExit = (): void => rmSync(folder, { recursive: true, force: true });
  process.once('exit', atExit);
  try {
    return await use(join(folder, name));
  } finally {
    await rm(folder, { recursive: true, force: true, maxRetries: 3 });
    process.off('exit', atExit);
  }
}
