/** Files written whole or not at all: a temporary file beside the place takes its name at the end. */
import { randomBytes } from 'node:crypto';
import { type FileHandle, link, open, rename, rm, stat, statfs } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { InputError, VerdantError } from '../errors.js';

const kPiece = 16 << 20;

/** Writes all bytes, in pieces that one call of the system takes. */
export async function writeAll(file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length; )
    at += (await file.write(bytes, at, Math.min(kPiece, bytes.length - at))).bytesWritten;
}

function taken(file: string, cause?: unknown): InputError {
  return new InputError('the file exists', { file, hint: 'Choose another name, or allow it: --overwrite', cause });
}

function notWritable(file: string, cause: unknown): InputError {
  const found = (cause as { code?: string }).code;
  return new InputError('cannot write there', { file, expected: 'a folder that can be written', found, cause });
}

/** The place is free, or may be replaced, and has room for `total` bytes. Throws InputError. */
export async function checkPlace(path: string, overwrite: boolean, total = 0): Promise<void> {
  const there = await stat(path).catch(() => undefined);
  if (there?.isFile() === false)
    throw new InputError('cannot write there', {
      file: path,
      expected: 'a file, or a new name',
      found: there.isDirectory() ? 'a folder' : 'something else',
    });
  if (there !== undefined && !overwrite) throw taken(path);
  const space = await statfs(dirname(resolve(path))).catch((cause: unknown) => {
    throw notWritable(path, cause);
  });
  const free = space.bavail * space.bsize;
  if (total > free)
    throw new InputError('the disk is full', { file: path, expected: `room for ${total} bytes`, found: free });
}

/** What the file system says, in words; errors of ours pass. */
function failed(path: string, total: number, cause: unknown): unknown {
  const code = (cause as { code?: string }).code;
  if (cause instanceof VerdantError || code === undefined || (cause as Error).name === 'AbortError') return cause;
  if (code !== 'ENOSPC' && code !== 'EDQUOT' && code !== 'EFBIG')
    return new InputError('cannot write the file', { file: path, found: code, cause });
  return new InputError('the disk is full', { file: path, expected: `room for ${total} bytes`, found: code, cause });
}

/** The name of a file outlives a power cut once its folder is on the disk; not every system can say so. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r').catch(() => undefined);
  await handle?.sync().catch(() => undefined);
  await handle?.close();
}

/** A second name refuses a place that another writer took meanwhile; some file systems have no second names. */
async function takeName(temporary: string, path: string, overwrite: boolean): Promise<void> {
  if (!overwrite) {
    const code = await link(temporary, path).then(
      () => undefined,
      (cause: unknown) => (cause as { code?: string }).code ?? 'unknown',
    );
    if (code === undefined) return rm(temporary, { force: true });
    if (code === 'EEXIST') throw taken(path);
  }
  await checkPlace(path, overwrite);
  await rename(temporary, path);
}

/**
 * `fill` writes `total` bytes to a temporary file, which then takes the place. Throws InputError: the name is taken, the
 * folder cannot be written, the disk is full; and what `fill` throws. Nothing is left of a file that failed.
 */
export async function writeWhole(
  path: string,
  { overwrite, total }: { readonly overwrite: boolean; readonly total: number },
  fill: (file: FileHandle) => Promise<void>,
): Promise<void> {
  await checkPlace(path, overwrite, total);
  const temporary = join(dirname(path), `.${basename(path)}.${randomBytes(6).toString('hex')}.tmp`);
  const file = await open(temporary, 'wx').catch((cause: unknown) => {
    throw notWritable(path, cause);
  });
  try {
    await fill(file)
      .then(() => file.sync())
      .finally(() => file.close());
    await takeName(temporary, path, overwrite);
  } catch (cause) {
    await rm(temporary, { force: true });
    throw failed(path, total, cause);
  }
  await syncFolder(dirname(resolve(path)));
}
