/** What the pickles of torch.save are made of: storages, tensors over them, and the few globals that build these. */
import { CorruptFileError, type ErrorFacts } from '../errors.js';
import { PickleGlobal, PickleOrderedDict, type PickleTable, PickleTuple } from './pickle.js';
import type { FileDType } from './types.js';

const kMaxRank = 16;

/** Element type and its bytes. */
type Element = readonly [dtype: FileDType, bytes: number];

/** Classes of storages, all of the module torch. */
const kStorages: Readonly<Record<string, Element>> = {
  FloatStorage: ['f32', 4],
  DoubleStorage: ['f64', 8],
  HalfStorage: ['f16', 2],
  BFloat16Storage: ['bf16', 2],
  LongStorage: ['i64', 8],
  IntStorage: ['i32', 4],
  ShortStorage: ['i16', 2],
  CharStorage: ['i8', 1],
  ByteStorage: ['u8', 1],
  BoolStorage: ['bool', 1],
  ComplexFloatStorage: ['c64', 8],
};
/** torch.dtype objects, which newer files name beside an untyped storage. */
const kDTypes: Readonly<Record<string, Element>> = {
  float32: ['f32', 4],
  float64: ['f64', 8],
  float16: ['f16', 2],
  bfloat16: ['bf16', 2],
  int64: ['i64', 8],
  int32: ['i32', 4],
  int16: ['i16', 2],
  int8: ['i8', 1],
  uint8: ['u8', 1],
  uint16: ['u16', 2],
  uint32: ['u32', 4],
  uint64: ['u64', 8],
  bool: ['bool', 1],
  float8_e4m3fn: ['f8_e4m3', 1],
  float8_e5m2: ['f8_e5m2', 1],
};
const kUntyped = 'torch.storage.UntypedStorage';

function byName(table: Readonly<Record<string, Element>>, global: string): Element | undefined {
  const name = /^torch\.(\w+)$/.exec(global)?.[1];
  return name !== undefined && Object.hasOwn(table, name) ? table[name] : undefined;
}

/** Numbers in a record of the file, or in a part of one. */
export class TorchStorage {
  readonly key: string;
  /** Undefined: bytes, whose type the tensor says. */
  readonly element: Element | undefined;
  /** Elements, or bytes where there is no type. */
  readonly count: number;
  /** Elements of the record that come before (views of the oldest files). */
  readonly begin: number;

  constructor(key: string, element: Element | undefined, count: number, begin: number) {
    this.key = key;
    this.element = element;
    this.count = count;
    this.begin = begin;
  }
}

/** A strided view of a storage: element i, j, … is element `offset + i stride[0] + j stride[1] + …` of it. */
export class TorchTensor {
  readonly storage: TorchStorage;
  readonly element: Element;
  readonly offset: number;
  readonly shape: readonly number[];
  readonly stride: readonly number[];
  /** Elements of the tensor. */
  readonly count: number;
  /** Elements of the storage from `offset` to the last one of the tensor. */
  readonly extent: number;

  constructor(storage: TorchStorage, element: Element, offset: number, shape: number[], stride: number[]) {
    this.storage = storage;
    this.element = element;
    this.offset = offset;
    this.shape = shape;
    this.stride = stride;
    this.count = shape.reduce((n, d) => n * d, 1);
    this.extent = this.count === 0 ? 0 : shape.reduce((n, d, i) => n + (d - 1) * stride[i]!, 1);
  }

  /** Whether its elements lie row by row without gaps. */
  get contiguous(): boolean {
    let expected = 1;
    for (let i = this.shape.length - 1; i >= 0; i -= 1) {
      if (this.shape[i] !== 1 && this.stride[i] !== expected) return false;
      expected *= this.shape[i]!;
    }
    return true;
  }
}

