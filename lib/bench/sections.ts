/** What is measured, and how a request is timed: the same for Verdant and for a rival. */
import type { BenchOptions } from './options.js';

/** Prefill of `prompt` ids, or decoding of `tokens` by `batch` sequences after `prompt` ids each. */
export interface Section {
  readonly kind: 'prefill' | 'decode';
  readonly batch: number;
  readonly prompt: number;
  readonly tokens: number;
}

/** Ids before a decode that has no context of its own. */
export const shortPrompt = 16;

export function sectionsOf(options: BenchOptions): Section[] {
  const { prompt, generate, batch, context } = options;
  const decode = batch.map((b): Section => {
    return { kind: 'decode', batch: b, prompt: shortPrompt, tokens: generate };
  });
  const far: Section[] = context === undefined ? [] : [{ kind: 'decode', batch: 1, prompt: context, tokens: generate }];
  return [{ kind: 'prefill', batch: 1, prompt, tokens: 1 }, ...decode, ...far];
}

export function sectionName({ kind, batch, prompt, tokens }: Section): string {
  if (kind === 'prefill') return `prefill ${prompt}`;
  const at = prompt === shortPrompt ? '' : ` at ${prompt}`;
  return `decode ${tokens}${at}${batch === 1 ? '' : `, batch ${batch}`}`;
}

/** Longest sequence of the sections. */
export function longest(sections: readonly Section[]): number {
  return Math.max(...sections.map((s) => s.prompt + s.tokens));
}

/** Ids that lie in the usual part of any vocabulary; `seed` makes them others. */
export function promptIds(length: number, vocab: number, seed: number): Int32Array {
  const low = Math.min(300, Math.floor(vocab / 4));
  const width = Math.max(1, Math.min(1000, vocab - low));
  return Int32Array.from({ length }, (_, i) => low + (((i + 1) * 7919 + seed * 104_729) % width));
}

/** Arrival of one id: milliseconds since the request began, and the number of the delivery that brought it. */
export interface Arrival {
  readonly ms: number;
  readonly delivery: number;
}

/** One run of a section. */
export interface Sample {
  readonly tokensPerSecond: number;
  readonly firstTokenMs: number;
  /** Time between deliveries over the ids of the later one; empty for prefill. */
  readonly interTokenMs: readonly number[];
}

/** What one engine does for a section: ids as they arrive, per sequence. */
export interface Runner {
  readonly vocab: number;
  /** `begun`, of our own engine: called between two steps, when the last sequence has its first id. */
  run(prompts: readonly Int32Array[], tokens: number, begun?: () => void): Promise<readonly (readonly Arrival[])[]>;
}

/** Gaps of one sequence: several ids that arrive together share the gap before them. */
function gapsOf(arrivals: readonly Arrival[]): number[] {
  const gaps: number[] = [];
  let before = arrivals[0]!.ms;
  for (let i = 1; i < arrivals.length; ) {
    let end = i + 1;
    while (end < arrivals.length && arrivals[end]!.delivery === arrivals[i]!.delivery) end++;
    if (arrivals[i]!.delivery === arrivals[0]!.delivery) {
      i = end;
      continue;
    }
    for (let k = i; k < end; k++) gaps.push((arrivals[end - 1]!.ms - before) / (end - i));
    before = arrivals[end - 1]!.ms;
    i = end;
  }
  return gaps;
}

/**
 * Runs a section once. Decoding counts from when the last sequence has its first id to the end; `begun` is called when
 * what counts begins.
 */
export async function runSection(runner: Runner, section: Section, seed: number, begun?: () => void): Promise<Sample> {
  const prompts = Array.from({ length: section.batch }, (_, b) =>
    promptIds(section.prompt, runner.vocab, section.kind === 'prefill' ? seed : b + 1),
  );
  if (section.kind === 'prefill') begun?.();
  const sequences = await runner.run(prompts, section.tokens, section.kind === 'decode' ? begun : undefined);
  const begin = Math.max(...sequences.map((s) => s[0]!.ms));
  if (section.kind === 'prefill')
    return { tokensPerSecond: (1000 * section.prompt) / begin, firstTokenMs: begin, interTokenMs: [] };
  const end = Math.max(...sequences.map((s) => s.at(-1)!.ms));
  const count = sequences.reduce((n, s) => n + s.filter((a) => a.ms > begin).length, 0);
  return {
    tokensPerSecond: (1000 * count) / (end - begin),
    firstTokenMs: begin,
    interTokenMs: sequences.flatMap(gapsOf),
  };
}
