/** What an opened checkpoint is: a table of tensors, a config in Hugging Face's spelling, and the identity of its files. */
import type { GgufFile } from './gguf.js';

/** Element or block type of a tensor in a file. A name that no weight decoder knows is refused where the tensor is used. */
export type FileDType =
  | 'f32'
  | 'f16'
  | 'bf16'
  | 'f64'
  | 'i8'
  | 'u8'
  | 'i16'
  | 'u16'
  | 'i32'
  | 'u32'
  | 'i64'
  | 'u64'
  | 'bool'
  | 'c64'
  | 'f8_e4m3'
  | 'f8_e5m2'
  | 'f8_e8m0'
  | 'f6_e2m3'
  | 'f6_e3m2'
  | 'f4'
  | 'q4_0'
  | 'q4_1'
  | 'q5_0'
  | 'q5_1'
  | 'q8_0'
  | 'q8_1'
  | 'q2_k'
  | 'q3_k'
  | 'q4_k'
  | 'q5_k'
  | 'q6_k'
  | 'q8_k'
  | 'iq1_s'
  | 'iq1_m'
  | 'iq2_xxs'
  | 'iq2_xs'
  | 'iq2_s'
  | 'iq3_xxs'
  | 'iq3_s'
  | 'iq4_nl'
  | 'iq4_xs'
  | 'tq1_0'
  | 'tq2_0'
  | 'mxfp4'
  | 'nvfp4'
  | 'q1_0';

/** One tensor: where its bytes lie. `offset + bytes` was checked against the file when it was opened. */
export interface TensorEntry {
  readonly name: string;
  readonly dtype: FileDType;
  /** Outermost dimension first, as PyTorch writes it (GGUF's order reversed). `[]` is a scalar. */
  readonly shape: readonly number[];
  readonly file: string;
  /** Absolute byte offset in the file; need not be a multiple of the element size. */
  readonly offset: number;
  readonly bytes: number;
  /** The bytes themselves, where they do not lie in row-major order in the file. */
  readonly data?: Uint8Array;
}

/** Identity of a file when it was opened; native compares it before each read, so a changed file is an error. */
export interface FileIdentity {
  readonly path: string;
  readonly size: number;
  readonly mtimeNs: bigint;
  readonly inode: bigint;
  readonly device: bigint;
}

/** JSON as read from a model's files: objects have no prototype and no duplicate keys. */
export type RawValue = null | boolean | number | string | readonly RawValue[] | RawConfig;
export interface RawConfig {
  readonly [key: string]: RawValue;
}

export interface Checkpoint {
  /** pytorch: pytorch_model.bin; names and layout are those of safetensors. */
  readonly kind: 'safetensors' | 'pytorch' | 'gguf';
  /** As given to `openCheckpoint`. */
  readonly path: string;
  /** Hugging Face's config.json; for GGUF, its metadata in that spelling, so that models read one form. */
  readonly config: RawConfig;
  /** generation_config.json, or undefined where there is none. For GGUF: bos, eos and pad ids. */
  readonly generationConfig: RawConfig | undefined;
  readonly tensors: ReadonlyMap<string, TensorEntry>;
  /** Tensors whose values `config` already holds (GGUF's rope factors): a model neither needs nor misses them. */
  readonly absorbed: ReadonlySet<string>;
  readonly files: readonly FileIdentity[];
  /** Metadata of a GGUF file, for the tokenizer. */
  readonly gguf?: GgufFile;
  /** Folder in which tokenizer.json and the like lie. */
  readonly folder: string | undefined;
  /** File that `config` came from, for messages. */
  readonly configFile: string;
}
