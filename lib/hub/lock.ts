/** A lock between processes, threads and calls: a file that names its owner and is touched while the owner lives. */
import { randomUUID } from 'node:crypto';
import { readFileSync, readlinkSync } from 'node:fs';
import { link, mkdir, open, readFile, rename, rm, stat, utimes } from 'node:fs/promises';
import { hostname } from 'node:os';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { HubError } from '../errors.js';
import { aborted } from './transport.js';

const kPollMs = 60;

interface Owner {
  readonly token: string;
  readonly pid: number;
  /** Where the pid means something: machine, boot and pid namespace. */
  readonly place: string;
}

const quietly = (read: () => string): string => {
  try {
    return read();
  } catch {
    return '';
  }
};

const kPlace = [
  hostname(),
  quietly(() => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()),
  quietly(() => readlinkSync('/proc/self/ns/pid')),
].join(' ');

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (cause) {
    return (cause as { code?: string }).code === 'EPERM';
  }
}

function parseOwner(text: string): Owner | undefined {
  try {
    const { token, pid, place } = JSON.parse(text) as Partial<Owner>;
    if (typeof token !== 'string' || typeof pid !== 'number' || typeof place !== 'string') return undefined;
    return Number.isSafeInteger(pid) && pid > 0 ? { token, pid, place } : undefined;
  } catch {
    return undefined;
  }
}

/** A held lock. */
export class Lock {
  readonly #path: string;
  readonly #token: string;
  readonly #timer: NodeJS.Timeout;

  private constructor(path: string, token: string, staleMs: number) {
    this.#path = path;
    this.#token = token;
    const touch = (): void => void utimes(path, new Date(), new Date()).catch(() => undefined);
    this.#timer = setInterval(touch, Math.max(50, staleMs / 8));
    this.#timer.unref();
  }

  /** Waits for the lock; takes it over from an owner that died or gave no sign for `staleMs`. */
  static async acquire(path: string, staleMs: number, signal: AbortSignal): Promise<Lock> {
    await mkdir(dirname(path), { recursive: true });
    const owner: Owner = { token: randomUUID(), pid: process.pid, place: kPlace };
    for (;;) {
      if (signal.aborted) throw aborted(signal);
      if (await claim(path, owner)) return new Lock(path, owner.token, staleMs);
      if (await removeStale(path, staleMs)) continue;
      await sleep(kPollMs * (0.5 + Math.random()), undefined, { signal }).catch(() => {
        throw aborted(signal);
      });
    }
  }

  /** Throws `HubError` when another process took the lock over (this one slept too long). */
  async check(): Promise<void> {
    const owner = parseOwner(await readFile(this.#path, 'utf8').catch(() => ''));
    if (owner?.token === this.#token) return;
    throw new HubError('another process took the download over', { file: this.#path, hint: 'Call again' });
  }

  async release(): Promise<void> {
    clearInterval(this.#timer);
    const owner = parseOwner(await readFile(this.#path, 'utf8').catch(() => ''));
    if (owner?.token === this.#token) await rm(this.#path, { force: true });
  }
}

/** Puts the lock file there whole (a reader never sees half of it): written aside, then linked, which never replaces. */
async function claim(path: string, owner: Owner): Promise<boolean> {
  const aside = `${path}.${owner.token}`;
  const handle = await open(aside, 'w');
  try {
    await handle.writeFile(JSON.stringify(owner));
  } finally {
    await handle.close();
  }
  try {
    await link(aside, path);
    return true;
  } catch (cause) {
    const { code } = cause as { code?: string };
    if (code === 'EEXIST') return false;
    if (code === 'EPERM' || code === 'ENOTSUP' || code === 'EOPNOTSUPP' || code === 'ENOSYS') {
      return claimWithoutLinks(path, owner);
    }
    throw cause;
  } finally {
    await rm(aside, { force: true });
  }
}

/** For file systems without hard links (exFAT, some network shares). */
async function claimWithoutLinks(path: string, owner: Owner): Promise<boolean> {
  const handle = await open(path, 'wx').catch((cause: { code?: string }) => {
    if (cause.code === 'EEXIST') return undefined;
    throw cause;
  });
  if (handle === undefined) return false;
  await handle.writeFile(JSON.stringify(owner));
  await handle.close();
  return true;
}

/** Removes the lock of a dead owner: moved aside first, so that of two who try only one can remove it. */
async function removeStale(path: string, staleMs: number): Promise<boolean> {
  const info = await stat(path).catch(() => undefined);
  if (info === undefined) return true;
  const text = await readFile(path, 'utf8').catch(() => '');
  const owner = parseOwner(text);
  const dead = owner !== undefined && owner.place === kPlace && !isAlive(owner.pid);
  if (!dead && Date.now() - info.mtimeMs < staleMs) return false;
  const aside = `${path}.${randomUUID()}`;
  try {
    await rename(path, aside);
  } catch {
    return true;
  }
  // Someone else was quicker and this is already the next owner's lock: put it back.
  if ((await readFile(aside, 'utf8').catch(() => text)) !== text) await link(aside, path).catch(() => undefined);
  await rm(aside, { force: true });
  return true;
}
