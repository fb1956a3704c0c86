/** Decode steps that follow each other on the device, k in a call: ids, statuses and steps as on the CPU. */
import { describe, expect, it } from 'vitest';
import type { Program, ProgramDim, ProgramNode, ProgramValue } from '../../lib/graph/program.js';
import { floats } from '../../lib/graph/weight_expr.js';
import { sampleIntegerColumns, sampleNumberColumns } from '../../lib/ops/sample.js';
import { DeviceModel, type Executable, type Inputs } from '../../lib/runtime/executable.js';
import { testDevices } from '../support/run_op.js';

const kVocab = 24;
const kPages = 2;
const kNaNId = 20;
const likeliest = (id: number): number => (5 * id + 3) % kVocab;

/** Row i: the logits of what follows id i. */
const follow = Float32Array.from({ length: kVocab * kVocab }, (_, n) => {
  const [id, next] = [Math.floor(n / kVocab), n % kVocab];
  return id === kNaNId && next === 3 ? Number.NaN : -0.3 * Math.abs(next - likeliest(id));
});

/** ids -> token_write -> embed: logits of the next id -> sample -> ids. */
function looped(): Program {
  const values: ProgramValue[] = [];
  const input = (name: string, shape: readonly ProgramDim[], dtype: 'i32' | 'f32' = 'i32'): number =>
    values.push({ kind: 'input', name, dtype, shape }) - 1;
  const temp = (name: string, shape: readonly ProgramDim[], dtype: 'i32' | 'f32'): number =>
    values.push({ kind: 'temp', name, dtype, shape }) - 1;
  const ids = input('ids', ['rows']);
  const positions = input('kv_positions', ['rows']);
  const seqs = input('seq_ids', ['rows']);
  const table = input('table', ['rows', kPages]);
  const rows = input('rows', ['rows']);
  const parameters = [
    input('numbers', ['rows', sampleNumberColumns.length], 'f32'),
    input('integers', ['rows', sampleIntegerColumns.length]),
  ];
  const [empty, none] = [input('no_offsets', ['bounds']), input('none', [0])];
  const [noValues, one] = [input('no_values', [0], 'f32'), input('one', [1])];
  const [stopOffsets, stopIds] = [input('stop_offsets', ['bounds']), input('stop_ids', ['stops'])];
  const remaining = input('remaining', ['rows']);
  const tokens = values.push({ kind: 'state', name: 'tokens', dtype: 'i32', shape: [24, 32] }) - 1;
  const weight = floats(follow, kVocab);
  const next = values.push({ kind: 'weight', name: 'next', dtype: 'f32', shape: [kVocab, kVocab], weight }) - 1;
  const logits = temp('logits', ['rows', kVocab], 'f32');
  const drawn = [temp('drawn', ['rows'], 'i32'), temp('logprobs', ['rows'], 'f32')];
  const rest = [temp('top_ids', ['rows', 0], 'i32'), temp('top', ['rows', 0], 'f32'), temp('mu', ['rows'], 'f32')];
  const history = [rows, positions, seqs, tokens, table];
  const lists = [empty, none, noValues, empty, one, none, stopOffsets, stopIds, empty, none, -1];
  const nodes: ProgramNode[] = [
    { op: 'token_write', name: 'write', inputs: [ids, tokens, table, positions, seqs], outputs: [], attrs: {} },
    { op: 'embed', name: 'embed', inputs: [ids, next], outputs: [logits], attrs: {} },
    {
      op: 'sample',
      name: 'sample',
      inputs: [logits, ...parameters, ...history, ...lists],
      outputs: [...drawn, ...rest],
      attrs: {},
    },
  ];
  return {
    name: 'looped',
    dims: ['rows', 'bounds', 'stops'],
    values,
    nodes,
    outputs: [{ name: 'ids', value: drawn[0]! }],
    loop: { idsOutput: drawn[0]!, idsInput: ids, increments: [positions], stopOffsets, stopIds, remaining },
  };
}

interface Sequence {
  readonly first: number;
  readonly remaining?: number;
  readonly stops?: readonly number[];
  readonly temperature?: number;
  readonly repetitionPenalty?: number;
}

function parameterRow(columns: readonly string[], given: Readonly<Record<string, number>>): number[] {
  const off: Readonly<Record<string, number>> = { top_p: 1, typical_p: 1, repetition_penalty: 1 };
  return columns.map((name) => given[name] ?? off[name] ?? 0);
}

/** Inputs of a step in which sequence s is at its first id; its blocks are 3 s + 1 and 3 s. */
function start(sequences: readonly Sequence[]) {
  const each = (f: (s: Sequence, i: number) => number | readonly number[]): Int32Array =>
    Int32Array.from(sequences.flatMap(f));
  let stops = 0;
  return {
    ids: each((s) => s.first),
    kv_positions: each(() => 0),
    seq_ids: each((_, i) => i),
    table: each((_, i) => [3 * i + 1, 3 * i]),
    rows: each((_, i) => i),
    numbers: Float32Array.from(
      sequences.flatMap((s) =>
        parameterRow(sampleNumberColumns, {
          temperature: s.temperature ?? 0,
          repetition_penalty: s.repetitionPenalty ?? 1,
        }),
      ),
    ),
    integers: each((_, i) => parameterRow(sampleIntegerColumns, { seed_low: 77, sample_index: i, prompt_length: 1 })),
    no_offsets: new Int32Array(sequences.length + 1),
    none: new Int32Array(0),
    no_values: new Float32Array(0),
    one: new Int32Array(1),
    stop_offsets: Int32Array.from([0, ...sequences.map((s) => (stops += s.stops?.length ?? 0))]),
    stop_ids: each((s) => s.stops ?? []),
    remaining: each((s) => s.remaining ?? 100),
  } satisfies Inputs;
}

