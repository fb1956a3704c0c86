/** A model in the cache, found by `refs` and `snapshots` alone and checked against the hashes that its links name. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CorruptFileError } from '../errors.js';
import { isIntact, type RepoCache, readRef, readSnapshot, type SnapshotFile } from './cache.js';
import { type Choice, choose, kWeights, shardsOf, weightFiles } from './choose.js';
import type { RepoRef } from './names.js';

export interface Snapshot {
  /** Snapshot folder, or the GGUF file inside it. */
  readonly path: string;
  readonly folder: string;
  readonly revision: string;
  /** Files that the model needs. */
  readonly files: readonly string[];
  readonly bytes: number;
  /** Of those, the ones that are not there. */
  readonly missing: readonly string[];
  /** Everything in the folder. */
  readonly present: readonly string[];
}

/**
 * The cached snapshot of a revision; undefined when the cache knows no such revision. Throws `CorruptFileError` when a
 * file has not the content that the hub declared, `OptionError` when there are several GGUF files and none is named.
 */
export async function openSnapshot(
  cache: RepoCache,
  ref: RepoRef & { readonly revision: string },
  signal: AbortSignal,
): Promise<Snapshot | undefined> {
  const commit = await readRef(cache, ref.revision);
  const all = commit === undefined ? undefined : await readSnapshot(cache, commit);
  if (commit === undefined || all === undefined) return undefined;
  const folder = join(cache.snapshots, commit);
  const present = [...all].filter(([, file]) => file.size !== undefined).map(([path]) => path);
  const basics = missingBasics([...all.keys()], ref.gguf);
  if (basics.length > 0) {
    return { path: folder, folder, revision: commit, files: [], bytes: 0, missing: basics, present };
  }
  const choice = choose([...all.keys()], ref.gguf, `${ref.repo}@${ref.revision}`);
  const files = await neededFiles(folder, all, choice);
  const missing = files.filter((path) => all.get(path)?.size === undefined);
  if (missing.length === 0) await verify(cache, folder, all, files, signal);
  return {
    path: choice.gguf === undefined ? folder : join(folder, choice.gguf),
    folder,
    revision: commit,
    files,
    bytes: files.reduce((sum, path) => sum + (all.get(path)?.size ?? 0), 0),
    missing,
    present,
  };
}

/** What must be there before files can be chosen at all. */
function missingBasics(paths: readonly string[], gguf: string | undefined): string[] {
  const ggufs = paths.filter((path) => path.endsWith('.gguf'));
  if (gguf !== undefined) {
    return ggufs.some((path) => path.toLowerCase().includes(gguf.toLowerCase())) ? [] : [`${gguf} (GGUF)`];
  }
  const format = weightFiles(paths, gguf);
  if (format === 'gguf') return [];
  const missing = paths.includes('config.json') ? [] : ['config.json'];
  if (format === undefined) missing.push(`weights (${kWeights})`);
  return missing;
}

async function neededFiles(folder: string, all: ReadonlyMap<string, SnapshotFile>, choice: Choice): Promise<string[]> {
  const files = [...choice.small, ...choice.weights];
  if (choice.index === undefined) return files;
  files.push(choice.index);
  if (all.get(choice.index)?.size === undefined) return files;
  const index = join(folder, choice.index);
  return [...files, ...shardsOf(await readFile(index, 'utf8'), index)];
}

async function verify(
  cache: RepoCache,
  folder: string,
  all: ReadonlyMap<string, SnapshotFile>,
  files: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  for (const path of files) {
    const file = all.get(path);
    if (file?.hash === undefined || (await isIntact(cache, file.hash, file.size, signal))) continue;
    throw new CorruptFileError('the cached file has not the content that the hub declared', {
      file: join(folder, path),
      expected: `${file.hash.kind} ${file.hash.hex}`,
      hint: 'Pull it again without offline mode',
    });
  }
}
