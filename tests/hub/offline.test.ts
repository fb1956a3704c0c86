import { mkdir, readdir, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { HubError, ModelNotFoundError } from '../../lib/errors.js';
import { type Pulled, pullWith } from '../../lib/hub/pull.js';
import { resolveWith } from '../../lib/hub/resolve.js';
import type { PullOptions } from '../../lib/hub/settings.js';
import { FakeHub, noise, sha256 } from './fake_hub.js';
import { kQuick, modelFiles, removeFolders, tempFolder } from './support.js';

const kRepo = 'owner/model';
let hub: FakeHub;
/** An address where nobody listens any more. */
let dead: string;
let cacheDir: string;

beforeAll(async () => {
  hub = await FakeHub.start();
  const gone = await FakeHub.start();
  dead = gone.url;
  await gone.close();
});
afterAll(async () => {
  await hub.close();
  await removeFolders();
});
afterEach(() => {
  vi.unstubAllEnvs();
});
beforeEach(async () => {
  hub.reset();
  hub.put(kRepo, modelFiles(20_000));
  cacheDir = await tempFolder();
});

const get = (id: string, options: PullOptions = {}): Promise<Pulled> =>
  pullWith(id, { cacheDir, endpoint: hub.url, ...options }, kQuick);
const find = (id: string, options: PullOptions = {}): Promise<string> =>
  resolveWith(id, { cacheDir, endpoint: hub.url, ...options }, kQuick);
const folder = (): string => join(cacheDir, 'models--owner--model');

describe('offline', () => {
  it('gives the cached snapshot by branch and by commit, and asks nothing of the network', async () => {
    const online = await get(kRepo);
    await get(`${kRepo}@v1`);
    hub.reset();
    for (const id of [kRepo, `${kRepo}@v1`, `${kRepo}@${hub.commit(kRepo)}`]) {
      const offline = await get(id, { offline: true });
      expect({ ...offline, files: offline.files.sort() }).toEqual({ ...online, files: [...online.files].sort() });
    }
    vi.stubEnv('HF_HUB_OFFLINE', '1');
    expect((await get(kRepo)).path).toBe(online.path);
    expect(hub.seen).toEqual([]);
  });

  it('says what is not cached, where it looked and what to try', async () => {
    const failure = get(kRepo, { offline: true });
    await expect(failure).rejects.toThrow(ModelNotFoundError);
    await expect(get(kRepo, { offline: true })).rejects.toThrow(
      `cannot reach the hub in offline mode, and owner/model@main is not cached; expected a snapshot; looked in ${folder()}. Try`,
    );
    await get(kRepo);
    await expect(get(`${kRepo}@v2`, { offline: true })).rejects.toThrow(/owner\/model@v2 is not cached/);
  });

  it('names the files that a snapshot lacks', async () => {
    const { path } = await get(kRepo);
    await rm(join(folder(), 'blobs', sha256(noise(20_000, 1))));
    await expect(get(kRepo, { offline: true })).rejects.toThrow(/lacks files; expected model\.safetensors;/);
    await rm(join(path, 'model.safetensors'));
    await rm(join(path, 'config.json'));
    await expect(get(kRepo, { offline: true })).rejects.toThrow(/config\.json, weights \(model\.safetensors, /);
    await expect(get(`${kRepo}:a.gguf`, { offline: true })).rejects.toThrow(/a\.gguf/);
    const map = { a: 'model-00001-of-00002.safetensors', b: 'model-00002-of-00002.safetensors' };
    hub.put('owner/model', {
      'config.json': '{}',
      'model.safetensors.index.json': JSON.stringify({ weight_map: map }),
      [map.a]: noise(9000, 5),
      [map.b]: noise(9000, 6),
    });
    await rm(join((await get(kRepo)).path, map.b));
    await expect(get(kRepo, { offline: true })).rejects.toThrow(`expected ${map.b};`);
  });

  it('tells an unreachable hub from an absent model', async () => {
    await expect(get(kRepo, { endpoint: dead })).rejects.toThrow(ModelNotFoundError);
    await expect(get(kRepo, { endpoint: dead })).rejects.toThrow(
      /cannot reach the hub at http:\/\/127\.0\.0\.1:\d+ and owner\/model@main is not cached; expected a snapshot; looked in/,
    );
    const { path } = await get(kRepo);
    const failure = await get(kRepo, { endpoint: dead }).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(HubError);
    expect((failure as Error).message).toContain(`offline mode (HF_HUB_OFFLINE=1) uses ${path}`);
  });

  it('keeps the old snapshot in force until a new one is complete', async () => {
    const old = await get(kRepo);
    hub.put(kRepo, modelFiles(30_000));
    hub.fault = (seen) => (seen.server === 'storage' ? { status: 404 } : undefined);
    await expect(get(kRepo)).rejects.toThrow();
    expect((await get(kRepo, { offline: true })).path).toBe(old.path);
    hub.reset();
    const fresh = await get(kRepo);
    expect(fresh.path).not.toBe(old.path);
    expect((await get(kRepo, { offline: true })).path).toBe(fresh.path);
  });

  it('reads a cache that was written by another tool or copied without links', async () => {
    const commit = '0123456789abcdef0123456789abcdef01234567';
    const snapshot = join(folder(), 'snapshots', commit);
    const content = noise(5000, 1);
    await mkdir(snapshot, { recursive: true });
    await mkdir(join(folder(), 'blobs'));
    await mkdir(join(folder(), 'refs'));
    await writeFile(join(folder(), 'refs', 'main'), commit);
    await writeFile(join(snapshot, 'config.json'), '{}');
    await writeFile(join(folder(), 'blobs', sha256(content)), content);
    await symlink(join('..', '..', 'blobs', sha256(content)), join(snapshot, 'model.safetensors'));
    const found = await get(kRepo, { offline: true });
    expect(found).toEqual({
      path: snapshot,
      revision: commit,
      files: ['config.json', 'model.safetensors'],
      bytes: 5002,
    });
  });

  it('uses the environment for cache, endpoint and token', async () => {
    vi.stubEnv('HF_HUB_CACHE', '');
    vi.stubEnv('HUGGINGFACE_HUB_CACHE', '');
    vi.stubEnv('HF_HUB_OFFLINE', '0');
    vi.stubEnv('HF_TOKEN', '');
    vi.stubEnv('HUGGING_FACE_HUB_TOKEN', '');
    vi.stubEnv('HF_TOKEN_PATH', '');
    vi.stubEnv('HF_HOME', cacheDir);
    vi.stubEnv('HF_ENDPOINT', `${hub.url}/`);
    await writeFile(join(cacheDir, 'token'), 'from-file\n');
    const { path } = await pullWith(kRepo, {}, kQuick);
    expect(path.startsWith(join(cacheDir, 'hub', 'models--owner--model'))).toBe(true);
    const tokens = new Set(hub.seen.filter((seen) => seen.server === 'hub').map((seen) => seen.authorization));
    expect([...tokens]).toEqual(['Bearer from-file']);
  });
});

describe('resolveModel', () => {
  it('prefers a path, then the cache, then the hub', async () => {
    const local = join(cacheDir, 'my-model');
    await mkdir(local);
    expect(await find(local)).toBe(local);
    const path = await find(kRepo);
    expect(path).toBe(join(folder(), 'snapshots', hub.commit(kRepo)));
    hub.reset();
    expect(await find(kRepo)).toBe(path);
    expect(hub.seen).toEqual([]);
    await rename(path, `${path}-away`);
    expect(await find(kRepo)).toBe(path);
    await writeFile(join(folder(), 'blobs', sha256(noise(20_000, 1))), 'damaged');
    expect(await find(kRepo)).toBe(path);
    expect((await stat(join(path, 'model.safetensors'))).size).toBe(20_000);
    hub.put(kRepo, { 'm-Q8_0.gguf': noise(2000, 1), 'm-Q4_0.gguf': noise(2000, 2) });
    expect(await find(`${kRepo}@${hub.commit(kRepo)}:m-Q4_0.gguf`)).toMatch(/m-Q4_0\.gguf$/);
  });

  it('names what is near', async () => {
    for (const name of ['tinystories', 'gpt2', '.hidden']) await mkdir(join(cacheDir, name));
    await writeFile(join(cacheDir, 'model.gguf'), '');
    await writeFile(join(cacheDir, 'notes.txt'), '');
    const wanted = join(cacheDir, 'tinystorys');
    await expect(find(wanted)).rejects.toThrow(ModelNotFoundError);
    await expect(find(wanted)).rejects.toThrow(
      `no such file or folder. Nearest names that exist: ${join(cacheDir, 'tinystories')}, `,
    );
    await expect(find(wanted)).rejects.not.toThrow(/notes\.txt|hidden/);
    await get(kRepo);
    await expect(find('owner/modle')).rejects.toThrow(/no such path, and on the hub: owner\/modle@main.*owner\/model/);
    await expect(find('owner/modle', { offline: true })).rejects.toThrow(/offline mode.*Nearest.*owner\/model/);
    for (const bad of ['', 'a\0b']) await expect(find(bad)).rejects.toThrow(ModelNotFoundError);
    hub.reset();
    for (const path of ['./owner/none', '../x/y', 'models/none.gguf', 'gpt3']) {
      await expect(find(path)).rejects.toThrow(/no such file or folder/);
    }
    expect(hub.seen).toEqual([]);
    expect((await readdir(cacheDir)).includes('models--owner--modle')).toBe(false);
  });
});
