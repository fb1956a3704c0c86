/** What a benchmark found, as plain data. */
import { type Ceilings, ceilingKinds } from './ceilings.js';
import type { Environment } from './environment.js';
import type { BenchOptions } from './options.js';
import type { ProfileEntry } from './profile.js';
import type { RivalReport } from './rivals.js';
import { type Sample, type Section, sectionName } from './sections.js';
import { median, quantile, type Spread, spread } from './statistics.js';
import { decodeOperations, prefillOperations, type Work } from './work.js';

/** A run of a section with the ceilings around it. */
export interface Measurement extends Sample {
  /** Medians of what was measured before and after. */
  readonly ceilings: Ceilings;
}

export type CeilingName = keyof Ceilings;

export interface SectionReport extends Section {
  readonly name: string;
  /** Of all sequences together. */
  readonly tokensPerSecond: Spread;
  readonly firstTokenMs: Spread;
  readonly interTokenMs: { readonly p50: number; readonly p99: number } | null;
  /** Bytes of weights that the steps had to read. */
  readonly gigabytesPerSecond: Spread;
  readonly gigaflops: Spread;
  /** Of the ceilings around each run; null where the machine has no such instruction. */
  readonly fractions: Readonly<Record<CeilingName, Spread | null>>;
  /** The ceiling that the section runs against. */
  readonly limit: CeilingName;
  readonly measurements: readonly Measurement[];
}

export interface BenchReport {
  readonly environment: Environment;
  readonly options: BenchOptions;
  readonly model: {
    readonly name: string;
    readonly weights: string;
    readonly architecture: string;
    /** Bytes that a step reads, as files store them. */
    readonly stepBytes: number;
    readonly packedBytes: number;
    /** How linears multiply, and how many of them. */
    readonly compute: Readonly<Record<string, number>>;
  };
  readonly work: Work;
  readonly load: { readonly ms: number; readonly gigabytesPerSecond: number };
  readonly ceilings: Readonly<Record<CeilingName, Spread | null>>;
  readonly sections: readonly SectionReport[];
  readonly peakRssBytes: number;
  readonly profile: readonly ProfileEntry[] | null;
  readonly rival: RivalReport | null;
}

/** The arithmetic that a weight type could use: the ceiling for its prefill. */
export function arithmeticOf(dtype: string, compute: string | undefined, ceilings: Ceilings): CeilingName {
  const wanted =
    compute === undefined || compute === 'auto'
      ? (({ f32: 'f32', f16: 'f32', bf16: 'bf16' } as const)[dtype] ?? 'int8')
      : compute.startsWith('int8')
        ? 'int8'
        : compute === 'bf16'
          ? 'bf16'
          : 'f32';
  return ceilings[wanted] === null ? 'f32' : wanted;
}

/** Runs of one section as medians and fractions. */
export function sectionReport(
  section: Section,
  work: Work,
  compute: string | undefined,
  measurements: readonly Measurement[],
): SectionReport {
  const prefill = section.kind === 'prefill';
  const flops = (m: Measurement): number =>
    prefill
      ? (prefillOperations(work, section.prompt) * m.tokensPerSecond) / section.prompt / 1e9
      : (decodeOperations(work, section.prompt + section.tokens / 2) * m.tokensPerSecond) / 1e9;
  // A prompt longer than a chunk takes several steps; what it reads per second does not matter to it.
  const bytes = (m: Measurement): number =>
    (work.stepBytes * m.tokensPerSecond) / (prefill ? section.prompt : section.batch) / 1e9;
  const fractions = Object.fromEntries(
    ceilingKinds.map((kind) => {
      const parts = measurements.flatMap((m) => {
        const ceiling = m.ceilings[kind];
        return ceiling === null ? [] : [(kind === 'stream' ? bytes(m) : flops(m)) / ceiling];
      });
      return [kind, spread(parts) ?? null];
    }),
  ) as Record<CeilingName, Spread | null>;
  const gaps = measurements.flatMap((m) => m.interTokenMs);
  const arithmetic = arithmeticOf(work.dtype, compute, measurements[0]!.ceilings);
  const against = (kind: CeilingName): number => fractions[kind]?.median ?? 0;
  return {
    ...section,
    name: sectionName(section),
    tokensPerSecond: spread(measurements.map((m) => m.tokensPerSecond))!,
    firstTokenMs: spread(measurements.map((m) => m.firstTokenMs))!,
    interTokenMs: gaps.length === 0 ? null : { p50: median(gaps), p99: quantile(gaps, 0.99) },
    gigabytesPerSecond: spread(measurements.map(bytes))!,
    gigaflops: spread(measurements.map(flops))!,
    fractions,
    limit: !prefill && against('stream') >= against(arithmetic) ? 'stream' : arithmetic,
    measurements,
  };
}

/** Both measurements of each ceiling in the middle. */
export function between(before: Ceilings, after: Ceilings): Ceilings {
  const middle = (kind: 'bf16' | 'int8'): number | null => {
    const [a, b] = [before[kind], after[kind]];
    return a === null || b === null ? null : median([a, b]);
  };
  return {
    stream: median([before.stream, after.stream]),
    f32: median([before.f32, after.f32]),
    bf16: middle('bf16'),
    int8: middle('int8'),
  };
}

export function ceilingSpreads(all: readonly Ceilings[]): Record<CeilingName, Spread | null> {
  return Object.fromEntries(
    ceilingKinds.map((kind) => [
      kind,
      spread(all.flatMap((c) => (c[kind] === null ? [] : [c[kind] as number]))) ?? null,
    ]),
  ) as Record<CeilingName, Spread | null>;
}
