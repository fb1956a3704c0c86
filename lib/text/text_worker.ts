/** The process's text worker as the main thread sees it: load, encode, unload. */
import { resolve } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { InputError, TokenizerError } from '../errors.js';
import { ggufTokenizerKeys, isChatTemplateKey } from './gguf_keys.js';
import type { JoinOptions } from './join.js';
import type { Encoding, LoadResult, Segment } from './protocol.js';
import { RpcWorker } from './rpc.js';

/**
 * What the tokenizer needs of a GGUF metadata reader, such as `GgufFile.metadata`: the value of a key, bare or as
 * `{ type, value }`; arrays as JS arrays or typed arrays.
 */
export interface GgufMetadata {
  get(key: string): unknown;
  /** All keys, where the reader has them: needed only to find named chat templates. */
  keys?(): Iterable<string>;
}

export type TokenizerSource = { readonly folder: string } | { readonly gguf: GgufMetadata };

/** Entries of a long array posted at once: a few ms of copying. */
const chunkLength = 8192;
const loadLimitMs = 60_000;
/** Encoding takes about 0.3 ms per KiB at worst; a text that takes longer than this hit a pathological pattern. */
const encodeLimitMs = (length: number): number => 5_000 + 0.05 * length;

type Message = Record<string, unknown>;

function* ggufMessages(handle: number, gguf: GgufMetadata): Generator<Message> {
  const named = gguf.keys === undefined ? [] : [...gguf.keys()].filter(isChatTemplateKey);
  for (const key of new Set([...ggufTokenizerKeys, ...named])) {
    const item = gguf.get(key);
    const value = typeof item === 'object' && item !== null && 'value' in item ? item.value : item;
    if (value === undefined || value === null) continue;
    if (typeof value === 'object') {
      if (!Array.isArray(value) && !ArrayBuffer.isView(value)) {
        throw new TokenizerError('GGUF metadata value must be a scalar or an array', { name: key });
      }
      const array = value as unknown as { length: number; slice(from: number, to: number): unknown };
      for (let i = 0; i < array.length || i === 0; i += chunkLength) {
        yield { op: 'part', handle, key, values: array.slice(i, i + chunkLength) };
      }
    } else yield { op: 'part', handle, key, value };
  }
}

function* loadMessages(handle: number, source: TokenizerSource): Generator<Message> {
  if ('folder' in source) yield { op: 'load', handle, folder: resolve(source.folder) };
  else {
    yield* ggufMessages(handle, source.gguf);
    yield { op: 'load', handle };
  }
}

class TextWorker {
  private readonly sources = new Map<number, TokenizerSource>();
  private nextHandle = 1;
  private readonly rpc = new RpcWorker(
    'worker',
    {},
    (message) => new TokenizerError(message),
    () => this.restore(),
  );

  private *restore(): Generator<Message> {
    for (const [handle, source] of this.sources) yield* loadMessages(handle, source);
  }

  async load(source: TokenizerSource): Promise<{ handle: number; loaded: LoadResult }> {
    checkSource(source);
    const handle = this.nextHandle;
    this.nextHandle += 1;
    let result: Promise<unknown> | undefined;
    for (const message of loadMessages(handle, source)) {
      if (message.op === 'load') result = this.rpc.call(message, loadLimitMs, 'loading the tokenizer');
      else {
        this.rpc.post(message);
        await nextTurn();
      }
    }
    const loaded = (await result) as LoadResult;
    this.sources.set(handle, source);
    return { handle, loaded };
  }

  /** @param target the text is one that the model writes */
  async encode(
    handle: number,
    segments: readonly Segment[],
    addSpecial: boolean,
    parts: boolean,
    target = false,
  ): Promise<Int32Array> {
    if (!this.sources.has(handle)) throw new InputError('the tokenizer was closed');
    let length = 0;
    for (const segment of segments) length += segment.text.length;
    const message = { op: 'encode', handle, segments, addSpecial, parts, target };
    return (await this.rpc.call(message, encodeLimitMs(length), `tokenising ${length} characters`)) as Int32Array;
  }

  /** One text with offsets. */
  async encodeAligned(handle: number, text: string, special: boolean, addSpecial: boolean): Promise<Encoding> {
    return this.aligned({ op: 'align', handle, texts: [text], special, addSpecial }, text.length);
  }

  /** Two texts joined. */
  async encodePair(handle: number, first: string, second: string, options: JoinOptions): Promise<Encoding> {
    return this.aligned({ op: 'align', handle, texts: [first, second], ...options }, first.length + second.length);
  }

  private async aligned(message: Message, length: number): Promise<Encoding> {
    if (!this.sources.has(message.handle as number)) throw new InputError('the tokenizer was closed');
    return (await this.rpc.call(message, 4 * encodeLimitMs(length), `tokenising ${length} characters`)) as Encoding;
  }

  unload(handle: number): void {
    if (this.sources.delete(handle)) this.rpc.post({ op: 'unload', handle });
  }
}

function checkSource(source: TokenizerSource): void {
  if (typeof source === 'object' && source !== null) {
    if ('folder' in source && typeof source.folder === 'string') return;
    if ('gguf' in source && typeof source.gguf?.get === 'function') return;
  }
  throw new InputError('loadTokenizer takes {folder: string} or {gguf: metadata with get(key)}');
}

let shared: TextWorker | undefined;

/** The one text worker of the process; its thread starts with the first tokenizer. */
export function textWorker(): TextWorker {
  shared ??= new TextWorker();
  return shared;
}
