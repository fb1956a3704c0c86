/** The cache layout that all Hugging Face tools share: `models--owner--name/{blobs,refs,snapshots}`. */
import { createHash, type Hash, randomBytes } from 'node:crypto';
import { createReadStream, type Stats } from 'node:fs';
import { copyFile, mkdir, open, readdir, readFile, readlink, rename, rm, stat, symlink } from 'node:fs/promises';
import { basename, dirname, join, relative } from 'node:path';
import { HubError, VerdantError } from '../errors.js';
import { type BlobHash, blobHash, isCommit } from './names.js';

const kMaxDepth = 6;
const kMaxNames = 20_000;

/** Folders of one repository. `state` holds locks and notes beside those of other tools, out of the way of scans. */
export interface RepoCache {
  readonly folder: string;
  readonly blobs: string;
  readonly refs: string;
  readonly snapshots: string;
  readonly state: string;
}

export function repoCache(cacheDir: string, repo: string): RepoCache {
  const name = ['models', ...repo.split('/')].join('--');
  const folder = join(cacheDir, name);
  return {
    folder,
    blobs: join(folder, 'blobs'),
    refs: join(folder, 'refs'),
    snapshots: join(folder, 'snapshots'),
    state: join(cacheDir, '.locks', name),
  };
}

/** A failed file operation as a typed error; anything else passes unchanged. */
export function diskError(cause: unknown, folder: string): unknown {
  const { code, syscall, path } = cause as { code?: string; syscall?: string; path?: string };
  if (cause instanceof VerdantError || code === undefined || syscall === undefined) return cause;
  const full = ['ENOSPC', 'EDQUOT', 'EFBIG'].includes(code);
  const message = full ? 'no space for the model in the cache' : 'cannot use the model cache';
  const hint = full
    ? 'Free some space or choose another folder with HF_HUB_CACHE; the download goes on where it stopped'
    : 'Check its permissions or choose another folder with HF_HUB_CACHE';
  return new HubError(message, { file: path ?? folder, found: `${code} (${syscall})`, hint, cause });
}

const temporary = (path: string): string => `${path}.${randomBytes(4).toString('hex')}.tmp`;

/** Makes the entries of a folder survive a power cut; not every platform can. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r').catch(() => undefined);
  await handle?.sync().catch(() => undefined);
  await handle?.close();
}

async function writeAtomically(path: string, text: string): Promise<void> {
  const temp = temporary(path);
  await mkdir(dirname(path), { recursive: true });
  try {
    const handle = await open(temp, 'wx');
    try {
      await handle.writeFile(text);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temp, path);
  } catch (cause) {
    await rm(temp, { force: true });
    throw cause;
  }
}

/** Commit that the cache knows for a revision. */
export async function readRef(cache: RepoCache, revision: string): Promise<string | undefined> {
  if (isCommit(revision)) return revision;
  const text = (await readFile(join(cache.refs, revision), 'utf8').catch(() => '')).trim();
  return isCommit(text) ? text : undefined;
}

export async function writeRef(cache: RepoCache, revision: string, commit: string): Promise<void> {
  if (revision !== commit) await writeAtomically(join(cache.refs, revision), commit);
}

/** Puts a blob into a snapshot under its path: a relative link, or a copy where the file system has none. */
export async function linkBlob(cache: RepoCache, commit: string, path: string, blob: string): Promise<void> {
  const place = join(cache.snapshots, commit, path);
  const target = relative(dirname(place), join(cache.blobs, blob));
  if ((await readlink(place).catch(() => undefined)) === target) return;
  await mkdir(dirname(place), { recursive: true });
  const temp = temporary(place);
  try {
    await symlink(target, temp, 'file').catch(async () => copyFile(join(cache.blobs, blob), temp));
    await rename(temp, place);
  } finally {
    await rm(temp, { force: true });
  }
}

/** Starts the hash of a blob of `size` bytes; git puts a header before the content. */
export function startHash(hash: BlobHash, size: number): Hash {
  return hash.kind === 'sha256' ? createHash('sha256') : createHash('sha1').update(`blob ${size}\0`);
}

/** Feeds the first `bytes` bytes of a file into `hasher`, off the event loop between chunks. */
export async function hashFile(path: string, hasher: Hash, bytes: number, signal: AbortSignal): Promise<void> {
  if (bytes === 0) return;
  const stream = createReadStream(path, { end: bytes - 1, highWaterMark: 1 << 20 });
  for await (const chunk of stream) {
    signal.throwIfAborted();
    hasher.update(chunk as Buffer);
  }
}

const stamp = (info: Stats): string => `${info.size} ${info.mtimeMs} ${info.ino}\n`;
const stampFile = (cache: RepoCache, blob: string): string => join(cache.state, `${blob}.verified`);

/** Notes that the blob, as it now is, has the hash of its name. A cache that takes no notes is verified each time. */
export async function markVerified(cache: RepoCache, blob: string): Promise<void> {
  const info = await stat(join(cache.blobs, blob));
  await writeAtomically(stampFile(cache, blob), stamp(info)).catch(() => undefined);
}

/**
 * True when the blob is there, has `size` bytes (if given) and the content that its name states. The content is read
 * once; after that only when size, time or inode of the file changed.
 */
export async function isIntact(
  cache: RepoCache,
  hash: BlobHash,
  size: number | undefined,
  signal: AbortSignal,
): Promise<boolean> {
  const path = join(cache.blobs, hash.hex);
  const info = await stat(path).catch(() => undefined);
  if (info === undefined || !info.isFile() || (size !== undefined && info.size !== size)) return false;
  if ((await readFile(stampFile(cache, hash.hex), 'utf8').catch(() => '')) === stamp(info)) return true;
  const hasher = startHash(hash, info.size);
  await hashFile(path, hasher, info.size, signal);
  if (hasher.digest('hex') !== hash.hex) return false;
  await markVerified(cache, hash.hex);
  return true;
}

/** A file of a snapshot: its size, and the hash that it must have where the link tells. */
export interface SnapshotFile {
  /** Undefined: the link leads nowhere. */
  readonly size: number | undefined;
  readonly hash: BlobHash | undefined;
}

/** All files of a snapshot by path, or undefined where there is no such folder. */
export async function readSnapshot(
  cache: RepoCache,
  commit: string,
): Promise<ReadonlyMap<string, SnapshotFile> | undefined> {
  const root = join(cache.snapshots, commit);
  const files = new Map<string, SnapshotFile>();
  const visit = async (prefix: string, depth: number): Promise<void> => {
    for (const entry of await readdir(join(root, prefix), { withFileTypes: true })) {
      const path = prefix === '' ? entry.name : `${prefix}/${entry.name}`;
      if (entry.isDirectory()) {
        if (depth < kMaxDepth) await visit(path, depth + 1);
      } else if (files.size < kMaxNames && !entry.name.endsWith('.tmp')) {
        files.set(path, await snapshotFile(join(root, path)));
      }
    }
  };
  const info = await stat(root).catch(() => undefined);
  if (info?.isDirectory() !== true) return undefined;
  await visit('', 0);
  return files;
}

async function snapshotFile(path: string): Promise<SnapshotFile> {
  const info = await stat(path).catch(() => undefined);
  const target = await readlink(path).catch(() => undefined);
  const inBlobs = target !== undefined && basename(dirname(target)) === 'blobs';
  return { size: info?.isFile() ? info.size : undefined, hash: inBlobs ? blobHash(basename(target)) : undefined };
}
