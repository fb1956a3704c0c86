/**
 * `<blob>.incomplete`: written in order from byte 0, so that whatever is there is a prefix and can be continued.
 * Nothing is written without the lock: the file may already be the blob of another process.
 */
import type { Hash } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { HubError } from '../errors.js';
import { hashFile, startHash } from './cache.js';
import type { RemoteFile } from './listing.js';
import type { Lock } from './lock.js';

const kFlush = 256 << 10;

export class PartFile {
  readonly path: string;
  readonly #file: RemoteFile;
  readonly #handle: FileHandle;
  readonly #lock: Lock;
  #hasher: Hash;
  #written = 0;
  #pending: Uint8Array[] = [];
  #pendingBytes = 0;

  private constructor(path: string, file: RemoteFile, handle: FileHandle, lock: Lock) {
    this.path = path;
    this.#file = file;
    this.#handle = handle;
    this.#lock = lock;
    this.#hasher = startHash(file.hash, file.size);
  }

  /** Opens what an earlier download left (its bytes are hashed again) or a new file. */
  static async open(path: string, file: RemoteFile, lock: Lock, signal: AbortSignal): Promise<PartFile> {
    const flags = constants.O_RDWR | constants.O_CREAT | (constants.O_NOFOLLOW ?? 0);
    const handle = await open(path, flags, 0o666);
    const part = new PartFile(path, file, handle, lock);
    try {
      const info = await handle.stat();
      if (!info.isFile()) throw new HubError('not a regular file', { file: path, hint: 'Remove it' });
      if (info.size > file.size) {
        await handle.truncate(0);
      } else {
        await hashFile(path, part.#hasher, info.size, signal);
        part.#written = info.size;
      }
      return part;
    } catch (cause) {
      await handle.close();
      throw cause;
    }
  }

  /** Bytes at hand, written or about to be. */
  get position(): number {
    return this.#written + this.#pendingBytes;
  }

  async append(chunk: Uint8Array): Promise<void> {
    this.#hasher.update(chunk);
    this.#pending.push(chunk);
    this.#pendingBytes += chunk.length;
    if (this.#pendingBytes >= kFlush) await this.flush();
  }

  async flush(): Promise<void> {
    if (this.#pendingBytes === 0) return;
    await this.#lock.check();
    const bytes = this.#pending.length === 1 ? this.#pending[0]! : Buffer.concat(this.#pending);
    for (let from = 0; from < bytes.length; ) {
      const { bytesWritten } = await this.#handle.write(bytes, from, bytes.length - from, this.#written);
      from += bytesWritten;
      this.#written += bytesWritten;
      this.#pendingBytes -= bytesWritten;
      this.#pending = [bytes.subarray(from)];
    }
    this.#pending = [];
  }

  /** Throws all bytes away. */
  async restart(): Promise<void> {
    await this.#lock.check();
    this.#pending = [];
    this.#pendingBytes = 0;
    this.#written = 0;
    this.#hasher = startHash(this.#file.hash, this.#file.size);
    await this.#handle.truncate(0);
  }

  /** Hash of all bytes, in hex. Call once, when complete. */
  digest(): string {
    return this.#hasher.digest('hex');
  }

  /** Makes the complete file the blob. */
  async publish(blob: string): Promise<void> {
    await this.#lock.check();
    await this.#handle.sync();
    const info = await this.#handle.stat();
    if (info.size !== this.#file.size) {
      throw new HubError('the file changed on disk', { file: this.path, expected: this.#file.size, found: info.size });
    }
    await rename(this.path, blob);
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }

  async remove(): Promise<void> {
    await rm(this.path, { force: true });
  }
}
