/**
 * A reader of Python pickles (protocols 2 to 5) that executes nothing: an allow-list of opcodes builds plain values, and a
 * global is a name that the caller's table knows, or an error. Depth, memo, stack and sizes are bounded; no value is
 * ever walked recursively, so cycles do no harm.
 */
import { CorruptFileError, type ErrorFacts, UnsupportedError } from '../errors.js';
import { Pacer } from './files.js';

const kMaxStack = 1 << 20;
const kMaxMemo = 1 << 20;
const kMaxOpcodes = 1 << 22;
const kMaxIntegerBytes = 256;

/** A class or function that the pickle names, `module.name`; it is never imported. */
export class PickleGlobal {
  readonly name: string;

  constructor(name: string) {
    this.name = name;
  }
}

export class PickleTuple {
  readonly items: readonly unknown[];

  constructor(items: readonly unknown[]) {
    this.items = items;
  }
}

/** collections.OrderedDict: its attributes (`_metadata` of a state dict) are dropped. */
export class PickleOrderedDict extends Map<unknown, unknown> {}

/** What a pickle may name, call and refer to. */
export interface PickleTable {
  /** Whether the pickle may name this global. */
  allows(global: string): boolean;
  /** The value of `global(*args)`; undefined: it cannot be called so. */
  call(global: string, args: readonly unknown[], at: number): unknown;
  /** The value of a persistent id; undefined: it is not understood. */
  persistent(id: unknown, at: number): unknown;
}

/** The bytes ended within an opcode: the caller may come again with more of them. */
export class PickleEnds extends CorruptFileError {
  override readonly name: string = 'CorruptFileError';
}

/** Where the pickle lies. */
export interface PicklePlace {
  readonly file: string;
  /** Absolute offset of its first byte, for messages. */
  readonly offset: number;
}

const kMark: unique symbol = Symbol('mark');
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Reads one pickle from the start of `bytes`: its value and its length. */
export async function readPickle(
  bytes: Uint8Array,
  place: PicklePlace,
  table: PickleTable,
): Promise<{ value: unknown; length: number }> {
  const machine = new Machine(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length), place, table);
  const pacer = new Pacer();
  machine.begin();
  while (machine.step()) if (pacer.due()) await pacer.pause();
  return { value: machine.result(), length: machine.at };
}

class Machine {
  at = 0;
  readonly #bytes: Buffer;
  readonly #place: PicklePlace;
  readonly #table: PickleTable;
  readonly #stack: unknown[] = [];
  readonly #memo = new Map<number, unknown>();
  /** Offset of the opcode that is being done, and how many were done. */
  #opcode = 0;
  #done = 0;

  constructor(bytes: Buffer, place: PicklePlace, table: PickleTable) {
    this.#bytes = bytes;
    this.#place = place;
    this.#table = table;
  }

  begin(): void {
    const found = this.take(2);
    if (found[0] !== 0x80) throw this.corrupt('not a pickle of protocol 2 or later', { found: found[0] });
    const version = found[1]!;
    if (version >= 2 && version <= 5) return;
    throw this.unsupported('pickle protocol', { expected: '2 to 5', found: version });
  }

