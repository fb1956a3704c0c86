/** Builders of small model files, well-formed or not, for tests. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A temporary folder that `dispose` removes. */
export class TempFolder {
  readonly path: string = mkdtempSync(join(tmpdir(), 'verdant-'));

  write(name: string, content: string | Uint8Array): string {
    const file = join(this.path, name);
    writeFileSync(file, content);
    return file;
  }

  dispose(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

/** A safetensors file: the header as given (text is not checked), then `data`. `declared` overrides the length field. */
export function safetensors(
  header: string | Uint8Array,
  data: Uint8Array = new Uint8Array(),
  declared?: bigint,
): Buffer {
  const bytes = typeof header === 'string' ? Buffer.from(header, 'utf8') : Buffer.from(header);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(declared ?? BigInt(bytes.length));
  return Buffer.concat([length, bytes, data]);
}

/** Little-endian numbers and strings, one after another. */
export class Bytes {
  readonly #parts: Buffer[] = [];

  u8(value: number): this {
    this.#parts.push(Buffer.from([value]));
    return this;
  }

  u32(value: number): this {
    const part = Buffer.alloc(4);
    part.writeUInt32LE(value >>> 0);
    this.#parts.push(part);
    return this;
  }

  i32(value: number): this {
    return this.u32(value);
  }

  f32(value: number): this {
    const part = Buffer.alloc(4);
    part.writeFloatLE(value);
    this.#parts.push(part);
    return this;
  }

  u64(value: number | bigint): this {
    const part = Buffer.alloc(8);
    part.writeBigUInt64LE(BigInt.asUintN(64, BigInt(value)));
    this.#parts.push(part);
    return this;
  }

  raw(bytes: Uint8Array): this {
    this.#parts.push(Buffer.from(bytes));
    return this;
  }

  /** GGUF string: u64 length, bytes. */
  text(value: string | Uint8Array): this {
    const bytes = typeof value === 'string' ? Buffer.from(value, 'utf8') : value;
    return this.u64(bytes.length).raw(bytes);
  }

  pad(alignment: number): this {
    const size = this.build().length;
    return this.raw(new Uint8Array((alignment - (size % alignment)) % alignment));
  }

  build(): Buffer {
    const whole = Buffer.concat(this.#parts);
    this.#parts.splice(0, this.#parts.length, whole);
    return whole;
  }
}

/** Writes the key, type and value of one metadata pair. */
export type Pair = (bytes: Bytes) => Bytes;

export const pair = {
  u32:
    (key: string, value: number): Pair =>
    (b) =>
      b.text(key).u32(4).u32(value),
  f32:
    (key: string, value: number): Pair =>
    (b) =>
      b.text(key).u32(6).f32(value),
  bool:
    (key: string, value: number): Pair =>
    (b) =>
      b.text(key).u32(7).u8(value),
  string:
    (key: string, value: string | Uint8Array): Pair =>
    (b) =>
      b.text(key).u32(8).text(value),
  strings:
    (key: string, values: readonly string[]): Pair =>
    (b) => {
      b.text(key).u32(9).u32(8).u64(values.length);
      for (const value of values) b.text(value);
      return b;
    },
  /** Array header only: item type and count. */
  array:
    (key: string, items: number, count: number | bigint, content: Uint8Array = new Uint8Array()): Pair =>
    (b) =>
      b.text(key).u32(9).u32(items).u64(count).raw(content),
  /** Key and a type number, then `content`. */
  typed:
    (key: string | Uint8Array, type: number, content: Uint8Array): Pair =>
    (b) =>
      b.text(key).u32(type).raw(content),
};

export interface GgufTensor {
  readonly name: string;
  /** Fastest dimension first, as GGUF has it. */
  readonly dims: readonly (number | bigint)[];
  readonly type?: number;
  readonly offset?: number | bigint;
  /** Overrides the number of dimensions. */
  readonly rank?: number;
}

export interface GgufSpec {
  readonly magic?: string;
  readonly version?: number;
  readonly pairs?: readonly Pair[];
  readonly pairCount?: number | bigint;
  readonly tensors?: readonly GgufTensor[];
  readonly tensorCount?: number | bigint;
  readonly alignment?: number;
  readonly data?: Uint8Array;
}

/** A GGUF file; tensors default to F32 at offset 0. */
export function gguf(spec: GgufSpec = {}): Buffer {
  const { pairs = [], tensors = [], data = new Uint8Array() } = spec;
  const b = new Bytes().raw(Buffer.from(spec.magic ?? 'GGUF', 'latin1')).u32(spec.version ?? 3);
  b.u64(spec.tensorCount ?? tensors.length).u64(spec.pairCount ?? pairs.length);
  for (const write of pairs) write(b);
  for (const tensor of tensors) {
    b.text(tensor.name).u32(tensor.rank ?? tensor.dims.length);
    for (const dim of tensor.dims) b.u64(dim);
    b.u32(tensor.type ?? 0).u64(tensor.offset ?? 0);
  }
  return b
    .pad(spec.alignment ?? 32)
    .raw(data)
    .build();
}

/** Metadata of a small model: 2 layers, width 8, 2 heads, 4 tokens; `more` comes after it. */
export function modelPairs(arch = 'llama', more: readonly Pair[] = []): Pair[] {
  return [
    pair.string('general.architecture', arch),
    pair.u32(`${arch}.block_count`, 2),
    pair.u32(`${arch}.context_length`, 64),
    pair.u32(`${arch}.embedding_length`, 8),
    pair.u32(`${arch}.feed_forward_length`, 16),
    pair.u32(`${arch}.attention.head_count`, 2),
    pair.f32(arch === 'gpt2' ? 'gpt2.attention.layer_norm_epsilon' : `${arch}.attention.layer_norm_rms_epsilon`, 1e-5),
    pair.strings('tokenizer.ggml.tokens', ['<s>', '</s>', 'a', 'b']),
    ...more,
  ];
}
