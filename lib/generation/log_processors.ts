/** What transformers' logits processors do to log-probabilities of a beam, in its order (LogitsProcessorList of `generate`). */

export interface LogRules {
  readonly repetitionPenalty: number;
  /** 0: off. */
  readonly noRepeatNgram: number;
  readonly badWords: readonly (readonly number[])[];
  readonly eosIds: readonly number[];
  /** Ids that a sequence must hold before it may end. */
  readonly minLength: number;
  /** The id after `promptLength` ids, and the one that a sequence of `maxLength` ends with. */
  readonly forcedBos: number | undefined;
  readonly forcedEos: number | undefined;
  readonly promptLength: number;
  readonly maxLength: number;
  readonly suppress: readonly number[];
  readonly renormalize: boolean;
}

const never = Number.NEGATIVE_INFINITY;

/** ln softmax(x), in double. */
export function logSoftmax(x: ArrayLike<number>): Float64Array {
  let top = never;
  for (let i = 0; i < x.length; i++) top = Math.max(top, x[i]!);
  let sum = 0;
  for (let i = 0; i < x.length; i++) sum += Math.exp(x[i]! - top);
  const shift = top + Math.log(sum);
  return Float64Array.from({ length: x.length }, (_, i) => x[i]! - shift);
}

/** Ids that would make an n-gram a second time. */
function repeated(ids: readonly number[], n: number): number[] {
  if (n === 0 || ids.length + 1 < n) return [];
  const tail = ids.slice(ids.length - n + 1);
  return ids.flatMap((id, i) => (i >= n - 1 && tail.every((t, j) => ids[i - n + 1 + j] === t) ? [id] : []));
}

/** Last ids of bad words whose other ids have just been written. */
function completed(ids: readonly number[], words: readonly (readonly number[])[]): number[] {
  return words.flatMap((word) => {
    const begun = word.slice(0, -1);
    const tail = ids.slice(ids.length - begun.length);
    return begun.length <= ids.length && begun.every((id, i) => tail[i] === id) ? [word.at(-1)!] : [];
  });
}

/** Log-probabilities (vocab) after `ids`, changed in place. */
export function processLogProbs(values: Float64Array, ids: readonly number[], rules: LogRules): Float64Array {
  const ban = (list: readonly number[]): void => {
    for (const id of list) values[id] = never;
  };
  if (rules.repetitionPenalty !== 1)
    for (const id of new Set(ids))
      values[id]! *= values[id]! < 0 ? rules.repetitionPenalty : 1 / rules.repetitionPenalty;
  ban(repeated(ids, rules.noRepeatNgram));
  ban(completed(ids, rules.badWords));
  if (ids.length < rules.minLength) ban(rules.eosIds);
  const force = (id: number | undefined, at: number): void => {
    if (id === undefined || ids.length !== at) return;
    values.fill(never);
    values[id] = 0;
  };
  force(rules.forcedBos, rules.promptLength);
  force(rules.forcedEos, rules.maxLength - 1);
  ban(rules.suppress);
  return rules.renormalize ? logSoftmax(values) : values;
}
