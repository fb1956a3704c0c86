/** One engine in a fresh process: the task comes in, one run of each section goes out. */
import type { BenchRequest } from './options.js';
import { runRival, type Variant } from './rival_runner.js';
import type { Section } from './sections.js';
import { type ProcessRun, runVerdant } from './subject.js';

export interface EngineTask {
  readonly request: BenchRequest;
  readonly sections: readonly Section[];
  readonly seed: number;
  /** Absent: Verdant. */
  readonly rival?: { readonly entry: string; readonly vocab: number; readonly variant: Variant };
}

export type EngineReply = { readonly run: ProcessRun } | { readonly problem: string };

function run({ request, sections, seed, rival }: EngineTask): Promise<ProcessRun> {
  return rival === undefined
    ? runVerdant(request, sections, seed)
    : runRival(rival.entry, request.model!, rival.vocab, rival.variant, sections, seed);
}

async function answer(task: EngineTask): Promise<EngineReply> {
  try {
    return { run: await run(task) };
  } catch (error) {
    return { problem: (error as Error).message };
  }
}

process.on('disconnect', () => process.exit(0));
process.on('SIGINT', () => undefined); // the parent decides
process.once('message', (task: EngineTask) => {
  void answer(task).then((reply) => process.send?.(reply, () => process.exit(0)));
});
