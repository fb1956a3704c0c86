/** A report as text for people. */
import type { ProfileEntry } from './profile.js';
import type { BenchReport, CeilingName, SectionReport } from './report.js';
import type { RivalReport } from './rivals.js';
import type { Spread } from './statistics.js';

/** Three significant digits, or all digits before the point. */
export function short(x: number): string {
  if (!Number.isFinite(x)) return '-';
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.max(Math.abs(x), 1e-3))));
  return x.toFixed(Math.min(digits, 3));
}

/** 40.5 (39.8–41.0); one sample has no range. */
export function range(s: Spread): string {
  return s.samples.length < 2 ? short(s.median) : `${short(s.median)} (${short(s.min)}–${short(s.max)})`;
}

function percent(s: Spread | null): string {
  return s === null ? '-' : `${(100 * s.median).toFixed(s.median < 0.1 ? 1 : 0)} %`;
}

/** Columns as wide as their widest entry, two spaces between them. */
export function columns(rows: readonly (readonly string[])[]): string {
  const widths = rows.reduce<number[]>((w, row) => row.map((text, i) => Math.max(w[i] ?? 0, text.length)), []);
  const line = (row: readonly string[]): string => row.map((text, i) => text.padEnd(widths[i]!)).join('  ');
  return rows.map((row) => `${line(row).trimEnd()}\n`).join('');
}

const ceilingNames: Readonly<Record<CeilingName, string>> = {
  stream: 'memory stream',
  f32: 'f32',
  bf16: 'bf16',
  int8: 'int8',
};

export function ceilingText(ceilings: BenchReport['ceilings']): string {
  return (Object.keys(ceilingNames) as CeilingName[])
    .map((kind) => {
      const found = ceilings[kind];
      const unit = kind === 'stream' ? 'GB/s' : kind === 'int8' ? 'GOP/s' : 'GFLOP/s';
      return `${ceilingNames[kind]} ${found === null ? 'none' : `${range(found)} ${unit}`}`;
    })
    .join(', ');
}

function head(r: BenchReport): string {
  const { environment: e, model: m } = r;
  const compute = Object.entries(m.compute).map(([name, count]) => `${name}: ${count} linears`);
  const made = r.options.shape === undefined || r.rival !== null ? '' : ', random weights made, not read';
  return columns([
    ['model', `${m.name}, ${m.weights}; ${short(m.stepBytes / 1e9)} GB of weights per step, ${compute.join(', ')}`],
    ['machine', `${e.cpu}, ${e.platform}`],
    ['device', `${e.device} (${e.tier}), ${e.threads} of ${e.allowedCpus} CPUs; verdant ${e.verdant}, node ${e.node}`],
    ['ceilings', ceilingText(r.ceilings)],
    [
      'load',
      `${r.load.ms.toFixed(0)} ms, ${short(r.model.packedBytes / 1e9)} GB packed at ${short(r.load.gigabytesPerSecond)} GB/s${made}`,
    ],
    ['peak RSS', `${short(r.peakRssBytes / 1e9)} GB`],
  ]);
}

function sectionRow(s: SectionReport): string[] {
  const latency =
    s.kind === 'prefill'
      ? `first ${range(s.firstTokenMs)}`
      : s.interTokenMs === null
        ? '-'
        : `p50 ${short(s.interTokenMs.p50)}, p99 ${short(s.interTokenMs.p99)}`;
  return [
    s.name,
    range(s.tokensPerSecond),
    latency,
    range(s.gigabytesPerSecond),
    percent(s.fractions.stream),
    range(s.gigaflops),
    ...(['f32', 'bf16', 'int8'] as const).map((kind) => percent(s.fractions[kind])),
    `${percent(s.fractions[s.limit])} of ${ceilingNames[s.limit]}`,
  ];
}

function profileText(entries: readonly ProfileEntry[]): string {
  let text = '';
  for (const section of new Set(entries.map((e) => e.section))) {
    const part = entries.filter((e) => e.section === section);
    const byOp = new Map<string, number>();
    for (const e of part) byOp.set(e.op, (byOp.get(e.op) ?? 0) + e.share);
    const ops = [...byOp].sort((a, b) => b[1] - a[1]).map(([op, share]) => `${op} ${(100 * share).toFixed(1)} %`);
    const rows = part.map((e) => [
      `${(100 * e.share).toFixed(1)} %`,
      e.ms.toFixed(2),
      String(e.calls),
      e.op,
      e.compute,
      e.node,
    ]);
    text += `\nprofile of ${section}: ${ops.join(', ')}\n${columns([['share', 'ms', 'calls', 'op', 'compute', 'node'], ...rows])}`;
  }
  return text;
}

function rivalText(r: RivalReport): string {
  const rows = r.sections.map((s) => [s.name, range(s.ours), range(s.theirs), `${s.ratio.toFixed(2)} x`, s.variant]);
  const table = columns([['', 'Verdant tok/s', 'rival tok/s', 'ratio', 'its best setting'], ...rows]);
  const gigabytes = (b: number): string => `${short(b / 1e9)} GB`;
  const { loadMs: load, peakRssBytes: rss } = r;
  return (
    `\nrival: ${r.package} ${r.version}${r.about === '' ? '' : ` (${r.about})`}\n${table}` +
    `load ${range(load.ours)} ms against ${range(load.theirs)} ms, ` +
    `peak RSS ${gigabytes(rss.ours)} against ${gigabytes(rss.theirs)}\n`
  );
}

/** The whole report; medians with (min–max). */
export function reportText(r: BenchReport): string {
  const titles = ['', 'tok/s', 'ms', 'GB/s', 'of stream', 'GFLOP/s', 'of f32', 'of bf16', 'of int8', 'limit'];
  const table = columns([titles, ...r.sections.map(sectionRow)]);
  const profile = r.profile === null ? '' : profileText(r.profile);
  return `${head(r)}\n${table}${profile}${r.rival === null ? '' : rivalText(r.rival)}`;
}
