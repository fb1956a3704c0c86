/** Names like a mistyped one, for error messages. */

const kMaxNames = 2000;
const kShown = 5;

/** Levenshtein distance, over one row. */
export function editDistance(a: string, b: string): number {
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
    .map((name) => ({ name, cost: editDistance(text, name.toLowerCase().slice(0, 200)) }))
    .sort((a, b) => a.cost - b.cost || (a.name < b.name ? -1 : 1))
    .slice(0, kShown)
    .map(({ name }) => name);
}
