/** Paths and ids like a mistyped one, for error messages. */
import { readdir, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { nearest } from '../nearest.js';

/** Paths that exist and are most like `path`: neighbours in its nearest existing folder. */
export async function nearestPaths(path: string): Promise<string[]> {
  let [folder, wanted] = [dirname(path), basename(path)];
  while (!(await stat(folder).catch(() => undefined))?.isDirectory()) {
    if (dirname(folder) === folder) return [];
    [folder, wanted] = [dirname(folder), basename(folder)];
  }
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
  const models = entries.filter((entry) => !entry.isFile() || /\.(?:gguf|safetensors|bin)$/.test(entry.name));
  const visible = models.map((entry) => entry.name).filter((name) => !name.startsWith('.') && name !== 'node_modules');
  return nearest(wanted, visible).map((name) => join(folder, name));
}

/** Ids of cached models that are most like `id`. */
export async function nearestCached(cacheDir: string, id: string): Promise<string[]> {
  const names = await readdir(cacheDir).catch(() => []);
  const ids = names.filter((name) => name.startsWith('models--')).map((name) => name.slice(8).replace('--', '/'));
  return nearest(id, ids);
}