  /** Does one opcode; false: it was the last one. */
  step(): boolean {
    this.#opcode = this.at;
    const opcode = this.take(1)[0]!;
    if (opcode === 0x2e) return false;
    if (++this.#done > kMaxOpcodes) throw this.corrupt(`more than ${kMaxOpcodes} opcodes`);
    const action = actions[opcode];
    if (action === undefined) {
      const found = `0x${opcode.toString(16).padStart(2, '0')}`;
      throw this.unsupported(`pickle opcode ${found} is not one that tensors need`);
    }
    action(this);
    if (this.#stack.length > kMaxStack) throw this.corrupt(`more than ${kMaxStack} values on the stack`);
    return true;
  }

  result(): unknown {
    const [value] = this.#stack;
    if (this.#stack.length !== 1 || value === kMark) throw this.corrupt('the pickle does not end with one value');
    return value;
  }

  take(count: number): Buffer {
    const end = this.at + count;
    if (end > this.#bytes.length) {
      throw new PickleEnds('the pickle ends early', {
        file: this.#place.file,
        expected: `${count} bytes at ${this.#place.offset + this.at}`,
        found: `${this.#bytes.length - this.at} bytes`,
      });
    }
    const found = this.#bytes.subarray(this.at, end);
    this.at = end;
    return found;
  }

  /** Length of what follows, in `bytes` bytes. */
  length(bytes: 1 | 2 | 4 | 8): number {
    const field = this.take(bytes);
    if (bytes < 8) return field.readUIntLE(0, bytes);
    const value = field.readBigUInt64LE(0);
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw this.corrupt('a length is out of range', { found: value });
    return Number(value);
  }

  text(bytes: number): string {
    try {
      return utf8.decode(this.take(bytes));
    } catch (cause) {
      if (cause instanceof CorruptFileError) throw cause;
      throw this.corrupt('a string is not UTF-8');
    }
  }

  /** Text up to the end of the line. */
  line(): string {
    const end = this.#bytes.subarray(this.at, this.at + 1024).indexOf(0x0a);
    if (end < 0 && this.at + 1024 <= this.#bytes.length) throw this.corrupt('a name is longer than 1024 bytes');
    const found = this.text(end < 0 ? 1024 : end);
    this.take(1);
    return found;
  }

  /** Little-endian two's complement. */
  integer(bytes: number): number | bigint {
    if (bytes > kMaxIntegerBytes) throw this.corrupt('an integer is too long', { found: `${bytes} bytes` });
    let value = 0n;
    const field = this.take(bytes);
    for (let i = bytes - 1; i >= 0; i -= 1) value = (value << 8n) | BigInt(field[i]!);
    value = BigInt.asIntN(8 * bytes, value);
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : value;
  }

  push(value: unknown): void {
    this.#stack.push(value);
  }

  pop(): unknown {
    if (this.#stack.length === 0) throw this.corrupt('the stack is empty');
    const value = this.#stack.pop();
    if (value === kMark) throw this.corrupt('a value is expected where a mark is');
    return value;
  }

  /** Either a value or a mark. */
  drop(): void {
    if (this.#stack.pop() === undefined) throw this.corrupt('the stack is empty');
  }

  top(): unknown {
    const value = this.#stack.at(-1);
    if (value === undefined || value === kMark) throw this.corrupt('a value is expected on the stack');
    return value;
  }

  mark(): void {
    this.#stack.push(kMark);
  }

  /** Takes off what lies above the last mark, and the mark. */
  sinceMark(): unknown[] {
    const from = this.#stack.lastIndexOf(kMark);
    if (from < 0) throw this.corrupt('no mark on the stack');
    const items = this.#stack.splice(from);
    items.shift();
    return items;
  }

  put(index: number): void {
    this.#memo.set(index, this.top());
    if (this.#memo.size > kMaxMemo) throw this.corrupt(`more than ${kMaxMemo} values in the memo`);
  }

  putNext(): void {
    this.put(this.#memo.size);
  }

  get(index: number): void {
    const value = this.#memo.get(index);
    if (value === undefined) throw this.corrupt('the memo has no such value', { found: index });
    this.#stack.push(value);
  }

  global(module: unknown, name: unknown): void {
    if (typeof module !== 'string' || typeof name !== 'string') throw this.corrupt('a global without a name');
    const full = `${module}.${name}`;
    if (!this.#table.allows(full)) {
      throw this.unsupported(`the pickle names ${full}, which is not part of a tensor`, {
        found: full,
        hint: 'Nothing of it was run. If you trust the file, convert it to safetensors where it was made',
      });
    }
    this.#stack.push(new PickleGlobal(full));
  }

  /** REDUCE and NEWOBJ: a call, by the caller's table. */
  call(): void {
    const args = this.pop();
    const callee = this.pop();
    if (!(callee instanceof PickleGlobal) || !(args instanceof PickleTuple)) {
      throw this.corrupt('a call needs a global and a tuple');
    }
    const made = this.#table.call(callee.name, args.items, this.#where());
    if (made === undefined) {
      throw this.unsupported(`${callee.name} is called in a way that tensors do not need`, { found: callee.name });
    }
    this.#stack.push(made);
  }

  persistent(): void {
    const made = this.#table.persistent(this.pop(), this.#where());
    if (made === undefined) throw this.unsupported('a persistent id that is not a storage');
    this.#stack.push(made);
  }

  /** BUILD: attributes of a state dict are dropped; nothing else may have any. */
  build(): void {
    const state = this.pop();
    if (!(this.top() instanceof PickleOrderedDict) || !(state instanceof Map)) {
      throw this.unsupported('the pickle sets attributes of an object');
    }
  }

  append(items: readonly unknown[]): void {
    const list = this.top();
    if (!Array.isArray(list)) throw this.corrupt('items are appended to something that is no list');
    for (const item of items) list.push(item);
  }

  setItems(items: readonly unknown[]): void {
    const dict = this.top();
    if (!(dict instanceof Map) || items.length % 2 !== 0)
      throw this.corrupt('items are set of something that is no dict');
    fill(dict, items);
  }

  dict(items: readonly unknown[]): void {
    if (items.length % 2 !== 0) throw this.corrupt('a dict of an odd number of items');
    this.#stack.push(fill(new Map(), items));
  }

  tuple(count: number): void {
    const items: unknown[] = [];
    for (let i = 0; i < count; i += 1) items.unshift(this.pop());
    this.#stack.push(new PickleTuple(items));
  }

  corrupt(message: string, facts: ErrorFacts = {}): CorruptFileError {
    return new CorruptFileError(`${message} (byte ${this.#where()})`, { file: this.#place.file, ...facts });
  }

  unsupported(message: string, facts: ErrorFacts = {}): UnsupportedError {
    return new UnsupportedError(`${message} (byte ${this.#where()})`, { file: this.#place.file, ...facts });
  }

  #where(): number {
    return this.#place.offset + this.#opcode;
  }
}

function fill(dict: Map<unknown, unknown>, items: readonly unknown[]): Map<unknown, unknown> {
  for (let i = 0; i < items.length; i += 2) dict.set(items[i], items[i + 1]);
  return dict;
}

/** Opcodes as CPython's pickletools names them. None is stored as null. */
const actions: Readonly<Record<number, (m: Machine) => void>> = {
  40: (m) => m.mark(), // MARK
  48: (m) => m.drop(), // POP
  49: (m) => void m.sinceMark(), // POP_MARK
  50: (m) => m.push(m.top()), // DUP
  78: (m) => m.push(null), // NONE
  136: (m) => m.push(true), // NEWTRUE
  137: (m) => m.push(false), // NEWFALSE
  74: (m) => m.push(m.take(4).readInt32LE(0)), // BININT
  75: (m) => m.push(m.length(1)), // BININT1
  77: (m) => m.push(m.length(2)), // BININT2
  138: (m) => m.push(m.integer(m.length(1))), // LONG1
  139: (m) => m.push(m.integer(m.length(4))), // LONG4
  71: (m) => m.push(m.take(8).readDoubleBE(0)), // BINFLOAT
  84: (m) => m.push(m.text(m.length(4))), // BINSTRING (of Python 2)
  85: (m) => m.push(m.text(m.length(1))), // SHORT_BINSTRING
  88: (m) => m.push(m.text(m.length(4))), // BINUNICODE
  140: (m) => m.push(m.text(m.length(1))), // SHORT_BINUNICODE
  141: (m) => m.push(m.text(m.length(8))), // BINUNICODE8
  66: (m) => m.push(m.take(m.length(4))), // BINBYTES
  67: (m) => m.push(m.take(m.length(1))), // SHORT_BINBYTES
  142: (m) => m.push(m.take(m.length(8))), // BINBYTES8
  41: (m) => m.tuple(0), // EMPTY_TUPLE
  133: (m) => m.tuple(1), // TUPLE1
  134: (m) => m.tuple(2), // TUPLE2
  135: (m) => m.tuple(3), // TUPLE3
  116: (m) => m.push(new PickleTuple(m.sinceMark())), // TUPLE
  93: (m) => m.push([]), // EMPTY_LIST
  108: (m) => m.push(m.sinceMark()), // LIST
  97: (m) => m.append([m.pop()]), // APPEND
  101: (m) => m.append(m.sinceMark()), // APPENDS
  125: (m) => m.dict([]), // EMPTY_DICT
  100: (m) => m.dict(m.sinceMark()), // DICT
  115: (m) => {
    const value = m.pop();
    m.setItems([m.pop(), value]); // SETITEM
  },
  117: (m) => m.setItems(m.sinceMark()), // SETITEMS
  113: (m) => m.put(m.length(1)), // BINPUT
  114: (m) => m.put(m.length(4)), // LONG_BINPUT
  148: (m) => m.putNext(), // MEMOIZE
  104: (m) => m.get(m.length(1)), // BINGET
  106: (m) => m.get(m.length(4)), // LONG_BINGET
  149: (m) => void m.length(8), // FRAME
  99: (m) => m.global(m.line(), m.line()), // GLOBAL
  147: (m) => {
    const name = m.pop();
    m.global(m.pop(), name); // STACK_GLOBAL
  },
  82: (m) => m.call(), // REDUCE
  81: (m) => m.persistent(), // BINPERSID
  98: (m) => m.build(), // BUILD
};
