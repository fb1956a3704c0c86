/** Entry of the text worker: holds the encoders, answers load and encode requests in order. */
import { parentPort } from 'node:worker_threads';
import { TokenizerError } from '../errors.js';
import { Encoder } from './encoder.js';
import { specFromFolder } from './from_folder.js';
import { specFromGguf } from './from_gguf.js';
import type { Encoding, LoadResult, PairTruncation, Segment } from './protocol.js';
import { toWire } from './rpc.js';
import { describe } from './token_table.js';

interface Incoming {
  readonly id?: number;
  readonly op: 'part' | 'load' | 'encode' | 'align' | 'unload';
  readonly handle: number;
  readonly folder?: string;
  readonly key?: string;
  readonly value?: unknown;
  readonly values?: ArrayLike<unknown>;
  readonly segments?: readonly Segment[];
  readonly addSpecial?: boolean;
  readonly parts?: boolean;
  readonly target?: boolean;
  readonly texts?: readonly string[];
  readonly special?: boolean;
  readonly maxLength?: number;
  readonly truncate?: PairTruncation;
}

const port = parentPort;
if (port === null) throw new Error('this module runs in a worker thread');

/** Of the texts that a model reads, and of those that it writes. */
const encoders = new Map<number, { readonly source: Encoder; readonly target: Encoder }>();
const metadata = new Map<number, Map<string, unknown>>();

function part(message: Incoming): void {
  const known = metadata.get(message.handle) ?? new Map<string, unknown>();
  metadata.set(message.handle, known);
  const key = message.key as string;
  if (message.values === undefined) known.set(key, message.value);
  else {
    const list = (known.get(key) as unknown[] | undefined) ?? [];
    for (let i = 0; i < message.values.length; i += 1) list.push(message.values[i]);
    known.set(key, list);
  }
}

function load(message: Incoming): LoadResult {
  const known = metadata.get(message.handle);
  metadata.delete(message.handle);
  const spec = message.folder === undefined ? specFromGguf(known ?? new Map()) : specFromFolder(message.folder);
  const result = describe(spec);
  const source = new Encoder(spec);
  encoders.set(message.handle, { source, target: spec.target === undefined ? source : new Encoder(spec.target) });
  return result;
}

function encoderOf(message: Incoming): Encoder {
  const encoder = encoders.get(message.handle);
  if (encoder === undefined) throw new TokenizerError('the tokenizer is not loaded in the worker');
  return message.target === true ? encoder.target : encoder.source;
}

function encode(message: Incoming): Int32Array {
  const { segments, addSpecial, parts } = message;
  return encoderOf(message).encode(segments as readonly Segment[], addSpecial === true, parts === true);
}

function align(message: Incoming): Encoding {
  const encoder = encoderOf(message);
  const [first, second] = message.texts as readonly [string, string?];
  const addSpecial = message.addSpecial === true;
  if (second === undefined) return encoder.encodeAligned(first, message.special === true, addSpecial);
  return encoder.encodePair(first, second, {
    addSpecial,
    maxLength: message.maxLength,
    truncate: message.truncate ?? 'longest',
  });
}

/** Tables and ids may be megabytes: handed over, not copied. */
function buffersOf(value: object): ArrayBuffer[] {
  const arrays = Object.values(value).filter((v) => ArrayBuffer.isView(v));
  return [...new Set(arrays.map((v) => v.buffer as ArrayBuffer))];
}

function answer(message: Incoming): [unknown, ArrayBuffer[]] {
  if (message.op === 'encode') {
    const ids = encode(message);
    return [ids, [ids.buffer as ArrayBuffer]];
  }
  if (message.op === 'align') {
    const encoding = align(message);
    return [encoding, buffersOf(encoding)];
  }
  const loaded = load(message);
  return [loaded, buffersOf(loaded.table)];
}

port.on('message', (message: Incoming) => {
  try {
    if (message.op === 'part') part(message);
    else if (message.op === 'unload') encoders.delete(message.handle);
    else {
      const [value, transfer] = answer(message);
      if (message.id !== undefined) port.postMessage({ id: message.id, value }, transfer);
    }
  } catch (error) {
    if (message.id !== undefined) port.postMessage({ id: message.id, error: toWire(error, 'ERR_TOKENIZER') });
  }
});
