import type { StepTrace } from '../engine/probe_step.js';
import { Pacer } from '../weights/files.js';

/** A head of the decoder's attention to the audio that follows what is said: layer, head. */
export type AlignmentHead = readonly [layer: number, head: number];

/** Layers and heads that a trace must show for these. */
export function shownHeads(pairs: readonly AlignmentHead[]): { crossAttentions: number[]; heads: number[] } {
  const sorted = (list: readonly number[]): number[] => [...new Set(list)].sort((a, b) => a - b);
  return { crossAttentions: sorted(pairs.map(([l]) => l)), heads: sorted(pairs.map(([, h]) => h)) };
}

/** Adds the rows of each head (pair) at positions `from` and later to `into`: (pairs, rows, places). */
export function addRows(
  into: readonly Float32Array[][],
  pairs: readonly AlignmentHead[],
  traces: readonly StepTrace[],
  from: number,
): void {
  const { heads } = shownHeads(pairs);
  for (const trace of traces)
    for (let row = Math.max(0, from - trace.from); row < trace.rows; row++)
      for (const [i, [layer, head]] of pairs.entries()) {
        const { shape, data } = trace.crossAttentions.get(layer)!;
        const [rows, places] = [shape[1]!, shape[2]!];
        const at = (heads.indexOf(head) * rows + row) * places;
        into[i]!.push(data.slice(at, at + places));
      }
}

/** (x − mean) / deviation of each place over all rows; zero where all rows are alike. In place. */
async function standardize(rows: readonly Float32Array[], places: number, pacer: Pacer): Promise<void> {
  const [mean, deviation] = [new Float64Array(places), new Float64Array(places)];
  const each = async (act: (row: Float32Array) => void): Promise<void> => {
    for (const row of rows) {
      act(row);
      await pacer.turn();
    }
  };
  await each((row) => {
    for (let p = 0; p < places; p++) mean[p]! += row[p]! / rows.length;
  });
  await each((row) => {
    for (let p = 0; p < places; p++) deviation[p]! += (row[p]! - mean[p]!) ** 2 / rows.length;
  });
  for (let p = 0; p < places; p++) deviation[p] = Math.sqrt(deviation[p]!);
  await each((row) => {
    for (let p = 0; p < places; p++) row[p] = deviation[p] === 0 ? 0 : (row[p]! - mean[p]!) / deviation[p]!;
  });
}

/** The middle of each `width` neighbours, the row being mirrored at its ends; a row too short for that stays. */
function medians(row: Float32Array, width: number): Float32Array {
  const [half, length] = [width >> 1, row.length];
  if (length <= half) return row;
  const mirrored = new Float32Array(length + 2 * half);
  mirrored.set(row, half);
  for (let i = 1; i <= half; i++) {
    mirrored[half - i] = row[i]!;
    mirrored[half + length - 1 + i] = row[length - 1 - i]!;
  }
  const near = mirrored.slice(0, width).sort();
  const y = new Float32Array(length);
  y[0] = near[half]!;
  for (let p = 1; p < length; p++) {
    const [gone, come] = [mirrored[p - 1]!, mirrored[p + width - 1]!];
    let at = near.indexOf(gone);
    for (; at > 0 && near[at - 1]! > come; at--) near[at] = near[at - 1]!;
    for (; at < width - 1 && near[at + 1]! < come; at++) near[at] = near[at + 1]!;
    near[at] = come;
    y[p] = near[half]!;
  }
  return y;
}

/** The cheapest way through costs −similarity (rows, places): the place where each row begins (dynamic time warping). */
async function warp(similarity: readonly Float32Array[], places: number, pacer: Pacer): Promise<number[]> {
  const [diagonal, up, left] = [0, 1, 2];
  const rows = similarity.length;
  const steps = similarity.map(() => new Uint8Array(places));
  let before = new Float32Array(places + 1).fill(Number.POSITIVE_INFINITY);
  before[0] = 0;
  for (let i = 0; i < rows; i++) {
    const cost = new Float32Array(places + 1);
    cost[0] = Number.POSITIVE_INFINITY;
    const [row, steppedAs] = [similarity[i]!, steps[i]!];
    for (let j = 1; j <= places; j++) {
      const c0 = before[j - 1]!;
      const c1 = before[j]!;
      const c2 = cost[j - 1]!;
      const step = c0 < c1 && c0 < c2 ? diagonal : c1 < c0 && c1 < c2 ? up : left;
      cost[j] = (step === diagonal ? c0 : step === up ? c1 : c2) - row[j - 1]!;
      steppedAs[j - 1] = step;
    }
    before = cost;
    await pacer.turn();
  }
  const begins = new Array<number>(rows).fill(0);
  for (let [i, j] = [rows - 1, places - 1]; i >= 0; ) {
    begins[i] = j;
    const step = j === 0 ? up : i === 0 ? left : steps[i]![j]!;
    if (step !== left) i--;
    if (step !== up) j--;
  }
  return begins;
}

/**
 * At which place of the audio each row of attention maps (heads, rows, places) begins, ascending: standardized, smoothed by
 * medians of `width`, averaged over heads, warped (_extract_token_timestamps of WhisperGenerationMixin). Only the first
 * `places` count.
 */
export async function alignRows(
  maps: readonly (readonly Float32Array[])[],
  places: number,
  width: number,
): Promise<number[]> {
  const pacer = new Pacer();
  const count = maps[0]!.length;
  if (count === 0) return [];
  const columns = Math.min(places, maps[0]![0]!.length);
  const sum = Array.from({ length: count }, () => new Float32Array(columns));
  for (const head of maps) {
    const rows = head.map((row) => row.slice(0, columns));
    await pacer.turn();
    await standardize(rows, columns, pacer);
    for (const [r, row] of rows.entries()) {
      const smooth = medians(row, width);
      const total = sum[r]!;
      for (let p = 0; p < columns; p++) total[p]! += smooth[p]! / maps.length;
      await pacer.turn();
    }
  }
  return warp(sum, columns, pacer);
}
