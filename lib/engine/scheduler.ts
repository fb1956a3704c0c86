import type { Sequence } from './sequence.js';

/** Rows that one sequence contributes to a step. */
export interface Share {
  readonly sequence: Sequence;
  readonly rows: number;
  /** Its last pending row is among them, so the step samples for it. */
  readonly samples: boolean;
}

/**
 * Divides a step of at most `budget` rows: every decoding sequence gets its row first, then prompts in order of arrival
 * get what is left, in chunks. Pure: depends on its arguments only.
 */
export function planStep(sequences: readonly Sequence[], budget: number, chunk: number): Share[] {
  let left = budget;
  const shares: Share[] = [];
  const give = (sequence: Sequence, rows: number): void => {
    if (rows <= 0) return;
    left -= rows;
    shares.push({ sequence, rows, samples: rows === sequence.pending });
  };
  for (const s of sequences) if (s.decoding) give(s, Math.min(1, left));
  for (const s of sequences) if (!s.decoding) give(s, Math.min(s.pending, chunk, left));
  return shares;
}

/** Decode steps that one native call may take: 1 unless every sequence decodes and nobody waits. */
export function stepsPerCall(
  shares: readonly Share[],
  waiting: number,
  most: number,
  ropeSwitch: number | undefined,
): number {
  if (waiting > 0) return 1;
  let k = most;
  for (const { sequence: s } of shares) {
    const { logitsProcessor, mirostat, beams } = s.request.options;
    if (!s.decoding || logitsProcessor !== undefined || mirostat !== undefined || beams !== undefined) return 1;
    // The step that crosses the switch must find all keys made anew.
    if (ropeSwitch !== undefined && s.prefillLength <= ropeSwitch) k = Math.min(k, ropeSwitch - s.ids.length + 1);
  }
  const longest = shares.reduce((n, s) => Math.max(n, s.sequence.remaining), 1);
  return Math.max(1, Math.min(k, longest));
}
