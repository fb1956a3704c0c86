import { fork } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { DeviceError, InputError, OptionError } from '../errors.js';
import type { CeilingProbe, Ceilings } from './ceilings.js';
import type { EngineReply, EngineTask } from './engine_process.js';
import type { BenchOptions } from './options.js';
import { between, type Measurement } from './report.js';
import { type Variant, variantName } from './rival_runner.js';
import { type Section, sectionName } from './sections.js';
import { median, type Spread, spread } from './statistics.js';
import type { Described, ProcessRun } from './subject.js';

/** The package that this release was written for; others are tried all the same, and named in the report. */
export const rivalPackage = 'node-llama-cpp';
export const rivalVersion = '3.22.1';

export interface Rival {
  readonly entry: string;
  readonly version: string;
}

export interface RivalSection {
  readonly name: string;
  readonly ours: Spread;
  readonly theirs: Spread;
  /** Median over median; above 1: Verdant is faster. */
  readonly ratio: number;
  /** The rival's best setting for this section. */
  readonly variant: string;
  /** Tokens per second of each setting in the trial round. */
  readonly trial: Readonly<Record<string, number>>;
  readonly theirInterTokenMs: readonly number[];
}

export interface RivalReport {
  readonly package: string;
  readonly version: string;
  readonly about: string;
  readonly sections: readonly RivalSection[];
  /** Until a context is ready. */
  readonly loadMs: { readonly ours: Spread; readonly theirs: Spread };
  readonly peakRssBytes: { readonly ours: number; readonly theirs: number };
}

interface PackageFile {
  readonly version: string;
  readonly main?: string;
  readonly exports?: { readonly '.'?: { readonly import?: string } };
}

/** Looks for the package as Node does, from a folder upwards. Throws an OptionError with what to do. */
export function findRival(from: string | undefined): Rival {
  const start = resolve(from ?? '.');
  for (let folder = start; ; folder = dirname(folder)) {
    const root = join(folder, 'node_modules', rivalPackage);
    if (existsSync(join(root, 'package.json'))) {
      const file = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as PackageFile;
      return { version: file.version, entry: join(root, file.exports?.['.']?.import ?? file.main ?? 'index.js') };
    }
    if (dirname(folder) === folder) break;
  }
  throw new OptionError(`${rivalPackage} is not installed`, {
    file: start,
    name: from === undefined ? 'rivals' : 'rivalPath',
    hint: `In a folder of its own: npm install ${rivalPackage}@${rivalVersion}; then --rival-path with that folder`,
  });
}