function isSize(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function sizes(value: unknown): number[] | undefined {
  if (!(value instanceof PickleTuple) || value.items.length > kMaxRank) return undefined;
  return value.items.every(isSize) ? [...(value.items as number[])] : undefined;
}

/** What pickles of torch.save may name, call and refer to. */
export class TorchTable implements PickleTable {
  /** Storages by the record that holds them. */
  readonly storages = new Map<string, TorchStorage>();
  readonly #file: string;

  constructor(file: string) {
    this.#file = file;
  }

  allows(global: string): boolean {
    if (global === 'collections.OrderedDict' || global === kUntyped) return true;
    if (byName(kStorages, global) !== undefined || byName(kDTypes, global) !== undefined) return true;
    return /^torch\._utils\._rebuild_(?:tensor|tensor_v2|tensor_v3|parameter)$/.test(global);
  }

  call(global: string, args: readonly unknown[], at: number): unknown {
    if (global === 'collections.OrderedDict') return ordered(args);
    if (global === 'torch._utils._rebuild_parameter') return args[0] instanceof TorchTensor ? args[0] : undefined;
    if (!global.startsWith('torch._utils._rebuild_tensor')) return undefined;
    const third = global.endsWith('_v3');
    // (storage, offset, size, stride, requires_grad, hooks), and the dtype after these in v3.
    const [storage, offset, size, strides, , , dtype] = args;
    const [shape, stride] = [sizes(size), sizes(strides)];
    if (!(storage instanceof TorchStorage) || !isSize(offset)) return undefined;
    if (shape === undefined || stride === undefined || shape.length !== stride.length) {
      throw this.#corrupt('the size and stride of a tensor', at, {
        expected: `as many whole numbers, at most ${kMaxRank}`,
        found: [shape ?? size, stride ?? strides],
      });
    }
    const named = third && dtype instanceof PickleGlobal ? byName(kDTypes, dtype.name) : undefined;
    const element = third ? named : storage.element;
    return element === undefined ? undefined : this.#tensor(storage, element, offset, shape, stride, at);
  }

  persistent(id: unknown, at: number): TorchStorage | undefined {
    if (!(id instanceof PickleTuple)) return undefined;
    // ('storage', class, key of the record, device, elements, and in the oldest files a view of it)
    const [kind, type, key, , count, view = null] = id.items;
    if (kind !== 'storage' || !(type instanceof PickleGlobal) || typeof key !== 'string') return undefined;
    const element = byName(kStorages, type.name);
    if ((element === undefined && type.name !== kUntyped) || !isSize(count)) return undefined;
    const known = this.storages.get(key);
    if (known !== undefined && (known.count !== count || known.element !== element)) {
      throw this.#corrupt(`storage ${key} is described in two ways`, at);
    }
    const whole = known ?? new TorchStorage(key, element, count, 0);
    this.storages.set(key, whole);
    if (view === null) return whole;
    if (!(view instanceof PickleTuple)) return undefined;
    const [, begin, size] = view.items;
    if (!isSize(begin) || !isSize(size) || begin + size > count) throw this.#corrupt('a view leaves its storage', at);
    return new TorchStorage(key, element, size, begin);
  }

  #tensor(
    storage: TorchStorage,
    element: Element,
    offset: number,
    shape: number[],
    stride: number[],
    at: number,
  ): TorchTensor {
    const tensor = new TorchTensor(storage, element, offset, shape, stride);
    const room = storage.element === undefined ? Math.floor(storage.count / element[1]) : storage.count;
    // Sums beyond 2^53 are inexact, but still greater than any room.
    if (tensor.count > 0 && offset + tensor.extent > room) {
      const facts = { expected: `${room} elements`, found: { offset, shape, stride } };
      throw this.#corrupt(`a tensor leaves storage ${storage.key}`, at, facts);
    }
    return tensor;
  }

  #corrupt(message: string, at: number, facts: ErrorFacts = {}): CorruptFileError {
    return new CorruptFileError(`${message} (byte ${at})`, { file: this.#file, ...facts });
  }
}

/** OrderedDict(), or of a list of pairs as Python 2 wrote it. */
function ordered(args: readonly unknown[]): PickleOrderedDict | undefined {
  const [pairs = []] = args;
  if (args.length > 1 || !Array.isArray(pairs)) return undefined;
  const dict = new PickleOrderedDict();
  for (const pair of pairs as unknown[]) {
    const items = pair instanceof PickleTuple ? pair.items : Array.isArray(pair) ? (pair as unknown[]) : [];
    if (items.length !== 2) return undefined;
    dict.set(items[0], items[1]);
  }
  return dict;
}
