import { lstat, mkdir, readdir, readFile, readlink, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { HubError, ModelNotFoundError, OptionError, UnsupportedError } from '../../lib/errors.js';
import type { PullProgress } from '../../lib/hub/index.js';
import { type Pulled, pullWith } from '../../lib/hub/pull.js';
import type { PullOptions } from '../../lib/hub/settings.js';
import { FakeHub, type Fault, noise, sha256 } from './fake_hub.js';
import { checkBlobs, kQuick, modelFiles, removeFolders, tempFolder } from './support.js';

const kSize = 1_500_000;
const kRepo = 'some-owner/tiny.model';
let hub: FakeHub;
let cacheDir: string;

beforeAll(async () => {
  hub = await FakeHub.start();
});
afterAll(async () => {
  await hub.close();
  await removeFolders();
});
beforeEach(async () => {
  hub.reset();
  hub.repos.clear();
  hub.put(kRepo, modelFiles(kSize));
  cacheDir = await tempFolder();
});

function get(id: string = kRepo, options: PullOptions = {}): Promise<Pulled> {
  return pullWith(id, { cacheDir, endpoint: hub.url, token: 'secret', offline: false, ...options }, kQuick);
}
const folder = (repo = kRepo): string => join(cacheDir, `models--${repo.replace('/', '--')}`);
const weights = (): string => sha256(noise(kSize, 1));
const storageCalls = (): string[] =>
  hub.seen.filter((seen) => seen.server === 'storage' && seen.path.endsWith(weights())).map((s) => s.range ?? 'all');
/** Makes the first `times` answers for the weights fail. */
function breakWeights(fault: Fault, times = 1): void {
  let left = times;
  hub.fault = (seen) => (seen.server === 'storage' && seen.path.endsWith(weights()) && left-- > 0 ? fault : undefined);
}

describe('what a pull takes and where it puts it', () => {
  it('takes the files a model needs, in the shared layout, and fetches nothing twice', async () => {
    const seen: PullProgress[] = [];
    const answer = await get(kRepo, { onProgress: (progress) => seen.push(progress) });
    const commit = hub.commit(kRepo);
    expect(answer.revision).toBe(commit);
    expect(answer.path).toBe(join(folder(), 'snapshots', commit));
    const files = [
      'config.json',
      'generation_config.json',
      'model.safetensors',
      'tokenizer.json',
      'tokenizer_config.json',
    ];
    expect([...answer.files].sort()).toEqual(files);
    expect((await readdir(answer.path)).sort()).toEqual(files);
    expect(await readFile(join(folder(), 'refs', 'main'), 'utf8')).toBe(commit);
    expect(await readlink(join(answer.path, 'model.safetensors'))).toBe(join('..', '..', 'blobs', weights()));
    expect(await checkBlobs(folder())).toHaveLength(5);
    expect((await readFile(join(answer.path, 'model.safetensors'))).equals(noise(kSize, 1))).toBe(true);
    expect(seen.at(-1)).toMatchObject({ done: answer.bytes, total: answer.bytes, filesDone: 5, files: 5 });
    hub.reset();
    expect(await get()).toEqual(answer);
    expect(hub.seen.filter((one) => one.path.includes('/resolve/') || one.server === 'storage')).toEqual([]);
  });

  it('keeps the token with the hub', async () => {
    await get();
    const given = (server: string): unknown[] => [
      ...new Set(hub.seen.filter((one) => one.server === server).map((one) => one.authorization)),
    ];
    expect(given('hub')).toEqual(['Bearer secret']);
    expect(given('storage')).toEqual([undefined]);
  });

  it('takes the shards that the index names', async () => {
    const map = { a: 'model-00001-of-00002.safetensors', b: 'model-00002-of-00002.safetensors' };
    hub.put(kRepo, {
      'config.json': '{}',
      'model.safetensors.index.json': JSON.stringify({ weight_map: map }),
      [map.a]: noise(9000, 5),
      [map.b]: noise(9000, 6),
      'consolidated.safetensors': noise(9000, 7),
    });
    const { path, files } = await get();
    expect(files).toEqual(['config.json', 'model.safetensors.index.json', map.a, map.b]);
    expect((await readdir(path)).sort()).toEqual([...files].sort());
  });

  it('takes pytorch_model.bin, whole or in shards, where there is nothing else', async () => {
    const small = {
      'config.json': '{}',
      'source.spm': noise(50, 2),
      'target.spm': noise(50, 3),
      'target_vocab.json': '{}',
    };
    const pickled = { ...small, 'tf_model.h5': noise(80, 4), 'pytorch_model.bin': noise(2000, 1) };
    hub.put(kRepo, pickled);
    const { path, files } = await get();
    expect([...files].sort()).toEqual([...Object.keys(small), 'pytorch_model.bin'].sort());
    expect((await get(kRepo, { offline: true })).path).toBe(path);
    hub.put(kRepo, { ...pickled, 'model.safetensors': noise(900, 5) });
    expect((await get()).files).not.toContain('pytorch_model.bin');
    const map = { a: 'pytorch_model-00001-of-00002.bin', b: 'pytorch_model-00002-of-00002.bin' };
    const index = 'pytorch_model.bin.index.json';
    const shards = { [map.a]: noise(90, 6), [map.b]: noise(90, 7) };
    hub.put(kRepo, { 'config.json': '{}', [index]: JSON.stringify({ weight_map: map }), ...shards });
    expect((await get()).files).toEqual(['config.json', index, map.a, map.b]);
    hub.put(kRepo, { 'config.json': '{}', [index]: JSON.stringify({ weight_map: { a: 'model.safetensors' } }) });
    await expect(get()).rejects.toThrow(/the index names an unsafe file.*a \.bin file/);
  });

  it.each([['../x.safetensors'], ['/etc/passwd'], ['a/b.safetensors'], ['C:\\x.safetensors'], [7], ['x.bin']])(
    'refuses an index that names %s',
    async (shard) => {
      const index = JSON.stringify({ weight_map: { a: shard } });
      hub.put(kRepo, { 'config.json': '{}', 'model.safetensors.index.json': index });
      await expect(get()).rejects.toThrow(/the index names an unsafe file/);
    },
  );

  it('takes one GGUF file by name, tag or because it is the only one', async () => {
    hub.put(kRepo, {
      'm-Q4_K_S.gguf': noise(2000, 1),
      'm-Q4_K.gguf': noise(2000, 2),
      'sub/m-Q8_0.gguf': noise(2000, 3),
    });
    await expect(get()).rejects.toThrow(OptionError);
    await expect(get()).rejects.toThrow(/m-Q4_K_S\.gguf, m-Q4_K\.gguf, sub\/m-Q8_0\.gguf/);
    const root = join(folder(), 'snapshots', hub.commit(kRepo));
    expect((await get(`${kRepo}:m-Q4_K_S.gguf`)).path).toBe(join(root, 'm-Q4_K_S.gguf'));
    expect((await get(`${kRepo}:q4_k`)).path).toBe(join(root, 'm-Q4_K.gguf'));
    const nested = await get(kRepo, { gguf: 'm-Q8_0.gguf' });
    expect(nested.path).toBe(join(root, 'sub', 'm-Q8_0.gguf'));
    expect((await readFile(nested.path)).equals(noise(2000, 3))).toBe(true);
    await expect(get(`${kRepo}:Q5_1`)).rejects.toThrow(/no such GGUF file/);
    hub.put(kRepo, { 'm.gguf': noise(2000, 4), 'mmproj-m.gguf': noise(2000, 5) });
    expect((await get()).files).toEqual(['m.gguf']);
  });

  it('refuses what holds no weights that it reads, and says what is there', async () => {
    hub.put(kRepo, { 'config.json': '{}', 'tf_model.h5': noise(2000, 1) });
    await expect(get()).rejects.toThrow(UnsupportedError);
    await expect(get()).rejects.toThrow(
      /expected model\.safetensors, .*pytorch_model\.bin.*found .*config\.json, tf_model\.h5/,
    );
    hub.put(kRepo, { 'm-00001-of-00002.gguf': noise(2000, 1) });
    await expect(get()).rejects.toThrow(/GGUF in several parts/);
  });
});

describe('broken connections', () => {
  it('fetches only the rest after a drop', async () => {
    breakWeights({ dropAfter: 600_000 });
    await get();
    const calls = storageCalls();
    expect(calls).toHaveLength(2);
    const from = Number(/^bytes=(\d+)-$/.exec(calls[1]!)![1]);
    expect(from).toBeGreaterThan(0);
    expect(from).toBeLessThanOrEqual(600_000);
    await checkBlobs(folder());
  });

  it('continues what another tool left, and starts again when that is wrong', async () => {
    const incomplete = join(folder(), 'blobs', `${weights()}.incomplete`);
    await mkdir(join(folder(), 'blobs'), { recursive: true });
    await writeFile(incomplete, noise(kSize, 1).subarray(0, 1_000_000));
    await get();
    expect(storageCalls()).toEqual(['bytes=1000000-']);
    cacheDir = await tempFolder();
    hub.reset();
    await mkdir(join(folder(), 'blobs'), { recursive: true });
    await writeFile(join(folder(), 'blobs', `${weights()}.incomplete`), Buffer.alloc(1_000_000));
    await get();
    expect(storageCalls()).toEqual(['bytes=1000000-', 'all']);
    expect(await checkBlobs(folder())).toContain(weights());
  });

  it('starts again with a server without ranges, and when the stored version changes on the way', async () => {
    let calls = 0;
    hub.fault = (seen) =>
      seen.path.endsWith(weights()) ? (calls++ === 0 ? { dropAfter: 400_000 } : { noRange: true }) : undefined;
    await get();
    expect(calls).toBe(2);
    cacheDir = await tempFolder();
    hub.reset();
    calls = 0;
    hub.fault = (seen) => {
      if (!seen.path.endsWith(weights())) return undefined;
      return calls++ === 0 ? { dropAfter: 400_000, etag: 'old', replace: noise(kSize, 9) } : { etag: 'new' };
    };
    await get();
    expect(storageCalls().at(-1)).toBe('all');
    expect(await checkBlobs(folder())).toContain(weights());
  });

  it('waits and tries again on 429 and 5xx, and gives up with a typed error', async () => {
    const left = [429, 500, 503];
    hub.fault = (seen) => {
      const status = seen.path.endsWith('config.json') || seen.path.includes('/tree/') ? left.pop() : undefined;
      return status === undefined ? undefined : { status, headers: { 'retry-after': '0' } };
    };
    await get();
    expect(left).toEqual([]);
    cacheDir = await tempFolder();
    hub.fault = (seen) => (seen.server === 'storage' ? { status: 502 } : undefined);
    await expect(get()).rejects.toThrow(/the hub has a problem.*HTTP 502/);
  });

  it('gives up a connection that stalls', async () => {
    breakWeights({ slowMs: 3000 });
    await pullWith(kRepo, { cacheDir, endpoint: hub.url, offline: false }, { ...kQuick, retries: 9, stallMs: 400 });
    expect(storageCalls().length).toBeGreaterThanOrEqual(2);
  });

  it('stops at an AbortSignal at once and keeps what it has', async () => {
    const stop = new AbortController();
    hub.fault = (seen) => (seen.server === 'storage' ? { slowMs: 20 } : undefined);
    hub.onSent = (sent) => {
      if (sent > 400_000) stop.abort(new Error('enough'));
    };
    const failure = await get(kRepo, { signal: stop.signal }).catch((error: unknown) => error);
    expect(failure).toMatchObject({ name: 'AbortError', code: 'ERR_ABORTED' });
    expect((await stat(join(folder(), 'blobs', `${weights()}.incomplete`))).size).toBeGreaterThan(100_000);
    await expect(readFile(join(folder(), 'refs', 'main'))).rejects.toThrow();
    hub.reset();
    await get();
    expect(storageCalls()[0]).toMatch(/^bytes=\d+-$/);
    await expect(get(kRepo, { signal: AbortSignal.abort() })).rejects.toMatchObject({ name: 'AbortError' });
  });
});

describe('wrong content', () => {
  const cases: [string, Fault, RegExp][] = [
    ['other bytes', { replace: noise(kSize, 8) }, /another sha256 hash/],
    ['a web page', { replace: Buffer.from('<html>'), headers: { 'content-type': 'text/html' } }, /a web page/],
    ['a shorter file', { replace: noise(kSize - 1, 1) }, /wrong length.*expected 1500000 bytes; found 1499999 bytes/],
    ['a longer file', { replace: noise(kSize + 1, 1) }, /wrong length/],
    ['an endless file', { replace: noise(kSize * 2, 1), unsized: true }, /more than it declares/],
    [
      'a short file of no stated length',
      { replace: noise(kSize - 1, 1), unsized: true },
      /hash|ends early|another range/,
    ],
  ];
  it.each(cases)('refuses %s and leaves the cache as it was', async (_name, fault, message) => {
    breakWeights(fault, 99);
    const failure = await get().catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(HubError);
    expect((failure as Error).message).toMatch(message);
    expect((failure as Error).message).toMatch(/model\.safetensors/);
    expect(await checkBlobs(folder())).not.toContain(weights());
    await expect(stat(join(folder(), 'refs'))).rejects.toThrow();
    hub.reset();
    await get();
    expect(await checkBlobs(folder())).toContain(weights());
  });

  it('asks again when a file has another ETag than its listing, and refuses when they go on to differ', async () => {
    const old = hub.repos.get(kRepo)!.get('model.safetensors')!;
    const fresh = noise(kSize, 12);
    hub.fault = (seen) => {
      if (seen.path.includes('/resolve/'))
        hub.repos.get(kRepo)!.set('model.safetensors', { content: fresh, lfs: true });
      return undefined;
    };
    const { path } = await get();
    expect((await readFile(join(path, 'model.safetensors'))).equals(fresh)).toBe(true);
    hub.repos.get(kRepo)!.set('model.safetensors', old);
    cacheDir = await tempFolder();
    hub.fault = (seen) => (seen.path.endsWith('/model.safetensors') ? { etag: 'a'.repeat(64) } : undefined);
    await expect(get()).rejects.toThrow(/disagree about the ETag/);
  });

  it('replaces a damaged blob', async () => {
    const { path } = await get();
    const damaged = Buffer.from(noise(kSize, 1));
    damaged[77] = damaged[77]! ^ 1;
    await writeFile(join(folder(), 'blobs', weights()), damaged);
    await expect(get(kRepo, { offline: true })).rejects.toMatchObject({ code: 'ERR_FILE_CORRUPT' });
    await get();
    expect((await readFile(join(path, 'model.safetensors'))).equals(noise(kSize, 1))).toBe(true);
  });

  it.each([['../../evil.gguf'], ['/etc/evil.gguf'], ['a\\..\\evil.gguf'], ['C:evil.gguf'], [''], [5]])(
    'refuses a listing with the name %s',
    async (path) => {
      hub.listing = (entries) => [...entries, { ...entries.at(-1), path }];
      await expect(get()).rejects.toThrow(/unsafe file name/);
      await expect(lstat(folder())).rejects.toThrow();
    },
  );

  it.each([
    ['hash', { lfs: { oid: '../../evil', size: 5 } }, /no usable hash/],
    ['size', { size: -1 }, /no usable size/],
    ['size', { size: '12' }, /no usable size/],
  ])('refuses a listing with a wrong %s', async (_what, change, message) => {
    hub.listing = (entries) => [...entries, { ...entries.at(-1), lfs: undefined, ...change }];
    await expect(get()).rejects.toThrow(message);
  });

  it('refuses an API that answers something else than JSON', async () => {
    hub.fault = (seen) =>
      seen.path.includes('/revision/')
        ? { status: 200, headers: { 'content-type': 'text/html' }, body: '<html>log in</html>' }
        : undefined;
    await expect(get()).rejects.toThrow(/something else than JSON/);
    for (const body of ['{', '[]', '{"sha":"../x"}', 'null']) {
      hub.fault = (seen) => (seen.path.includes('/revision/') ? { body } : undefined);
      await expect(get()).rejects.toThrow(HubError);
    }
    hub.fault = (seen) => (seen.path.includes('/tree/') ? { body: '{"a":1}' } : undefined);
    await expect(get()).rejects.toThrow(/malformed answer/);
  });

  it('does not follow a redirect away from http, nor in circles', async () => {
    const to = (location: string): void => {
      hub.fault = (seen) => (seen.path.includes('/resolve/') ? { status: 302, headers: { location } } : undefined);
    };
    to('file:///etc/passwd');
    await expect(get()).rejects.toThrow(/redirect leads nowhere safe/);
    to(`${hub.url}/${kRepo}/resolve/main/again`);
    await expect(get()).rejects.toThrow(/too many redirects/);
  });
});

describe('refusals', () => {
  const status = (code: number, header: string): void => {
    hub.fault = () => ({ status: code, headers: { 'x-error-code': header } });
  };
  it('names the model, the revision and what to do', async () => {
    await expect(get('some-owner/absent')).rejects.toThrow(ModelNotFoundError);
    await expect(get('some-owner/absent')).rejects.toThrow(
      /some-owner\/absent@main: the hub has no such model.*HF_TOKEN/,
    );
    await expect(get(`${kRepo}@no-such`)).rejects.toThrow(/no such revision/);
    status(403, 'GatedRepo');
    await expect(get()).rejects.toThrow(/gated.*Accept its terms at http.*HF_TOKEN/);
    status(401, '');
    await expect(get()).rejects.toThrow(/access token.*the token is not accepted/);
  });

  it.each([['..'], ['a/../b'], ['a/b/c'], ['a--b/c'], ['a/b@../x'], ['a/b:../x.gguf'], ['a/b@x:/y'], [''], ['.a/b']])(
    'refuses the id %s',
    async (id) => {
      await expect(get(id)).rejects.toThrow(OptionError);
      expect(hub.seen).toEqual([]);
    },
  );

  it('refuses wrong options', async () => {
    await expect(get(kRepo, { revision: '../x' })).rejects.toThrow(OptionError);
    await expect(get(`${kRepo}@v1`, { revision: 'v2' })).rejects.toThrow(/option revision/);
    await expect(get(kRepo, { endpoint: 'ftp://x' })).rejects.toThrow(/endpoint/);
    await expect(get(kRepo, { token: 'a\nb' })).rejects.toThrow(/access token/);
  });
});