/** Runs a task in a fresh process. */
async function inProcess(task: EngineTask, signal: AbortSignal | undefined): Promise<ProcessRun> {
  signal?.throwIfAborted();
  const file = fileURLToPath(new URL('./engine_process.js', import.meta.url));
  const child = fork(file, [], { execArgv: [], stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
  const kill = (): void => void child.kill('SIGKILL');
  signal?.addEventListener('abort', kill, { once: true });
  try {
    let reply: EngineReply | undefined;
    child.once('message', (message) => {
      reply = message as EngineReply;
    });
    child.send(task);
    const [code] = await once(child, 'close');
    signal?.throwIfAborted();
    const who = task.rival === undefined ? 'Verdant' : rivalPackage;
    if (reply === undefined) throw new DeviceError(`the process of ${who} has ended`, { found: `exit code ${code}` });
    if ('problem' in reply) throw new InputError(`${who}: ${reply.problem}`, { file: task.request.model });
    return reply.run;
  } finally {
    signal?.removeEventListener('abort', kill);
    kill();
  }
}

export interface RivalHooks {
  readonly signal?: AbortSignal | undefined;
  readonly note?: ((text: string) => void) | undefined;
}

/** Ours, measured in processes of their own, and the comparison. */
export interface RivalRun {
  readonly described: Described;
  readonly loadMs: Spread;
  readonly peakRssBytes: number;
  readonly measurements: readonly (readonly Measurement[])[];
  readonly ceilings: readonly Ceilings[];
  readonly report: RivalReport;
}

/** Alternates Verdant and the rival, a fresh process for each run, the ceilings measured between them. */
export async function runRivals(
  options: BenchOptions,
  rival: Rival,
  vocab: number,
  sections: readonly Section[],
  probe: CeilingProbe,
  hooks: RivalHooks,
): Promise<RivalRun> {
  const theirs = (variant: Variant, seed: number, part: readonly Section[]): Promise<ProcessRun> => {
    const task = { request: options, sections: part, seed, rival: { entry: rival.entry, vocab, variant } };
    return inProcess(task, hooks.signal);
  };
  const tried = await tryVariants(options.threads, sections, theirs, hooks);
  const { best } = tried;
  const own: ProcessRun[] = [];
  const their: ProcessRun[] = [];
  const theirSections = sections.map((): TheirSection => ({ speeds: [], gaps: [] }));
  const measurements = sections.map((): Measurement[] => []);
  const ceilings = [await probe.measure()];

  const runOurs = async (round: number): Promise<void> => {
    const run = await inProcess({ request: options, sections, seed: round }, hooks.signal);
    ceilings.push(await probe.measure());
    const around = between(ceilings.at(-2)!, ceilings.at(-1)!);
    own.push(run);
    for (const [i, sample] of run.samples.entries()) measurements[i]!.push({ ...sample, ceilings: around });
  };
  const runTheirs = async (round: number): Promise<void> => {
    for (const variant of new Set(best)) {
      const part = sections.filter((_, i) => best[i] === variant);
      const run = await theirs(variant, round, part);
      their.push(run);
      ceilings.push(await probe.measure());
      for (const [p, sample] of run.samples.entries()) {
        const section = theirSections[sections.indexOf(part[p]!)]!;
        section.speeds.push(sample.tokensPerSecond);
        section.gaps.push(...sample.interTokenMs);
      }
    }
  };
  for (let round = 1; round <= options.repeat; round++) {
    hooks.note?.(`round ${round} of ${options.repeat}`);
    const order = round % 2 === 1 ? [runOurs, runTheirs] : [runTheirs, runOurs];
    for (const run of order) await run(round);
  }
  const peakRssBytes = peakRss(own);
  return {
    described: own[0]!.described!,
    loadMs: spread(own.map((r) => r.loadMs))!,
    peakRssBytes,
    measurements,
    ceilings,
    report: {
      package: rivalPackage,
      version: rival.version,
      about: their[0]!.about ?? '',
      sections: compared(sections, measurements, theirSections, tried),
      loadMs: { ours: spread(own.map((r) => r.loadMs))!, theirs: spread(their.map((r) => r.loadMs))! },
      peakRssBytes: { ours: peakRssBytes, theirs: peakRss(their) },
    },
  };
}

/** What the rival's runs gave for one section. */
interface TheirSection {
  readonly speeds: number[];
  readonly gaps: number[];
}

const peakRss = (runs: readonly ProcessRun[]): number => Math.max(...runs.map((r) => r.peakRssBytes));

function compared(
  sections: readonly Section[],
  measurements: readonly (readonly Measurement[])[],
  theirs: readonly TheirSection[],
  { trials, best }: Tried,
): RivalSection[] {
  return sections.map((section, i) => {
    const ours = spread(measurements[i]!.map((m) => m.tokensPerSecond))!;
    const { speeds, gaps } = theirs[i]!;
    return {
      name: sectionName(section),
      ours,
      theirs: spread(speeds)!,
      ratio: ours.median / median(speeds),
      variant: variantName(best[i]!),
      trial: Object.fromEntries(trials.map((t) => [variantName(t.variant), t.speeds[i]!])),
      theirInterTokenMs: gaps,
    };
  });
}

interface Trial {
  readonly variant: Variant;
  readonly speeds: readonly number[];
}

interface Tried {
  readonly trials: readonly Trial[];
  /** Of each section. */
  readonly best: readonly Variant[];
}

/** One run of every setting; the fastest of each section is the one that is compared with. */
async function tryVariants(
  threads: number,
  sections: readonly Section[],
  run: (variant: Variant, seed: number, part: readonly Section[]) => Promise<ProcessRun>,
  hooks: RivalHooks,
): Promise<Tried> {
  const counts = [...new Set([1, threads])];
  const variants = counts.flatMap((n) => [true, false].map((on): Variant => ({ threads: n, flashAttention: on })));
  const trials: Trial[] = [];
  for (const variant of variants) {
    hooks.note?.(`trying ${rivalPackage} with ${variantName(variant)}`);
    const { samples } = await run(variant, 0, sections);
    trials.push({ variant, speeds: samples.map((s) => s.tokensPerSecond) });
  }
  const best = sections.map((_, i) => trials.reduce((a, b) => (b.speeds[i]! > a.speeds[i]! ? b : a)).variant);
  return { trials, best };
}
