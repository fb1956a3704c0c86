/** A report as a bar chart: plain SVG, complete in itself. */
import type { BenchReport, SectionReport } from './report.js';
import { range, short } from './text.js';

const layout = { left: 190, bar: 420, right: 330, row: 34, top: 84, bottom: 46 };

function escaped(text: string): string {
  const named: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
  // biome-ignore lint/suspicious/noControlCharactersInRegex: XML forbids them
  return text.replace(/[&<>"]/g, (c) => named[c]!).replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f]/g, '\ufffd');
}

function text(x: number, y: number, content: string, more = ''): string {
  return `<text x="${x}" y="${y}"${more}>${escaped(content)}</text>`;
}

/** A section: its bar is the fraction of the ceiling that limits it, with the range of all runs as a line. */
function bar(s: SectionReport, y: number): string {
  const found = s.fractions[s.limit]!;
  const at = (x: number): number => Math.round(layout.left + layout.bar * Math.min(1, x));
  const middle = y + layout.row / 2 - 3;
  const width = Math.max(1, at(found.median) - layout.left);
  const label = `${(100 * found.median).toFixed(0)} % of ${s.limit}, ${range(s.tokensPerSecond)} tok/s`;
  return [
    text(layout.left - 10, middle + 4, s.name, ' text-anchor="end"'),
    `<rect x="${layout.left}" y="${y}" width="${width}" height="${layout.row - 10}" class="${s.limit === 'stream' ? 'memory' : 'compute'}"/>`,
    `<line x1="${at(found.min)}" x2="${at(found.max)}" y1="${middle - 1}" y2="${middle - 1}" class="range"/>`,
    text(layout.left + layout.bar + 10, middle + 4, label),
  ].join('\n');
}

export function reportChart(r: BenchReport): string {
  const { left, row, top, bottom } = layout;
  const width = left + layout.bar + layout.right;
  const end = top + row * r.sections.length;
  const grid = [0, 25, 50, 75, 100].map((p) => {
    const x = left + (layout.bar * p) / 100;
    const line = `<line x1="${x}" x2="${x}" y1="${top - 8}" y2="${end}" class="grid"/>`;
    return `${line}\n${text(x, end + 16, `${p} %`, ' text-anchor="middle"')}`;
  });
  const { environment: e, model: m } = r;
  const ceilings = Object.entries(r.ceilings)
    .filter(([, found]) => found !== null)
    .map(([name, found]) => `${name} ${short(found!.median)} ${name === 'stream' ? 'GB/s' : 'GFLOP/s'}`);
  return `<?xml version="1.0" encoding="UTF-8"?>
<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${end + bottom}" viewBox="0 0 ${width} ${end + bottom}" font-family="sans-serif" font-size="12">
<style>.memory{fill:#3b7d4f}.compute{fill:#41689c}.range{stroke:#111;stroke-width:2}.grid{stroke:#ccc}.small{font-size:11px;fill:#444}</style>
<rect width="100%" height="100%" fill="#fff"/>
${text(16, 24, `verdant ${e.verdant}: ${m.name}, ${m.weights}, ${e.threads} threads`, ' font-size="15" font-weight="bold"')}
${text(16, 43, `${e.cpu}, ${e.device}, node ${e.node}, ${e.date.slice(0, 10)}`, ' class="small"')}
${text(16, 60, `ceilings of the same run: ${ceilings.join(', ')}`, ' class="small"')}
${grid.join('\n')}
${r.sections.map((s, i) => bar(s, top + row * i)).join('\n')}
${text(left, end + 36, 'part of the ceiling measured around each run: green memory, blue arithmetic; line: all runs', ' class="small"')}
</svg>
`;
}
