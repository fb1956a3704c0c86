import { logSum } from './log_sum.js';
import type { LogitsProcessor } from './options.js';

/** Ids that Whisper's rules speak of. */
export interface WhisperRules {
  /** Ids of the decoder's start: rules begin after them. */
  readonly begin: number;
  readonly eos: number;
  /** Never written. */
  readonly suppress: readonly number[];
  /** Not written first. */
  readonly beginSuppress: readonly number[];
  /** Given where times are written: <|notimestamps|>, and the greatest first time, in steps after <|0.00|>. */
  readonly times?: { readonly none: number; readonly maxInitial: number | undefined } | undefined;
}

/**
 * What Whisper may write next (Radford et al. 2022; SuppressTokens and WhisperTimeStampLogitsProcessor of transformers): times
 * come in pairs but before the end, never run back, begin the text, and win where all of them together are likelier than the
 * likeliest word.
 */
export function whisperProcessor(rules: WhisperRules): LogitsProcessor {
  const { begin, eos, times } = rules;
  return (logits, { ids }) => {
    const ban = (from: number, to: number): void => void logits.fill(Number.NEGATIVE_INFINITY, from, to);
    for (const id of rules.suppress) ban(id, id + 1);
    if (ids.length === begin) for (const id of rules.beginSuppress) ban(id, id + 1);
    if (times === undefined) return;
    const first = times.none + 1;
    ban(times.none, first);
    const written = ids.subarray(begin);
    const isTime = (back: number): boolean => (written[written.length - back] ?? -1) >= first;
    const [last, before] = [isTime(1), written.length < 2 || isTime(2)];
    if (last && before) ban(first, logits.length);
    else if (last) ban(0, eos);
    const latest = written.findLast((id) => id >= first);
    // A time that ends a segment may begin the next one; else times go on.
    if (latest !== undefined) ban(first, last && !before ? latest : latest + 1);
    if (written.length === 0) {
      ban(0, first);
      if (times.maxInitial !== undefined) ban(first + times.maxInitial + 1, logits.length);
    }
    let word = Number.NEGATIVE_INFINITY;
    for (let i = 0; i < first; i++) word = Math.max(word, logits[i]!);
    if (logSum(logits, first, logits.length) > word) ban(0, first);
  };
}

/**
 * Ids of earlier text that a window begins after: the last `most` of them, after `first`; of two times at the end of a segment
 * one stays (transformers' _prepare_decoder_input_ids).
 */
export function earlierText(
  segments: readonly (readonly number[])[],
  first: readonly number[],
  most: number,
  firstTime: number,
): number[] {
  const text = segments.flatMap((ids) => (ids.length > 2 && ids.at(-2)! >= firstTime ? ids.slice(0, -1) : ids));
  return [...first, ...text.slice(-most)];
}

/** Part of what was heard, ids of its times included; seconds from where the audio begins. */
export interface WhisperSegment {
  readonly start: number;
  readonly end: number;
  readonly ids: readonly number[];
}

/** Seconds from one time to the next. */
export const timeStep = 0.02;

/**
 * Segments of a window's ids (without the end), and by how many of its frames to move on, as transformers has it: up to the last
 * pair of times, or all of the window. `frames`: of the window that are audio; `stride`: frames to a time.
 */
export function windowSegments(
  ids: readonly number[],
  firstTime: number,
  window: { readonly offset: number; readonly frames: number; readonly stride: number },
): { segments: WhisperSegment[]; advance: number } {
  const { offset, frames, stride } = window;
  const isTime = (i: number): boolean => (ids[i] ?? -1) >= firstTime;
  const at = (i: number): number => offset + (ids[i]! - firstTime) * timeStep;
  const ends = ids.flatMap((_, i) => (i > 0 && isTime(i) && isTime(i - 1) ? [i] : []));
  const single = ids.length >= 2 && !isTime(ids.length - 2) && isTime(ids.length - 1);
  if (ends.length === 0) {
    const time = ids.findLast((id) => id >= firstTime);
    const steps =
      time === undefined || time === firstTime
        ? Math.trunc((frames * (timeStep / stride)) / timeStep)
        : time - firstTime;
    return { segments: [{ start: offset, end: offset + steps * timeStep, ids }], advance: frames };
  }
  if (single) ends.push(ids.length);
  else ends[ends.length - 1]!++; // the last time stays with the last segment
  const segments: WhisperSegment[] = [];
  let from = 0;
  for (const [i, end] of ends.entries()) {
    const last = i === ends.length - 1 && !single ? end - 2 : end - 1;
    segments.push({ start: at(from), end: at(last), ids: ids.slice(from, end) });
    from = end;
  }
  return { segments, advance: single ? frames : (ids[from - 2]! - firstTime) * stride };
}
