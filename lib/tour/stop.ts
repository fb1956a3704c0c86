import type { NdArray } from '../runtime/ops_types.js';

/** One example of the tour: it computes what it shows, on the native kernels, each time it is printed. */
export interface Stop {
  readonly name: string;
  readonly title: string;
  /** What is shown, and what to look for. */
  readonly about: string;
  show(): Promise<string>;
}

/** A matrix as lines of numbers with four decimals; `labels` stand before the rows, `heads` above the columns. */
export function matrixText(
  { data, shape }: NdArray,
  labels: readonly string[] = [],
  digits = 4,
  heads: readonly string[] = [],
): string {
  const cols = shape.at(-1)!;
  const width = Math.max(0, ...labels.map((l) => l.length));
  const column = Math.max(digits + 4, ...heads.map((h) => h.length + 2));
  const above = heads.length === 0 ? '' : `${' '.repeat(width + 3)}${heads.map((h) => h.padStart(column)).join('')}\n`;
  const rows = Array.from({ length: data.length / cols }, (_, r) => {
    const numbers = Array.from(data.subarray(r * cols, (r + 1) * cols), (v) => v.toFixed(digits).padStart(column));
    return `  ${(labels[r] ?? '').padEnd(width)} ${numbers.join('')}`;
  });
  return `${above}${rows.join('\n')}`;
}

/** Cosine of the angle between two vectors. */
export function cosine(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let [dot, aa, bb] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    dot += a[i]! * b[i]!;
    aa += a[i]! ** 2;
    bb += b[i]! ** 2;
  }
  return dot / Math.sqrt(aa * bb);
}
