import type { FamilyReport } from './families.js';
import { ceilingText, columns, range, short } from './text.js';

/** A family's report as text for people. */
export function familyText(r: FamilyReport): string {
  const { environment: e } = r;
  const head = columns([
    ['model', `${r.shape}, random ${r.weights}, compute ${r.compute}`],
    ['machine', `${e.cpu}, ${e.platform}`],
    ['device', `${e.device} (${e.tier}), ${e.threads} of ${e.allowedCpus} CPUs; verdant ${e.verdant}, node ${e.node}`],
    ['ceilings', ceilingText(r.ceilings)],
    ['load', `${r.loadMs.toFixed(0)} ms, ${short(r.packedBytes / 1e9)} GB packed, random weights made, not read`],
    ['peak RSS', `${short(r.peakRssBytes / 1e9)} GB`],
  ]);
  const rows = r.tasks.map((task) => [
    task.name,
    `${range(task.perSecond)} ${task.unit}/s`,
    range(task.ms),
    task.gigaflops === null ? '-' : range(task.gigaflops),
    task.fraction === null ? '-' : `${(100 * task.fraction.median).toFixed(0)} % of ${r.arithmetic}`,
  ]);
  return `${head}\n${columns([['', 'speed', 'ms', 'GFLOP/s', 'of the ceiling'], ...rows])}`;
}
