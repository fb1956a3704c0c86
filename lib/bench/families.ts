/** What encoders, encoder-decoders and models of speech do per second, on published sizes with random weights. */

import { AudioHost, audioProgram } from '../engine/audio_host.js';
import { buildAudio, buildEncoder, buildSeq2Seq } from '../engine/build.js';
import { encodeProgram } from '../engine/encode_texts.js';
import { EncoderHost, encoderProgram } from '../engine/encoder_host.js';
import { DecoderHost } from '../engine/host.js';
import { OptionError } from '../errors.js';
import type { Program } from '../graph/program.js';
import { findArchitecture } from '../models/index.js';
import { Seq2SeqModel } from '../tasks/seq2seq_model.js';
import { readConfig } from '../weights/config.js';
import { randomSource } from '../weights/random_source.js';
import type { Checkpoint } from '../weights/types.js';
import { CeilingProbe, type Ceilings } from './ceilings.js';
import { type Environment, environmentOf } from './environment.js';
import { type FamilyName, familyShapes } from './family_shapes.js';
import { type BenchOptions, tierOf } from './options.js';
import { arithmeticOf, between, type CeilingName, ceilingSpreads } from './report.js';
import { promptIds } from './sections.js';
import { type Spread, spread } from './statistics.js';
import { peakRss } from './subject.js';
import { countWork, fullOperations } from './work.js';

const floats = ['f32', 'f16', 'bf16'] as const;
type FloatType = (typeof floats)[number];
const isFloat = (name: string): name is FloatType => floats.includes(name as FloatType);

/** Some work to do again and again. */
interface Task {
  readonly name: string;
  /** What one run makes, in units. */
  readonly amount: number;
  readonly unit: string;
  /** Multiplications and additions of one run, where they are counted. */
  readonly operations?: number;
  run(round: number): Promise<unknown>;
}

interface Subject {
  readonly tasks: readonly Task[];
  readonly packedBytes: number;
  readonly dtype: string;
  dispose(): Promise<void>;
}

export interface FamilyTask {
  readonly name: string;
  readonly unit: string;
  readonly perSecond: Spread;
  readonly ms: Spread;
  readonly gigaflops: Spread | null;
  /** Of the ceiling that `arithmetic` names, measured around each run. */
  readonly fraction: Spread | null;
}

export interface FamilyReport {
  readonly environment: Environment;
  readonly shape: FamilyName;
  readonly weights: string;
  readonly compute: string;
  readonly arithmetic: CeilingName;
  readonly packedBytes: number;
  readonly loadMs: number;
  readonly peakRssBytes: number;
  readonly ceilings: Readonly<Record<CeilingName, Spread | null>>;
  readonly tasks: readonly FamilyTask[];
}

const texts = { count: 32, length: 128 };
const written = 64;
const seconds = 30;
const sampleRate = 16_000;

function readerOf(name: FamilyName) {
  const reader = readConfig({ config: familyShapes[name], configFile: name });
  const architecture = findArchitecture(reader.architectures[0], reader.modelType, name);
  return { reader, architecture, className: reader.architectures[0]! };
}

const dtypeOf = (program: Program): string => countWork(program).dtype;

async function openEncoder(name: FamilyName, quant: FloatType, options: BenchOptions): Promise<Subject> {
  const { reader, architecture, className } = readerOf(name);
  if (architecture.kind !== 'encoder') throw new Error(`${name} is no encoder`);
  const built = buildEncoder(architecture, className, reader, randomSource(quant, 1, []));
  const outputs = ['last_hidden_state'];
  const { count, length } = texts;
  const { device, threads, compute } = options;
  const host = await EncoderHost.open(built, outputs, { device, threads, compute, stepRows: count * length });
  const program = encoderProgram(built, outputs, compute);
  const one = (round: number, i: number) => ({ ids: promptIds(length, built.vocabSize, count * round + i) });
  const operations = count * fullOperations(countWork(program), length);
  const run = (round: number): Promise<unknown> =>
    Promise.all(Array.from({ length: count }, (_, i) => host.run(outputs, one(round, i))));
  return {
    tasks: [{ name: `embed ${count} x ${length}`, amount: count * length, unit: 'tokens', operations, run }],
    packedBytes: host.model.memory().weightBytes,
    dtype: dtypeOf(program),
    dispose: () => host.dispose(),
  };
}

