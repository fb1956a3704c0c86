/** From what a user types to a path that the checkpoint reader opens. */
import { stat } from 'node:fs/promises';
import { CorruptFileError, ModelNotFoundError } from '../errors.js';
import { repoCache } from './cache.js';
import { parseRef, requireRef } from './names.js';
import { nearestCached, nearestPaths } from './nearest.js';
import { pullWith } from './pull.js';
import { checkPullOptions, kTiming, type PullOptions, settle, type Timing } from './settings.js';
import { openSnapshot } from './snapshot.js';
import { aborted } from './transport.js';

/**
 * A path that exists is itself. Anything of the form `owner/name`, `owner/name@revision` or `owner/name:file.gguf` is
 * a model of the hub: its cached snapshot where that is complete (the network is not asked; `pull` brings it up to
 * date), else what `pull` fetches. Throws `ModelNotFoundError` with the nearest names, and what `pull` throws.
 */
export function resolveModel(pathOrId: string, options: PullOptions = {}): Promise<string> {
  return resolveWith(pathOrId, options, kTiming);
}

/** `resolveModel` with other waiting times. */
export async function resolveWith(pathOrId: string, options: PullOptions, timing: Timing): Promise<string> {
  checkPullOptions(options);
  if (typeof pathOrId !== 'string' || pathOrId === '' || pathOrId.includes('\0')) {
    throw new ModelNotFoundError('not a path', { expected: 'a file, a folder or owner/name', found: pathOrId });
  }
  if ((await stat(pathOrId).catch(() => undefined)) !== undefined) return pathOrId;
  if (!looksLikeId(pathOrId)) throw await notFound(pathOrId, undefined);
  const settings = await settle(options, timing);
  const ref = requireRef(pathOrId, options);
  const signal = options.signal ?? new AbortController().signal;
  if (signal.aborted) throw aborted(signal);
  const cached = await openSnapshot(repoCache(settings.cacheDir, ref.repo), ref, signal).catch((cause: unknown) => {
    if (signal.aborted) throw aborted(signal);
    // A damaged file is fetched again where that is possible.
    if (cause instanceof CorruptFileError && !settings.offline) return undefined;
    throw cause;
  });
  if (cached !== undefined && cached.missing.length === 0) return cached.path;
  try {
    return (await pullWith(pathOrId, options, timing)).path;
  } catch (cause) {
    if (!(cause instanceof ModelNotFoundError)) throw cause;
    throw await notFound(pathOrId, cause, settings.cacheDir);
  }
}

/** `owner/name…`, and not a path: those start with a dot, a slash or a tilde, or end like a model file. */
function looksLikeId(text: string): boolean {
  const ref = /^(?:[./\\~]|[A-Za-z]:)/.test(text) ? undefined : parseRef(text);
  return ref?.repo.includes('/') === true && !/\.(?:gguf|safetensors|bin)$/.test(ref.repo);
}

async function notFound(
  wanted: string,
  cause: ModelNotFoundError | undefined,
  cacheDir?: string,
): Promise<ModelNotFoundError> {
  const near = await nearestPaths(wanted);
  if (cacheDir !== undefined) near.push(...(await nearestCached(cacheDir, parseRef(wanted)?.repo ?? wanted)));
  const found = near.length > 0 ? `Nearest names that exist: ${near.join(', ')}` : '';
  if (cause !== undefined) {
    return new ModelNotFoundError(`${wanted}: no such path, and on the hub: ${cause.message}`, {
      ...(found !== '' && { hint: found }),
      cause,
    });
  }
  const hint = `${found}${found === '' ? '' : '. '}A model of the hub is written owner/name`;
  return new ModelNotFoundError('no such file or folder', { file: wanted, hint });
}
