/** What a repository holds, through `@huggingface/hub`; every field of the answer is checked before use. */
import { HubError, VerdantError } from '../errors.js';
import { type BlobHash, isCommit, isHostilePath, requireBlobHash } from './names.js';
import { aborted, type Transport } from './transport.js';

const kMaxEntries = 200_000;

/** One file of a repository. */
export interface RemoteFile {
  readonly path: string;
  /** Bytes. */
  readonly size: number;
  readonly hash: BlobHash;
}

export interface Listing {
  readonly commit: string;
  readonly files: ReadonlyMap<string, RemoteFile>;
}

/** The library throws bare errors for answers of another shape than it expects. */
async function guarded<T>(transport: Transport, what: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (cause) {
    if (cause instanceof VerdantError) throw cause;
    if (transport.signal.aborted) throw aborted(transport.signal);
    throw new HubError(`${what}: the hub sends a malformed answer`, {
      name: what,
      found: (cause as Error).message,
      cause,
    });
  }
}

interface Entry {
  readonly type?: unknown;
  readonly path?: unknown;
  readonly size?: unknown;
  readonly oid?: unknown;
  readonly lfs?: { readonly oid?: unknown; readonly size?: unknown } | null | undefined;
}

function checkEntry(entry: Entry, what: string): RemoteFile | undefined {
  const { path, type } = entry;
  if (typeof path !== 'string' || isHostilePath(path)) {
    const hint = 'The repository is not to be trusted';
    throw new HubError(`${what}: the repository lists an unsafe file name`, { name: what, found: path, hint });
  }
  if (type !== 'file') return undefined;
  const size = entry.lfs?.size ?? entry.size;
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) {
    throw new HubError(`${what}: the hub gives no usable size`, {
      name: what,
      file: path,
      expected: 'bytes',
      found: size,
    });
  }
  return { path, size, hash: requireBlobHash(entry.lfs?.oid ?? entry.oid, `${what}/${path}`) };
}

/** Commit of a revision and all files at that commit. */
export async function listRepo(transport: Transport, repo: string, revision: string): Promise<Listing> {
  const what = `${repo}@${revision}`;
  const hub = await import('@huggingface/hub');
  const common = { hubUrl: transport.settings.endpoint, fetch: transport.api(what) };
  return guarded(transport, what, async () => {
    const info = await hub.modelInfo({ ...common, name: repo, revision, additionalFields: ['sha'] });
    const commit: unknown = info.sha;
    if (typeof commit !== 'string' || !isCommit(commit)) {
      throw new HubError(`${what}: the hub gives no commit`, { name: what, expected: '40 hex digits', found: commit });
    }
    const files = new Map<string, RemoteFile>();
    for await (const entry of hub.listFiles({ ...common, repo, revision: commit, recursive: true })) {
      const file = checkEntry(entry, what);
      if (file !== undefined) files.set(file.path, file);
      if (files.size > kMaxEntries)
        throw new HubError(`${what}: too many files`, { name: what, expected: kMaxEntries });
    }
    return { commit, files };
  });
}

/** Size and hash of one file as they are now: asked when its ETag is not the one that was listed. */
export async function refreshFile(
  transport: Transport,
  repo: string,
  commit: string,
  path: string,
): Promise<RemoteFile> {
  const what = `${repo}@${commit}`;
  const hub = await import('@huggingface/hub');
  const common = { hubUrl: transport.settings.endpoint, fetch: transport.api(what) };
  return guarded(transport, what, async () => {
    const infos = await hub.pathsInfo({ ...common, repo, revision: commit, paths: [path] });
    const file = infos.map((info) => checkEntry(info, what)).find((entry) => entry?.path === path);
    if (file === undefined) throw new HubError(`${what}: the file is gone from the hub`, { name: what, file: path });
    return file;
  });
}
