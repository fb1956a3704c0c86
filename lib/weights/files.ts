/** Reading model files: identity, bounded reads, pauses for the event loop, and a name for what is not weights. */
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { CorruptFileError, FileChangedError, ModelNotFoundError } from '../errors.js';
import { type MakeError, parseObject } from './json.js';
import type { FileIdentity, RawConfig } from './types.js';

/** Longest stretch of parsing, in milliseconds, before other work gets its turn. */
const kSlice = 5;

/** Lets the event loop run: `if (pacer.due()) await pacer.pause()` between items. */
export class Pacer {
  #since = performance.now();
  #calls = 0;

  /** Cheap: looks at the clock once in 64 calls. */
  due(): boolean {
    this.#calls = (this.#calls + 1) & 63;
    return this.#calls === 0 && performance.now() - this.#since > kSlice;
  }

  /** For items that may take long: looks at the clock each time, and pauses where it is due. */
  async turn(): Promise<void> {
    if (performance.now() - this.#since > kSlice) await this.pause();
  }

  async pause(): Promise<void> {
    await new Promise<void>((resolve) => setImmediate(resolve));
    this.#since = performance.now();
  }
}

export interface OpenFile {
  readonly handle: FileHandle;
  readonly identity: FileIdentity;
}

async function identify(handle: FileHandle, path: string): Promise<FileIdentity> {
  const stat = await handle.stat({ bigint: true });
  if (!stat.isFile()) throw new CorruptFileError('not a regular file', { file: path });
  if (stat.size > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw new CorruptFileError('file too large', { file: path, expected: 'at most 2^53 - 1 bytes', found: stat.size });
  }
  return { path, size: Number(stat.size), mtimeNs: stat.mtimeNs, inode: stat.ino, device: stat.dev };
}

/** Opens a file, calls `use`, closes it, and makes sure that it did not change meanwhile. */
export async function withFile<T>(path: string, use: (file: OpenFile) => Promise<T>): Promise<T> {
  if (path.includes('\0')) throw new ModelNotFoundError('a path holds a NUL character', { name: 'path', found: path });
  // Without O_NONBLOCK, opening a named pipe would wait for a writer.
  const flags = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0);
  const handle = await open(path, flags).catch((cause: unknown) => {
    throw new ModelNotFoundError('cannot open the file', {
      file: path,
      found: (cause as { code?: string }).code,
      cause,
    });
  });
  try {
    const before = await identify(handle, path);
    const result = await use({ handle, identity: before });
    const after = await identify(handle, path);
    if (after.size !== before.size || after.mtimeNs !== before.mtimeNs) {
      throw new FileChangedError('the file changed while it was read', { file: path });
    }
    return result;
  } finally {
    await handle.close();
  }
}

/** Reads exactly `bytes` bytes at `offset`; a file that ends earlier is corrupt. */
export async function readExactly(file: OpenFile, offset: number, bytes: number): Promise<Buffer> {
  const buffer = Buffer.allocUnsafeSlow(bytes);
  for (let done = 0; done < bytes; ) {
    const { bytesRead } = await file.handle.read(buffer, done, Math.min(bytes - done, 4 << 20), offset + done);
    if (bytesRead === 0) {
      const facts = { file: file.identity.path, expected: `${bytes} bytes at ${offset}`, found: `${done} bytes` };
      throw new CorruptFileError('the file ends early', facts);
    }
    done += bytesRead;
  }
  return buffer;
}

/** A small JSON file: at most `limit` bytes, its top an object. Undefined where the file does not exist. */
export async function readJsonFile(path: string, limit: number, error: MakeError): Promise<RawConfig | undefined> {
  try {
    return await withFile(path, async (file) => {
      const { size } = file.identity;
      if (size > limit) throw error('file too large', { file: path, expected: `at most ${limit} bytes`, found: size });
      return parseObject(await readExactly(file, 0, size), path, error);
    });
  } catch (cause) {
    if (cause instanceof ModelNotFoundError && cause.facts.found === 'ENOENT') return undefined;
    throw cause;
  }
}

/** Names what lies in place of weights, judged by the file's first bytes; undefined when it looks binary. */
export function impostor(head: Buffer): string | undefined {
  const text = head
    .toString('latin1')
    .replace(/^\u00ef\u00bb\u00bf/, '')
    .trimStart();
  if (text.startsWith('version https://git-lfs')) return 'this is a Git LFS pointer, not weights: run `git lfs pull`';
  if (/^<(?:!doctype|html|head|\?xml)/i.test(text)) return 'this is a web page, not weights: download the file again';
  if (/^\{\s*"(?:error|message|detail|status)/i.test(text)) return 'this is an error message in JSON, not weights';
  return undefined;
}
