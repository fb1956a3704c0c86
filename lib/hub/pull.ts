/** `pull`: brings the files that a model needs into the cache. */
import { mkdir, readFile, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { HubError, ModelNotFoundError } from '../errors.js';
import { diskError, linkBlob, type RepoCache, repoCache, writeRef } from './cache.js';
import { choose, shardsOf } from './choose.js';
import { BlobChanged, fetchBlob } from './download.js';
import { type Listing, listRepo, type RemoteFile, refreshFile } from './listing.js';
import { type RepoRef, requireRef } from './names.js';
import {
  checkPullOptions,
  kTiming,
  type PullOptions,
  type PullProgress,
  type Settings,
  settle,
  type Timing,
} from './settings.js';
import { openSnapshot, type Snapshot } from './snapshot.js';
import { aborted, isUnreachable, Transport } from './transport.js';

const kParallel = 4;
const kMaxIndex = 32 << 20;
const kMaxChanges = 2;
const kProgressMs = 100;

/** A model in the cache. */
export interface Pulled {
  /** Snapshot folder, or the GGUF file inside it. */
  readonly path: string;
  /** Commit: 40 hex digits. */
  readonly revision: string;
  /** Paths inside the repository. */
  readonly files: string[];
  /** Bytes of all files together. */
  readonly bytes: number;
}

/**
 * Downloads a model from the hub into the cache that all Hugging Face tools share; what is there and intact is kept,
 * what is half there is continued. Only the files that a model needs are taken: config, tokenizer, chat templates, and
 * safetensors, one GGUF file, or where there is neither pytorch_model.bin. `id` is `owner/name`, with `@revision` and `:file.gguf` if wanted. Every file is
 * verified by size and hash before it gets its name. With `offline` nothing is asked of the network.
 * Throws `OptionError`, `ModelNotFoundError`, `HubError`, `UnsupportedError`, `CorruptFileError`, `AbortError`.
 */
export function pull(id: string, options: PullOptions = {}): Promise<Pulled> {
  return pullWith(id, options, kTiming);
}

/** `pull` with other waiting times. */
export async function pullWith(id: string, options: PullOptions, timing: Timing): Promise<Pulled> {
  checkPullOptions(options);
  const ref = requireRef(id, options);
  const settings = await settle(options, timing);
  const cache = repoCache(settings.cacheDir, ref.repo);
  if (options.signal?.aborted) throw aborted(options.signal);
  const signal = options.signal ?? new AbortController().signal;
  try {
    if (settings.offline) return await fromCache(cache, ref, signal);
    return await new Pull(settings, cache, ref, options).run();
  } catch (cause) {
    if (options.signal?.aborted) throw aborted(options.signal);
    if (isUnreachable(cause)) throw await explainUnreachable(cause as Error, settings, cache, ref, signal);
    throw diskError(cause, cache.folder);
  }
}

type FullRef = RepoRef & { readonly revision: string };

function pulled(snapshot: Snapshot): Pulled {
  const { path, revision, files, bytes } = snapshot;
  return { path, revision, files: [...files], bytes };
}

/** The cached snapshot, verified. Throws `ModelNotFoundError` for one that is absent or lacks files. */
async function fromCache(cache: RepoCache, ref: FullRef, signal: AbortSignal): Promise<Pulled> {
  const what = `${ref.repo}@${ref.revision}`;
  const snapshot = await openSnapshot(cache, ref, signal);
  if (snapshot === undefined) {
    throw new ModelNotFoundError(`cannot reach the hub in offline mode, and ${what} is not cached`, {
      name: what,
      expected: `a snapshot; looked in ${cache.folder}`,
      hint: 'Try without offline mode (HF_HUB_OFFLINE=0), another HF_HUB_CACHE, or the path of a local folder',
    });
  }
  if (snapshot.missing.length > 0) {
    throw new ModelNotFoundError(`cannot reach the hub in offline mode, and the cached ${what} lacks files`, {
      file: snapshot.folder,
      expected: snapshot.missing.join(', '),
      found: snapshot.present.join(', ') || 'nothing',
      hint: 'Pull it again without offline mode',
    });
  }
  return pulled(snapshot);
}

async function explainUnreachable(
  cause: Error,
  settings: Settings,
  cache: RepoCache,
  ref: FullRef,
  signal: AbortSignal,
): Promise<Error> {
  const what = `${ref.repo}@${ref.revision}`;
  const { found } = (cause as HubError).facts;
  const snapshot = await openSnapshot(cache, ref, signal).catch(() => undefined);
  if (snapshot !== undefined && snapshot.missing.length === 0) {
    const hint = `A copy is cached: offline mode (HF_HUB_OFFLINE=1) uses ${snapshot.path}`;
    return new HubError(`cannot reach the hub at ${settings.endpoint} to check ${what}`, { found, hint, cause });
  }
  return new ModelNotFoundError(`cannot reach the hub at ${settings.endpoint} and ${what} is not cached`, {
    expected: `a snapshot; looked in ${cache.folder}`,
    found,
    hint: 'Check the connection and HF_ENDPOINT, try another HF_HUB_CACHE, or give the path of a local folder',
    cause,
  });
}

/** One online pull. */
class Pull {
  readonly #settings: Settings;
  readonly #cache: RepoCache;
  readonly #ref: FullRef;
  readonly #options: PullOptions;
  readonly #what: string;
  /** Ends the other downloads when one fails. */
  readonly #stop = new AbortController();
  readonly #transport: Transport;
  readonly #bytes = new Map<string, number>();
  #total = 0;
  #filesDone = 0;
  #lastReport = 0;

  constructor(settings: Settings, cache: RepoCache, ref: FullRef, options: PullOptions) {
    this.#settings = settings;
    this.#cache = cache;
    this.#ref = ref;
    this.#options = options;
    this.#what = `${ref.repo}@${ref.revision}`;
    const { signal } = options;
    this.#transport = new Transport(
      settings,
      signal ? AbortSignal.any([signal, this.#stop.signal]) : this.#stop.signal,
    );
  }

  async run(): Promise<Pulled> {
    const { repo, revision } = this.#ref;
    const listing = await listRepo(this.#transport, repo, revision);
    await mkdir(this.#cache.blobs, { recursive: true });
    const { wanted, gguf } = await this.#choose(listing);
    await this.#checkSpace(wanted);
    for (const file of wanted) this.#bytes.set(file.path, 0);
    this.#total = wanted.reduce((sum, file) => sum + file.size, 0);
    const stored = await this.#fetchAll(wanted, listing.commit);
    // Links come last and weights after all else: a snapshot that shows its weights is complete.
    for (const file of stored) await linkBlob(this.#cache, listing.commit, file.path, file.hash.hex);
    await writeRef(this.#cache, revision, listing.commit);
    const folder = join(this.#cache.snapshots, listing.commit);
    return {
      path: gguf === undefined ? folder : join(folder, gguf),
      revision: listing.commit,
      files: stored.map((file) => file.path),
      bytes: stored.reduce((sum, file) => sum + file.size, 0),
    };
  }

  /** Files to have, weights last. A sharded model's index is fetched at once: it names the shards. */
  async #choose(listing: Listing): Promise<{ wanted: RemoteFile[]; gguf: string | undefined }> {
    const choice = choose([...listing.files.keys()], this.#ref.gguf, this.#what);
    const weights = [...choice.weights];
    if (choice.index !== undefined) {
      const index = await this.#fetchOne(listing.files.get(choice.index)!, listing.commit);
      if (index.size > kMaxIndex) {
        throw new HubError('the index is too long', { file: index.path, expected: kMaxIndex, found: index.size });
      }
      const text = await readFile(join(this.#cache.blobs, index.hash.hex), 'utf8');
      weights.push(choice.index, ...shardsOf(text, `${this.#what}/${index.path}`));
    }
    const wanted = [...choice.small, ...weights].map((path) => {
      const file = listing.files.get(path);
      if (file !== undefined) return file;
      throw new HubError(`${this.#what}: the index names a shard that the repository lacks`, {
        file: choice.index,
        expected: path,
      });
    });
    return { wanted, gguf: choice.gguf };
  }

  /** Refuses early what cannot fit, so that a disk is not filled in vain. */
  async #checkSpace(wanted: readonly RemoteFile[]): Promise<void> {
    let needed = 0;
    for (const file of wanted) {
      const blob = join(this.#cache.blobs, file.hash.hex);
      if ((await stat(blob).catch(() => undefined)) !== undefined) continue;
      const part = await stat(`${blob}.incomplete`).catch(() => undefined);
      needed += Math.max(0, file.size - (part?.size ?? 0));
    }
    const space = await statfs(this.#cache.blobs).catch(() => undefined);
    if (space === undefined || space.blocks === 0 || space.bavail * space.bsize >= needed) return;
    throw new HubError(`no space for ${this.#what} in the cache`, {
      file: this.#cache.folder,
      expected: `${needed} bytes free`,
      found: `${space.bavail * space.bsize} bytes`,
      hint: 'Free some space or choose another folder with HF_HUB_CACHE',
    });
  }

  /** Fetches a few files at a time; the first failure stops all, and is thrown when all have let go. */
  async #fetchAll(wanted: readonly RemoteFile[], commit: string): Promise<RemoteFile[]> {
    const stored: RemoteFile[] = [];
    const failures: unknown[] = [];
    let next = 0;
    const worker = async (): Promise<void> => {
      while (next < wanted.length && failures.length === 0) {
        const index = next++;
        const file = wanted[index]!;
        try {
          stored[index] = await this.#fetchOne(file, commit);
          this.#filesDone++;
          this.#report(file.path, true);
        } catch (failure) {
          failures.push(failure);
          this.#stop.abort();
        }
      }
    };
    await Promise.all(Array.from({ length: kParallel }, worker));
    if (failures.length > 0) throw failures[0];
    return stored;
  }

  /** Fetches one file; when its ETag is not the listed one, asks for the new facts and starts again. */
  async #fetchOne(listed: RemoteFile, commit: string): Promise<RemoteFile> {
    const { repo } = this.#ref;
    const way = listed.path.split('/').map(encodeURIComponent).join('/');
    const url = `${this.#settings.endpoint}/${repo}/resolve/${commit}/${way}`;
    let file = listed;
    for (let changes = 0; ; changes++) {
      const onBytes = (bytes: number): void => this.#move(file.path, bytes);
      try {
        await fetchBlob({ transport: this.#transport, cache: this.#cache, what: this.#what, url, file, onBytes });
        return file;
      } catch (cause) {
        if (!(cause instanceof BlobChanged)) throw cause;
        const known = file.hash.hex;
        file = await refreshFile(this.#transport, repo, commit, listed.path);
        if (changes >= kMaxChanges || file.hash.hex !== cause.etag) {
          const facts = { file: file.path, expected: known, found: cause.etag };
          throw new HubError(`${this.#what}: listing and file disagree about the ETag`, facts);
        }
        this.#total += file.size - listed.size;
      }
    }
  }

  #move(path: string, bytes: number): void {
    if (!this.#bytes.has(path)) return;
    this.#bytes.set(path, bytes);
    this.#report(path, false);
  }

  #report(file: string, always: boolean): void {
    const { onProgress } = this.#options;
    const now = performance.now();
    if (onProgress === undefined || (!always && now - this.#lastReport < kProgressMs)) return;
    this.#lastReport = now;
    let done = 0;
    for (const bytes of this.#bytes.values()) done += bytes;
    const progress: PullProgress = {
      file,
      done,
      total: this.#total,
      filesDone: this.#filesDone,
      files: this.#bytes.size,
    };
    onProgress(progress);
  }
}