async function openSeq2Seq(name: FamilyName, quant: FloatType, options: BenchOptions): Promise<Subject> {
  const { reader, architecture } = readerOf(name);
  if (architecture.kind !== 'seq2seq') throw new Error(`${name} is no encoder-decoder`);
  const whole = buildSeq2Seq(architecture, reader, randomSource(quant, 1, []), options.kvType);
  const { device, threads, compute } = options;
  const host = await DecoderHost.open(
    whole.decoder,
    { device, threads, compute, maxContext: 128, kvMemory: '1GiB' },
    whole,
  );
  const checkpoint: Checkpoint = {
    ...{ kind: 'safetensors', path: name, config: familyShapes[name], generationConfig: undefined, tensors: new Map() },
    ...{ absorbed: new Set<string>(), files: [], folder: undefined, configFile: name },
  };
  const model = new Seq2SeqModel(host, checkpoint, undefined, whole);
  const read = { maxTokens: written, greedy: true, ignoreEos: true };
  const task = (batch: number): Task => ({
    ...{ name: `${batch} x ${texts.length} read, ${written} written`, amount: batch * written, unit: 'tokens' },
    run: (round) =>
      Promise.all(
        Array.from({ length: batch }, (_, i) =>
          model.generate(promptIds(texts.length, whole.sourceVocab, batch * round + i), read).result(),
        ),
      ),
  });
  return {
    tasks: [task(1), task(8)],
    packedBytes: host.model.memory().weightBytes,
    dtype: dtypeOf(encodeProgram(whole, compute)),
    dispose: () => model.dispose(),
  };
}

async function openAudio(name: FamilyName, quant: FloatType, options: BenchOptions): Promise<Subject> {
  const { reader, architecture, className } = readerOf(name);
  if (architecture.kind !== 'audio') throw new Error(`${name} reads no sound`);
  const built = buildAudio(architecture, className, reader, randomSource(quant, 1, []));
  const { device, threads, compute } = options;
  const host = await AudioHost.open(built, ['logits'], { device, threads, compute });
  const sound = Float32Array.from(
    { length: seconds * sampleRate },
    (_, i) => Math.sin(i * 0.05) + Math.sin(i * i * 1e-6),
  );
  return {
    tasks: [{ name: `${seconds} s of sound`, amount: seconds, unit: 's of sound', run: () => host.run(sound) }],
    packedBytes: host.model.memory().weightBytes,
    dtype: dtypeOf(audioProgram(built, ['logits'], compute)),
    dispose: () => host.dispose(),
  };
}

function open(name: FamilyName, quant: FloatType, options: BenchOptions): Promise<Subject> {
  const { kind } = readerOf(name).architecture;
  if (kind === 'encoder') return openEncoder(name, quant, options);
  return kind === 'audio' ? openAudio(name, quant, options) : openSeq2Seq(name, quant, options);
}

interface Run {
  readonly ms: number;
  readonly ceilings: Ceilings;
}

function taskReport(task: Task, runs: readonly Run[], arithmetic: CeilingName): FamilyTask {
  const { name, unit, amount, operations } = task;
  const flops = operations === undefined ? [] : runs.map((r) => operations / r.ms / 1e6);
  const fraction = flops.flatMap((f, i) => {
    const ceiling = runs[i]!.ceilings[arithmetic];
    return ceiling === null ? [] : [f / ceiling];
  });
  return {
    ...{ name, unit, perSecond: spread(runs.map((r) => (1000 * amount) / r.ms))!, ms: spread(runs.map((r) => r.ms))! },
    ...{ gigaflops: spread(flops) ?? null, fraction: spread(fraction) ?? null },
  };
}

/** Measures a family's shape; options that are for decoders only are refused. Throws as `bench` does. */
export async function benchFamily(
  shape: FamilyName,
  options: BenchOptions,
  hooks: { readonly signal?: AbortSignal | undefined; readonly note?: ((text: string) => void) | undefined },
): Promise<FamilyReport> {
  for (const name of ['rivals', 'profile', 'context', 'svg'] as const)
    if (options[name] !== undefined) throw new OptionError(`${name} is for decoders`, { name, found: options[name] });
  const quant = options.quant ?? 'f32';
  if (!isFloat(quant)) throw new OptionError('bad quant', { name: 'quant', expected: floats.join(', '), found: quant });
  const probe = new CeilingProbe({ threads: options.threads, tier: tierOf(options.device), device: options.device });
  const begun = performance.now();
  const subject = await open(shape, quant, options);
  const loadMs = performance.now() - begun;
  try {
    hooks.note?.('warming up');
    for (const task of subject.tasks) await task.run(0);
    const runs = subject.tasks.map((): Run[] => []);
    const ceilings = [await probe.measure()];
    for (let round = 1; round <= options.repeat; round++) {
      for (const [i, task] of subject.tasks.entries()) {
        hooks.signal?.throwIfAborted();
        hooks.note?.(`round ${round} of ${options.repeat}: ${task.name}`);
        const started = performance.now();
        await task.run(round);
        const ms = performance.now() - started;
        ceilings.push(await probe.measure());
        runs[i]!.push({ ms, ceilings: between(ceilings.at(-2)!, ceilings.at(-1)!) });
      }
    }
    const arithmetic = arithmeticOf(subject.dtype, options.compute, ceilings[0]!);
    return {
      ...{ environment: environmentOf(options.device, options.threads), shape, weights: quant, arithmetic, loadMs },
      ...{ compute: options.compute ?? 'auto', packedBytes: subject.packedBytes, peakRssBytes: peakRss() },
      ceilings: ceilingSpreads(ceilings),
      tasks: subject.tasks.map((task, i) => taskReport(task, runs[i]!, arithmetic)),
    };
  } finally {
    probe.close();
    await subject.dispose();
  }
}
