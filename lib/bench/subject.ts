/** Verdant as the subject of a measurement: opened, warmed, described; in this process or in one of its own. */
import type { DecoderHost } from '../engine/host.js';
import type { LoadOptions } from '../tasks/load.js';
import type { BenchRequest } from './options.js';
import { type Runner, runSection, type Sample, type Section } from './sections.js';
import { openVerdant, VerdantRunner } from './verdant_runner.js';
import { countWork, type Work } from './work.js';

/** What an opened model is. */
export interface Described {
  readonly architecture: string;
  readonly packedBytes: number;
  /** How linears multiply, and how many of them. */
  readonly compute: Readonly<Record<string, number>>;
  readonly work: Work;
}

export function describeHost(host: DecoderHost): Described {
  const compute: Record<string, number> = {};
  for (const node of host.step.profile().nodes) {
    if (node.compute !== '') compute[node.compute] = (compute[node.compute] ?? 0) + 1;
  }
  return {
    architecture: host.built.architecture.classes[0]!,
    packedBytes: host.model.memory().weightBytes,
    compute,
    work: countWork(host.step.program),
  };
}

/** First runs grow the arena and touch the cache: they do not count. */
export async function warm(runner: Runner, sections: readonly Section[]): Promise<void> {
  for (const section of sections) {
    const short = section.kind === 'prefill' ? section : { ...section, tokens: Math.min(section.tokens, 3) };
    await runSection(runner, short, 0);
  }
}

/** One run of each section in a fresh process. */
export interface ProcessRun {
  readonly loadMs: number;
  readonly peakRssBytes: number;
  readonly samples: readonly Sample[];
  readonly described?: Described;
  /** Versions and flags as the engine names them. */
  readonly about?: string;
}

export function peakRss(): number {
  return 1024 * process.resourceUsage().maxRSS;
}

/** Opens the model, runs each section once and closes it again. */
export async function runVerdant(
  request: BenchRequest,
  sections: readonly Section[],
  seed: number,
  hooks: Pick<LoadOptions, 'signal'> = {},
): Promise<ProcessRun> {
  const { host, loadMs, dispose } = await openVerdant(request, sections, hooks);
  try {
    const runner = new VerdantRunner(host, hooks.signal);
    await warm(runner, sections);
    const samples: Sample[] = [];
    for (const section of sections) samples.push(await runSection(runner, section, seed));
    return { loadMs, samples, described: describeHost(host), peakRssBytes: peakRss() };
  } finally {
    await dispose();
  }
}
