/** Names like a mistyped one, for error messages. */
import { readdir, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

const kMaxNames = 2000;
const kShown = 5;

/** Levenshtein distance, over one row. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replace = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replace, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return row[b.length]!;
}

/** Those of `names` that are most like `wanted`, best first. */
export function nearest(wanted: string, names: readonly string[]): string[] {
  const text = wanted.toLowerCase().slice(0, 200);
  return names
    .slice(0, kMaxNames)
    .map((name) => ({ name, cost: distance(text, name.toLowerCase().slice(0, 200)) }))
    .sort((a, b) => a.cost - b.cost || (a.name < b.name ? -1 : 1))
    .slice(0, kShown)
    .map(({ name }) => name);
}

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
