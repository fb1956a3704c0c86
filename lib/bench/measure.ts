import { buildCheckpoint } from '../engine/build.js';
import { type PullOptions, resolveModel } from '../hub/index.js';
import { openCheckpoint } from '../weights/checkpoint.js';
import { CeilingProbe, type Ceilings } from './ceilings.js';
import { environmentOf } from './environment.js';
import { type BenchOptions, type BenchRequest, checkBench, tierOf } from './options.js';
import { type ProfileEntry, profiled } from './profile.js';
import { quantOf } from './random_model.js';
import { type BenchReport, between, ceilingSpreads, type Measurement, sectionReport } from './report.js';
import { findRival, type RivalReport, runRivals } from './rivals.js';
import { runSection, type Section, sectionName, sectionsOf } from './sections.js';
import { withTemporaryFile, writeShapeFile } from './shape_file.js';
import { shapeConfig } from './shapes.js';
import { type Described, describeHost, peakRss, warm } from './subject.js';
import { openVerdant, VerdantRunner } from './verdant_runner.js';

export interface BenchHooks {
  readonly signal?: AbortSignal | undefined;
  /** Bytes of weights read or made, and in all. */
  readonly onProgress?: ((progress: { done: number; total: number }) => void) | undefined;
  /** What begins now. */
  readonly note?: ((text: string) => void) | undefined;
  readonly hub?: Omit<PullOptions, 'signal'> | undefined;
}

/** What both ways of measuring give. */
interface Found {
  readonly described: Described;
  readonly loadMs: number;
  readonly peakRssBytes: number;
  /** One list per section. */
  readonly measurements: readonly (readonly Measurement[])[];
  readonly ceilings: readonly Ceilings[];
  readonly profile: readonly ProfileEntry[] | null;
  readonly rival: RivalReport | null;
}

/**
 * Measures a model, each run between two measurements of what the machine gives at that moment; sections take turns.
 * Throws OptionError, DeviceError, AbortError, and what `load` throws.
 */
export async function bench(request: BenchRequest, hooks: BenchHooks = {}): Promise<BenchReport> {
  const options = checkBench(request);
  const sections = sectionsOf(options);
  const rival = options.rivals === true ? findRival(options.rivalPath) : undefined;
  const probe = new CeilingProbe({ threads: options.threads, tier: tierOf(options.device), device: options.device });
  try {
    const found =
      rival === undefined
        ? await measureHere(options, sections, probe, hooks)
        : await compare(options, sections, probe, hooks, rival);
    return reportOf(options, sections, found);
  } finally {
    probe.close();
  }
}

async function measureHere(
  options: BenchOptions,
  sections: readonly Section[],
  probe: CeilingProbe,
  hooks: BenchHooks,
): Promise<Found> {
  const { signal, onProgress, hub, note } = hooks;
  const { host, loadMs, dispose } = await openVerdant(options, sections, { signal, onProgress, hub });
  try {
    const runner = new VerdantRunner(host, signal);
    note?.('warming up');
    await warm(runner, sections);
    const measurements = sections.map((): Measurement[] => []);
    const ceilings = [await probe.measure()];
    for (let round = 1; round <= options.repeat; round++) {
      for (const [i, section] of sections.entries()) {
        note?.(`round ${round} of ${options.repeat}: ${sectionName(section)}`);
        const sample = await runSection(runner, section, round);
        ceilings.push(await probe.measure());
        measurements[i]!.push({ ...sample, ceilings: between(ceilings.at(-2)!, ceilings.at(-1)!) });
      }
    }
    const peakRssBytes = peakRss();
    const profile: ProfileEntry[] = [];
    for (const section of options.profile === true ? sections : []) {
      note?.(`profile: ${sectionName(section)}`);
      profile.push(...(await profiled(host.step, section, (begun) => runSection(runner, section, 0, begun))));
    }
    return {
      ...{ described: describeHost(host), loadMs, peakRssBytes, measurements, ceilings, rival: null },
      profile: options.profile === true ? profile : null,
    };
  } finally {
    await dispose();
  }
}

/** Both engines read the same file: one with random weights is made for a shape. */
async function compare(
  options: BenchOptions,
  sections: readonly Section[],
  probe: CeilingProbe,
  hooks: BenchHooks,
  rival: ReturnType<typeof findRival>,
): Promise<Found> {
  const { shape, quant = 'q8_0' } = options;
  if (shape === undefined) return measureApart(options, sections, probe, hooks, rival);
  return withTemporaryFile(`${shape}-${quant}.gguf`, async (model) => {
    hooks.note?.(`writing ${model}`);
    await writeShapeFile(model, shapeConfig(shape), shape, quantOf(quant), hooks);
    const read = { ...options, model, shape: undefined, quant: undefined };
    return measureApart(read, sections, probe, hooks, rival);
  });
}

async function measureApart(
  options: BenchOptions,
  sections: readonly Section[],
  probe: CeilingProbe,
  hooks: BenchHooks,
  rival: ReturnType<typeof findRival>,
): Promise<Found> {
  const path = await resolveModel(options.model!, hooks.signal === undefined ? {} : { signal: hooks.signal });
  const { vocabSize } = buildCheckpoint(await openCheckpoint(path));
  const run = await runRivals({ ...options, model: path }, rival, vocabSize, sections, probe, hooks);
  const found = { ...run, loadMs: run.loadMs.median, rival: run.report };
  if (options.profile !== true) return { ...found, profile: null };
  const { profile } = await measureHere({ ...options, repeat: 1 }, sections, probe, hooks);
  return { ...found, profile };
}

function reportOf(options: BenchOptions, sections: readonly Section[], found: Found): BenchReport {
  const { described, loadMs } = found;
  return {
    environment: environmentOf(options.device, options.threads),
    options,
    model: {
      name: options.shape ?? options.model!,
      weights:
        options.shape === undefined ? (options.quant ?? described.work.dtype) : `random ${options.quant ?? 'q8_0'}`,
      architecture: described.architecture,
      stepBytes: described.work.stepBytes,
      packedBytes: described.packedBytes,
      compute: described.compute,
    },
    work: described.work,
    load: { ms: loadMs, gigabytesPerSecond: described.packedBytes / loadMs / 1e6 },
    ceilings: ceilingSpreads(found.ceilings),
    sections: sections.map((section, i) =>
      sectionReport(section, described.work, options.compute, found.measurements[i]!),
    ),
    peakRssBytes: found.peakRssBytes,
    profile: found.profile,
    rival: found.rival,
  };
}
