/** Entry of the text worker: holds the encoders, answers load and encode requests in order. */
import { parentPort } from 'node:worker_threads';
import { TokenizerError } from '../errors.js';
import { Encoder } from './encoder.js';
import { specFromFolder } from './from_folder.js';
import { specFromGguf } from './from_gguf.js';
import type { LoadResult, Segment } from './protocol.js';
import { toWire } from './rpc.js';
import { describe } from './token_table.js';

interface Incoming {
  readonly id?: number;
  readonly op: 'part' | 'load' | 'encode' | 'unload';
  readonly handle: number;
  readonly folder?: string;
  readonly key?: string;
  readonly value?: unknown;
  readonly values?: ArrayLike<unknown>;
  readonly segments?: readonly Segment[];
  readonly addSpecial?: boolean;
  readonly parts?: boolean;
}

const port = parentPort;
if (port === null) throw new Error('this module runs in a worker thread');

const encoders = new Map<number, Encoder>();
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
  encoders.set(message.handle, new Encoder(spec));
  return result;
}

function encode(message: Incoming): Int32Array {
  const encoder = encoders.get(message.handle);
  if (encoder === undefined) throw new TokenizerError('the tokenizer is not loaded in the worker');
  return encoder.encode(message.segments as readonly Segment[], message.addSpecial === true, message.parts === true);
}

/** The tables are megabytes: handed over, not copied. */
function tableBuffers({ table }: LoadResult): ArrayBuffer[] {
  const arrays = Object.values(table).filter((v) => ArrayBuffer.isView(v));
  return [...new Set(arrays.map((v) => v.buffer as ArrayBuffer))];
}

port.on('message', (message: Incoming) => {
  try {
    if (message.op === 'part') part(message);
    else if (message.op === 'unload') encoders.delete(message.handle);
    else {
      const value = message.op === 'load' ? load(message) : encode(message);
      const transfer = value instanceof Int32Array ? [value.buffer as ArrayBuffer] : tableBuffers(value as LoadResult);
      if (message.id !== undefined) port.postMessage({ id: message.id, value }, transfer);
    }
  } catch (error) {
    if (message.id !== undefined) port.postMessage({ id: message.id, error: toWire(error, 'ERR_TOKENIZER') });
  }
});
