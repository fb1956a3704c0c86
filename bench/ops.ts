import { parseArgs } from 'node:util';
import Benchmark from 'benchmark';
import { short } from '../lib/bench/text.js';
import { weightDTypes } from '../lib/graph/dtype.js';
import { DeviceModel } from '../lib/runtime/executable.js';
import { buildProgram, type OpCase, type OpInput } from '../tests/support/run_op.js';
import { type TimedCase, timedCases } from './op_cases.js';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    case: { type: 'string', default: '' },
    device: { type: 'string', default: 'cpu' },
    threads: { type: 'string' },
    seconds: { type: 'string', default: '0.2' },
    list: { type: 'boolean', default: false },
  },
});

const product = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

function inputBytes(input: OpInput): number {
  if (!('weight' in input)) return product(input.shape) * ('dtype' in input && input.dtype === 'u8' ? 1 : 4);
  const { block, bytes } = weightDTypes[input.weight.dtype];
  return ((input.weight.rows * input.weight.cols) / block) * bytes;
}

/** Bytes that the nodes must read and write at least, weights as files store them. */
function bytesOf(nodes: readonly OpCase[]): number {
  const made = nodes.flatMap((n) => n.outputs ?? []).reduce((n, o) => n + 4 * product(o.shape), 0);
  return nodes.flatMap((n) => Object.values(n.inputs)).reduce((n, i) => n + inputBytes(i), made);
}

/** Pairs of a row and a key that it sees; windows and masks are not counted. */
function pairsOf({ inputs, attrs }: OpCase): number {
  const bounds = (input: OpInput | undefined): number[] | undefined =>
    input !== undefined && 'data' in input ? Array.from(input.data) : undefined;
  const rows = bounds(inputs.starts) ?? [];
  const keys = bounds(inputs.key_starts) ?? rows;
  let pairs = 0;
  for (let s = 0; s + 1 < rows.length; s++) {
    const [r, k] = [rows[s + 1]! - rows[s]!, keys[s + 1]! - keys[s]!];
    pairs += r * k - (attrs?.causal === true ? (r * (r - 1)) / 2 : 0);
  }
  return pairs;
}

/** Multiplications and additions of products; ops without products count as none. */
function operationsOf(node: OpCase): number {
  const [first, second] = Object.values(node.inputs);
  const rows = product(node.outputs?.[0]?.shape ?? [0]);
  if (node.op === 'linear') return 2 * rows * second!.shape[1]!;
  if (node.op === 'matmul') return 2 * rows * first!.shape.at(-1)!;
  if (node.op === 'attention') return 4 * first!.shape[1]! * pairsOf(node);
  return 0;
}

/** Seconds of one run, the median of all samples. */
async function time({ nodes }: TimedCase): Promise<number> {
  const { program, inputs } = buildProgram(nodes);
  const threads = values.threads === undefined ? {} : { threads: Number(values.threads) };
  const model = await DeviceModel.open(values.device, threads);
  try {
    const executable = await model.compile(program);
    executable.runSync({}, inputs);
    const run = new Benchmark(() => executable.runSync({}, inputs), { maxTime: seconds, minSamples: 9 });
    run.run();
    if (run.error !== undefined) throw run.error;
    const sorted = [...run.stats.sample].sort((a, b) => a - b);
    return sorted[sorted.length >> 1]!;
  } finally {
    await model.dispose();
  }
}

const seconds = Number(values.seconds);
if (!(seconds > 0)) throw new Error(`--seconds must be a positive number; found ${values.seconds}`);
for (const name of positionals) {
  if (!Object.hasOwn(timedCases, name))
    throw new Error(`no op ${name}; expected ${Object.keys(timedCases).join(', ')}`);
}
const chosen = Object.entries(timedCases)
  .filter(([op]) => positionals.length === 0 || positionals.includes(op))
  .map(([op, cases]) => [op, cases.filter((c) => c.name.includes(values.case))] as const);
if (chosen.every(([, cases]) => cases.length === 0)) throw new Error(`no case has "${values.case}" in its name`);

for (const [op, cases] of chosen) {
  if (cases.length === 0) continue;
  if (values.list) {
    process.stdout.write(cases.map((c) => `${op}  ${c.name}\n`).join(''));
    continue;
  }
  const width = Math.max(op.length, ...cases.map((c) => c.name.length));
  const line = (name: string, ...cells: string[]): void => {
    process.stdout.write(`${[name.padEnd(width), ...cells.map((c) => c.padStart(11))].join('  ')}\n`);
  };
  line(op, 'device', 'µs', 'GB/s', 'GFLOP/s');
  for (const timed of cases) {
    const taken = await time(timed);
    const operations = timed.nodes.reduce((n, node) => n + operationsOf(node), 0);
    line(
      timed.name,
      values.device,
      short(taken * 1e6),
      short(bytesOf(timed.nodes) / taken / 1e9),
      operations === 0 ? '-' : short(operations / taken / 1e9),
    );
  }
  process.stdout.write('\n');
}
