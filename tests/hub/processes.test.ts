import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Lock } from '../../lib/hub/lock.js';
import { pullWith } from '../../lib/hub/pull.js';
import { FakeHub, noise, sha256 } from './fake_hub.js';
import { checkBlobs, compileChild, kQuick, modelFiles, removeFolders, startChild, tempFolder } from './support.js';

const kSize = 4 << 20;
const kRepo = 'owner/model';
let hub: FakeHub;
let cacheDir: string;
let script: string;
let remove: () => Promise<void>;

beforeAll(async () => {
  hub = await FakeHub.start();
  ({ script, remove } = await compileChild());
});
afterAll(async () => {
  await hub.close();
  await remove();
  await removeFolders();
});
beforeEach(async () => {
  hub.reset();
  hub.put(kRepo, modelFiles(kSize));
  cacheDir = await tempFolder();
});

const options = (): object => ({ cacheDir, endpoint: hub.url, offline: false });
const folder = (): string => join(cacheDir, 'models--owner--model');
const weights = sha256(noise(kSize, 1));

describe('processes', () => {
  it('survives ten kills at any point: blobs stay valid, the rest is fetched, nothing is printed', async () => {
    hub.fault = (seen) => (seen.server === 'storage' ? { slowMs: 1 } : undefined);
    for (let kill = 0; kill < 10; kill++) {
      const child = startChild(script, [kRepo, options(), kQuick]);
      const bytes = hub.sent + Math.random() * (1 << 20);
      // Sometimes before a byte came, sometimes right in the stream.
      if (kill === 3) setTimeout(() => child.process.kill('SIGKILL'), 250);
      hub.onSent = (sent) => {
        if (sent >= bytes) child.process.kill('SIGKILL');
      };
      await child.answer;
      hub.onSent = () => {};
      await checkBlobs(folder());
    }
    const child = startChild(script, [kRepo, options(), kQuick]);
    const answer = await child.answer;
    expect(answer).toMatchObject({ revision: hub.commit(kRepo) });
    expect(child.noise()).toBe('');
    expect(await checkBlobs(folder())).toContain(weights);
    expect((await readdir(join(folder(), 'blobs'))).filter((name) => name.endsWith('.incomplete'))).toEqual([]);
    const snapshot = join(folder(), 'snapshots', hub.commit(kRepo), 'model.safetensors');
    expect((await readFile(snapshot)).equals(noise(kSize, 1))).toBe(true);
    const ranges = hub.seen.filter((seen) => seen.path.endsWith(weights)).map((seen) => seen.range);
    expect(ranges.filter((range) => range !== undefined).length).toBeGreaterThan(0);
  });

  it('lets two processes share one download', async () => {
    hub.fault = (seen) => (seen.server === 'storage' ? { slowMs: 5 } : undefined);
    const children = [1, 2].map(() => startChild(script, [kRepo, options(), kQuick]));
    const [first, second] = await Promise.all(children.map((child) => child.answer));
    expect(first).toMatchObject({ revision: hub.commit(kRepo) });
    expect(second).toEqual(first);
    expect(hub.seen.filter((seen) => seen.path.endsWith(weights))).toHaveLength(1);
    expect(await checkBlobs(folder())).toHaveLength(5);
  });

  it('lets calls of one process share one download', async () => {
    const answers = await Promise.all([1, 2, 3].map(() => pullWith(kRepo, options(), kQuick)));
    expect(answers[1]).toEqual(answers[0]);
    expect(answers[2]).toEqual(answers[0]);
    expect(hub.seen.filter((seen) => seen.path.endsWith(weights))).toHaveLength(1);
  });

  it.skipIf(process.platform === 'win32')('ends in a typed error on a full disk, and goes on later', async () => {
    const child = startChild(script, [kRepo, options(), kQuick], 4096);
    expect(await child.answer).toMatchObject({
      code: 'ERR_HUB',
      message: expect.stringMatching(/no space for the model in the cache.*EFBIG.*HF_HUB_CACHE/),
    });
    const { size } = await stat(join(folder(), 'blobs', `${weights}.incomplete`));
    expect(size).toBeGreaterThan(0);
    expect(await checkBlobs(folder())).not.toContain(weights);
    hub.reset();
    await pullWith(kRepo, options(), kQuick);
    expect(hub.seen.filter((seen) => seen.path.endsWith(weights)).map((seen) => seen.range)).toEqual([
      `bytes=${size}-`,
    ]);
    expect(await checkBlobs(folder())).toContain(weights);
  });
});

describe('Lock', () => {
  const free = new AbortController().signal;

  it('has one holder at a time', async () => {
    const path = join(cacheDir, 'a.lock');
    let [holders, most] = [0, 0];
    const enter = async (): Promise<void> => {
      const lock = await Lock.acquire(path, 1000, free);
      most = Math.max(most, ++holders);
      await new Promise((done) => setTimeout(done, 5));
      holders--;
      await lock.release();
    };
    await Promise.all(Array.from({ length: 8 }, enter));
    expect(most).toBe(1);
    expect(await readdir(cacheDir)).toEqual([]);
  });

  it('is taken over from a silent owner, who then learns of it, and not from a living one', async () => {
    const path = join(cacheDir, 'a.lock');
    const lock = await Lock.acquire(path, 60_000, free);
    await expect(Lock.acquire(path, 60_000, AbortSignal.timeout(200))).rejects.toMatchObject({ name: 'AbortError' });
    await new Promise((done) => setTimeout(done, 120));
    const next = await Lock.acquire(path, 50, free);
    await expect(lock.check()).rejects.toThrow(/took the download over/);
    await lock.release();
    await next.check();
    await next.release();
  });
});