const dimsOf = (inputs: ReturnType<typeof start>) => ({
  rows: inputs.rows.length,
  bounds: inputs.rows.length + 1,
  stops: inputs.stop_ids.length,
});

interface Made {
  readonly ids: number[][];
  readonly status: number[][];
  readonly steps: number;
}

/** Of each step that was done: ids and statuses of the sequences. */
async function run(executable: Executable, inputs: ReturnType<typeof start>, k: number): Promise<Made> {
  const { outputs, status, steps } = await executable.run(dimsOf(inputs), inputs, k);
  const n = inputs.rows.length;
  const split = (list: Iterable<number>) => {
    const all = [...list];
    return Array.from({ length: steps }, (_, i) => all.slice(i * n, (i + 1) * n));
  };
  return { ids: split(outputs.ids!), status: split(status), steps };
}

/** As `run`, one step a call: what goes on is moved here. */
async function runOneByOne(executable: Executable, sequences: readonly Sequence[], k: number): Promise<Made> {
  const inputs = start(sequences);
  const made: Made[] = [];
  const ended = sequences.map(() => false);
  for (let i = 0; i < k && ended.includes(false); i++) {
    const { ids, status } = await run(executable, inputs, 1);
    const told = status[0]!.map((s, n) => (ended[n] ? 2 : s));
    for (const [n, s] of told.entries()) {
      ended[n] = s !== 0;
      if (s !== 0) continue;
      inputs.ids[n] = ids[0]![n]!;
      inputs.kv_positions[n]!++;
      inputs.remaining[n]!--;
    }
    made.push({ ids, status: [told], steps: 1 });
  }
  return { ids: made.flatMap((m) => m.ids), status: made.flatMap((m) => m.status), steps: made.length };
}

const kinds: readonly Sequence[] = [
  { first: 1 },
  { first: 13 }, // then 20, whose logits hold a NaN
  { first: 0, stops: [7, 18] },
  { first: 0, remaining: 3 },
  { first: 5, temperature: 1 },
  { first: 22, repetitionPenalty: 4 },
];
const brief: readonly Sequence[] = [
  { first: 0, remaining: 1 },
  { first: 0, stops: [18], remaining: 2 },
];

async function on<T>(device: string, f: (executable: Executable) => Promise<T>): Promise<T> {
  const model = await DeviceModel.open(device, { threads: 1 });
  try {
    return await f(await model.compile(looped()));
  } finally {
    await model.dispose();
  }
}

describe.each(testDevices())('a loop on %s', (device) => {
  it('stops each sequence at its stop ids, its limit or a NaN, and does no step after the last', () =>
    on(device, async (executable) => {
      const made = await run(executable, start(kinds), 4);
      expect(made.ids.map((ids) => ids.slice(0, 4))).toEqual([
        [8, 20, 3, 3],
        [19, -1, 18, 18],
        [2, -1, 18, 21],
        [13, -1, 18, 21],
      ]);
      expect(made.status).toEqual([
        [0, 0, 0, 0, 0, 0],
        [0, 3, 1, 0, 0, 0],
        [0, 2, 2, 1, 0, 0],
        [0, 2, 2, 2, 0, 0],
      ]);
      expect(await run(executable, start(brief), 4)).toEqual({
        ids: [
          [3, 3],
          [3, 18],
        ],
        status: [
          [1, 0],
          [2, 1],
        ],
        steps: 2,
      });
    }));

  it('gives what the CPU gives, for k = 1 and 4, whatever ran before', async () => {
    const script = (executable: Executable): Promise<Made[]> =>
      [
        [brief, 4], // the second step is a graph
        [kinds, 1], // its memory moves
        [brief, 4],
        [kinds, 4],
        [brief, 4],
        [kinds, 4],
        [kinds.slice(3), 4],
        [brief, 1],
        [kinds, 40], // into the second page
        [kinds, 1],
      ].reduce(
        async (before, [sequences, k]) => [
          ...(await before),
          await run(executable, start(sequences as readonly Sequence[]), k as number),
        ],
        Promise.resolve([] as Made[]),
      );
    const made = await on(device, script);
    expect(made).toEqual(await on('cpu', script));
    expect(made.map((m) => m.steps)).toEqual([2, 1, 2, 4, 2, 4, 4, 1, 40, 1]);
    expect(new Set(made[8]!.ids.map((ids) => ids[4])).size).toBeGreaterThan(3);
  });

  it('gives with k = 8 what k = 1 gives, and what it gives when its nodes are timed', () =>
    on(device, async (executable) => {
      const together = await run(executable, start(kinds), 8);
      expect(together).toEqual(await runOneByOne(executable, kinds, 8));
      executable.profile(true);
      expect(await run(executable, start(kinds), 8)).toEqual(together);
      expect(executable.profile(false).nodes.map((n) => n.calls)).toEqual([8, 8, 8]);
      expect(await run(executable, start(kinds), 8)).toEqual(together);
    }));
});
