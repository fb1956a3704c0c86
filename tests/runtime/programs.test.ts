import { statSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Program } from '../../lib/graph/program.js';
import { floats, randomWeight } from '../../lib/graph/weight_expr.js';
import { DeviceModel } from '../../lib/runtime/executable.js';
import { attentionData, rowsCase } from '../ops/attention.js';
import { cacheCase, randomCache, writeCase } from '../ops/cache.js';
import { f32, i32, out } from '../ops/inputs.js';
import { TempFolder } from '../support/bytes.js';
import { sum, tower } from '../support/programs.js';
import { buildProgram, type OpCase, runOps } from '../support/run_op.js';

let model: DeviceModel;
beforeAll(async () => {
  model = await DeviceModel.open('cpu');
});
afterAll(() => model.dispose());

const any = (x: unknown) => x as never;
const node = sum.nodes[0]!;
const twist = (change: Partial<Record<keyof Program, unknown>>): Program => ({ ...sum, ...change }) as Program;

/** Programs that no compile may accept: each with what its message says. */
const malformed: readonly (readonly [string, Program, RegExp])[] = [
  ['an unknown op', twist({ nodes: [{ ...node, op: 'addd' }] }), /addd.*unknown op/],
  ['an unknown attribute', twist({ nodes: [{ ...node, attrs: { eps: 1 } }] }), /unknown attribute eps/],
  ['a missing attribute', twist({ nodes: [{ ...node, op: 'softcap', inputs: [0] }] }), /attribute missing: cap/],
  [
    'an attribute of another type',
    twist({ nodes: [{ ...node, op: 'softcap', inputs: [0], attrs: { cap: 'x' } }] }),
    /cap: must be a number/,
  ],
  [
    'a choice that is none',
    twist({ nodes: [{ ...node, op: 'activation', inputs: [0], attrs: { fn: 'swish' } }] }),
    /fn: not one of/,
  ],
  ['an attribute that is an object', twist({ nodes: [{ ...node, attrs: { cap: {} } }] }), /cap must be/],
  ['too few inputs', twist({ nodes: [{ ...node, inputs: [0] }] }), /takes 2 to 2 inputs/],
  ['too many inputs', twist({ nodes: [{ ...node, inputs: [0, 1, 1] }] }), /takes 2 to 2 inputs/],
  ['a missing input', twist({ nodes: [{ ...node, inputs: [0, -1] }] }), /input missing: b/],
  ['a value that does not exist', twist({ nodes: [{ ...node, inputs: [0, 9] }] }), /9 does not exist/],
  ['a huge value', twist({ nodes: [{ ...node, inputs: [0, 2 ** 40] }] }), /./],
  ['its own output as input', twist({ nodes: [{ ...node, inputs: [0, 2] }] }), /read before it is made/],
  ['an input as output', twist({ nodes: [{ ...node, outputs: [0] }] }), /not a temp made once/],
  ['an output made twice', twist({ nodes: [node, node] }), /not a temp made once/],
  ['an output that nobody makes', twist({ outputs: [{ name: 'y', value: 1 }] }), /output y/],
  [
    'the same output twice',
    twist({
      outputs: [
        { name: 'y', value: 2 },
        { name: 'z', value: 2 },
      ],
    }),
    /output z/,
  ],
  ['an unknown dim', twist({ dims: [] }), /unknown dim rows/],
  ['a negative size', twist({ values: [{ ...sum.values[0]!, shape: [-1] }, ...sum.values.slice(1)] }), /negative size/],
  [
    'a size with a fraction',
    twist({ values: [{ ...sum.values[0]!, shape: [1.5] }, ...sum.values.slice(1)] }),
    /integer/,
  ],
  [
    'rank 5',
    twist({ values: [{ ...sum.values[0]!, shape: [1, 1, 1, 1, 1] }, ...sum.values.slice(1)] }),
    /rank above 4/,
  ],
  ['an unknown kind', twist({ values: [{ ...sum.values[0]!, kind: 'magic' }, ...sum.values.slice(1)] }), /kind magic/],
  ['no nodes list', twist({ nodes: undefined }), /nodes must be an array/],
  ['nodes that are numbers', twist({ nodes: [3] }), /must be/],
  ['a node without attributes', twist({ nodes: [{ ...node, attrs: undefined }] }), /attrs/],
  [
    'a weight without source',
    twist({ values: [{ ...sum.values[0]!, kind: 'weight', shape: [4] }, ...sum.values.slice(1)] }),
    /weight/,
  ],
  [
    'a state of a step dim',
    twist({ values: [{ ...sum.values[0]!, kind: 'state' }, ...sum.values.slice(1)] }),
    /must be fixed/,
  ],
  [
    'a loop over nothing',
    twist({ loop: { idsOutput: 77, idsInput: -5, increments: [99], stopOffsets: 0, stopIds: 0, remaining: 0 } }),
    /idsInput: value -5/,
  ],
  [
    'a loop over other values',
    twist({ loop: { idsOutput: 2, idsInput: 0, increments: [], stopOffsets: 0, stopIds: 1, remaining: 2 } }),
    /loop/,
  ],
];

/** Nodes whose sizes do not fit; each would make a kernel read or write beyond its data. */
function misfits(): readonly (readonly [string, OpCase])[] {
  const x = (...shape: number[]) => f32(new Float32Array(shape.reduce((a, b) => a * b, 1)), ...shape);
  const weight = (rows: number, cols: number) => ({
    weight: randomWeight('f32', rows, cols, 1, 1),
    shape: [rows, cols],
  });
  const ids = i32([0, 0]);
  const state = (name: string, ...shape: number[]) => ({ state: name, dtype: 'f32', shape }) as const;
  const place = { table: i32([0], 1, 1), kv_positions: i32([0]), seq_ids: i32([0]) };
  const write = { layer: 0, kv_heads: 1, head_dim: 4 };
  const data = attentionData({ rows: [2], heads: 2, kvHeads: 1, headDim: 4 });
  const rows = rowsCase(data);
  const cached = cacheCase(data, randomCache([2], 1));
  const rope = { head_dim: 4, interleaved: false };
  const table = { rule: 'static', attention_scaling: 1, attention_scaling_long: 1, theta: 0, factor: 1, original: 0 };
  return [
    [
      'linear: k',
      { op: 'linear', attrs: { compute: 'f32' }, inputs: { x: x(2, 64), weight: weight(4, 16) }, outputs: [out(2, 4)] },
    ],
    [
      'linear: n',
      { op: 'linear', attrs: { compute: 'f32' }, inputs: { x: x(2, 16), weight: weight(4, 16) }, outputs: [out(2, 2)] },
    ],
    [
      'linear: rows',
      { op: 'linear', attrs: { compute: 'f32' }, inputs: { x: x(2, 16), weight: weight(4, 16) }, outputs: [out(1, 4)] },
    ],
    [
      'linear: bias',
      {
        op: 'linear',
        attrs: { compute: 'f32' },
        inputs: { x: x(2, 16), weight: weight(4, 16), bias: { weight: floats(new Float32Array(2)), shape: [2] } },
        outputs: [out(2, 4)],
      },
    ],
    [
      'linear: declared shape',
      {
        op: 'linear',
        attrs: { compute: 'f32' },
        inputs: { x: x(2, 64), weight: { ...weight(4, 16), shape: [4, 64] } },
        outputs: [out(2, 4)],
      },
    ],
    [
      'linear: weight is an input',
      { op: 'linear', attrs: { compute: 'f32' }, inputs: { x: x(2, 16), weight: x(4, 16) }, outputs: [out(2, 4)] },
    ],
    ['embed: ids are floats', { op: 'embed', inputs: { ids: x(2), table: weight(4, 16) }, outputs: [out(2, 16)] }],
    ['embed: cols', { op: 'embed', inputs: { ids, table: weight(4, 16) }, outputs: [out(2, 4)] }],
    [
      'rms_norm: weight',
      { op: 'rms_norm', attrs: { eps: 1, offset: 0 }, inputs: { x: x(2, 4), weight: x(3) }, outputs: [out(2, 4)] },
    ],
    [
      'rms_norm: declared weight',
      {
        op: 'rms_norm',
        attrs: { eps: 1, offset: 0 },
        inputs: { x: x(2, 4096), weight: { weight: floats(new Float32Array(2)), shape: [4096] } },
        outputs: [out(2, 4096)],
      },
    ],
    [
      'layer_norm: weight',
      { op: 'layer_norm', attrs: { eps: 1 }, inputs: { x: x(2, 4), weight: x(3) }, outputs: [out(2, 4)] },
    ],
    ['softmax: out', { op: 'softmax', inputs: { x: x(2, 4) }, outputs: [out(1, 4)] }],
    ['activation: out', { op: 'activation', attrs: { fn: 'silu' }, inputs: { x: x(2, 4) }, outputs: [out(1, 1)] }],
    ['gated: up', { op: 'gated', attrs: { fn: 'silu' }, inputs: { gate: x(2, 4), up: x(2, 3) }, outputs: [out(2, 4)] }],
    ['add: row', { op: 'add', inputs: { a: x(2, 4), b: x(3) }, outputs: [out(2, 4)] }],
    ['scale: out', { op: 'scale', attrs: { factor: 1, offset: 0 }, inputs: { x: x(2, 4) }, outputs: [out(2)] }],
    ['softcap: i32', { op: 'softcap', attrs: { cap: 1 }, inputs: { x: ids }, outputs: [out(2)] }],
    [
      'matmul: k',
      { op: 'matmul', attrs: { transpose_b: false }, inputs: { a: x(2, 4), b: x(3, 4) }, outputs: [out(2, 4)] },
    ],
    [
      'matmul: rank 1',
      { op: 'matmul', attrs: { transpose_b: false }, inputs: { a: x(4), b: x(4) }, outputs: [out(1)] },
    ],
    [
      'matmul: batch',
      { op: 'matmul', attrs: { transpose_b: true }, inputs: { a: x(3, 2, 4), b: x(1, 2, 4) }, outputs: [out(3, 2, 2)] },
    ],
    ['slice: end', { op: 'slice', attrs: { begin: 3 }, inputs: { x: x(2, 4) }, outputs: [out(2, 2)] }],
    ['slice: begin', { op: 'slice', attrs: { begin: -1 }, inputs: { x: x(2, 4) }, outputs: [out(2, 2)] }],
    ['concat: cols', { op: 'concat', inputs: { a: x(2, 4), b: x(2, 3) }, outputs: [out(2, 4)] }],
    ['concat: rows', { op: 'concat', inputs: { a: x(2, 4), b: x(1, 3) }, outputs: [out(2, 7)] }],
    ['gather_rows: cols', { op: 'gather_rows', inputs: { x: x(2, 4), index: ids }, outputs: [out(2, 8)] }],
    ['gather_rows: count', { op: 'gather_rows', inputs: { x: x(2, 4), index: ids }, outputs: [out(1, 4)] }],
    ['token_logprob: targets', { op: 'token_logprob', inputs: { logits: x(3, 4), targets: ids }, outputs: [out(3)] }],
    [
      'rope_table: width',
      { op: 'rope_table', attrs: table, inputs: { positions: ids, inv_freq: x(1, 4) }, outputs: [out(2, 4)] },
    ],
    [
      'rope_table: lengths',
      {
        op: 'rope_table',
        attrs: { ...table, rule: 'longrope' },
        inputs: { positions: ids, inv_freq: x(2, 4), lengths: i32([1]) },
        outputs: [out(2, 8)],
      },
    ],
    [
      'rope: head',
      { op: 'rope', attrs: { ...rope, head_dim: 3 }, inputs: { x: x(2, 8), table: x(2, 2) }, outputs: [out(2, 8)] },
    ],
    [
      'rope: head 0',
      { op: 'rope', attrs: { ...rope, head_dim: 0 }, inputs: { x: x(2, 8), table: x(2, 2) }, outputs: [out(2, 8)] },
    ],
    ['rope: table', { op: 'rope', attrs: rope, inputs: { x: x(2, 8), table: x(2, 8) }, outputs: [out(2, 8)] }],
    [
      'kv_write: layer',
      {
        op: 'kv_write',
        attrs: { ...write, layer: 1 },
        inputs: { k: x(1, 4), v: x(1, 4), keys: state('k', 2, 128), values: state('v', 2, 128), ...place },
      },
    ],
    [
      'kv_write: layer −1',
      {
        op: 'kv_write',
        attrs: { ...write, layer: -1 },
        inputs: { k: x(1, 4), v: x(1, 4), keys: state('k', 2, 128), values: state('v', 2, 128), ...place },
      },
    ],
    [
      'kv_write: states differ',
      {
        op: 'kv_write',
        attrs: write,
        inputs: { k: x(1, 4), v: x(1, 4), keys: state('k', 2, 128), values: state('v', 1, 128), ...place },
      },
    ],
    [
      'kv_write: width',
      {
        op: 'kv_write',
        attrs: write,
        inputs: { k: x(1, 5), v: x(1, 5), keys: state('k', 2, 128), values: state('v', 2, 128), ...place },
      },
    ],
    [
      'kv_write: keys are an input',
      {
        op: 'kv_write',
        attrs: write,
        inputs: { k: x(1, 4), v: x(1, 4), keys: x(2, 128), values: state('v', 2, 128), ...place },
      },
    ],
    [
      'token_write: page',
      { op: 'token_write', inputs: { ids: i32([1]), tokens: { state: 't', dtype: 'i32', shape: [2, 16] }, ...place } },
    ],
    ['copy_blocks: pairs', { op: 'copy_blocks', inputs: { state: state('k', 2, 128), copies: i32([0, 0, 0], 1, 3) } }],
    ['attention: kv heads', { ...rows, attrs: { ...rows.attrs, kv_heads: 3 } }],
    ['attention: heads', { ...rows, attrs: { ...rows.attrs, heads: 4 } }],
    ['attention: heads 0', { ...rows, attrs: { ...rows.attrs, heads: 0, kv_heads: 0 } }],
    ['attention: head dim', { ...rows, attrs: { ...rows.attrs, head_dim: 1e9 } }],
    ['attention: values', { ...rows, inputs: { ...rows.inputs, v: x(1, 4) } }],
    ['attention: keys without starts', { ...rows, inputs: { ...rows.inputs, k: x(1, 4), v: x(1, 4) } }],
    ['attention: bias', { ...rows, inputs: { ...rows.inputs, bias: x(2, 2, 1) } }],
    [
      'attention: mask',
      { ...rows, inputs: { ...rows.inputs, mask: { dtype: 'u8', shape: [1, 2], data: new Uint8Array(2) } } },
    ],
    ['attention: probs', { ...rows, outputs: [...rows.outputs!, out(1, 2, 2)] }],
    ['attention: cache layer', { ...cached, attrs: { ...cached.attrs, layer: 1 } }],
    ['attention: cache without table', { ...cached, inputs: { ...cached.inputs, table: undefined as never } }],
    ['attention: table rows', { ...cached, inputs: { ...cached.inputs, starts: i32([0, 1, 2]) } }],
  ];
}

describe('malformed programs', () => {
  it.each(malformed)('%s', async (_, program, message) => {
    const error = await model.compile(program).then(
      () => expect.fail('compiled'),
      (e: unknown) => e as Error & { code: string },
    );
    expect(error.message).toMatch(message);
    expect(error.code).toBe('ERR_GRAPH');
  });

  it.each(misfits())('sizes that do not fit: %s', async (_, test) => {
    const inputs = Object.fromEntries(Object.entries(test.inputs).filter(([, v]) => v !== undefined));
    await expect(runOps([{ ...test, inputs }])).rejects.toMatchObject({ code: 'ERR_GRAPH' });
  });

  it('a matrix that linear packs cannot be read by another op', async () => {
    const table = { weight: randomWeight('f32', 4, 4, 1, 1), shape: [4, 4] };
    const { program } = buildProgram([
      {
        op: 'linear',
        attrs: { compute: 'f32' },
        inputs: { x: f32(new Float32Array(4), 1, 4), weight: table },
        outputs: [out(1, 4)],
      },
      { op: 'softmax', inputs: { x: table }, outputs: [out(4, 4)] },
    ]);
    const [linear, softmax] = program.nodes;
    await expect(
      model.compile({ ...program, nodes: [linear!, { ...softmax!, inputs: [linear!.inputs[1]!] }] }),
    ).rejects.toMatchObject({ code: 'ERR_GRAPH' });
  });

  it('a state of another size than in an earlier program', async () => {
    const own = await DeviceModel.open('cpu');
    const data = attentionData({ rows: [2], heads: 1, kvHeads: 1, headDim: 4 });
    const [small, large] = [randomCache([2], 1), { ...randomCache([2], 1), blocks: 99 }];
    await own.compile(buildProgram([writeCase(data, small)]).program);
    await expect(own.compile(buildProgram([writeCase(data, large)]).program)).rejects.toMatchObject({
      code: 'ERR_GRAPH',
    });
    await own.dispose();
  });

  it('weights that cannot be', async () => {
    const withWeight = (weight: unknown, shape = [4, 4]): Program => {
      const tall = tower(4, 1);
      return {
        ...tall,
        values: tall.values.map((v) => (v.kind === 'weight' ? { ...v, shape, weight: any(weight) } : v)),
      };
    };
    const good = randomWeight('f32', 4, 4, 1, 1);
    const folder = new TempFolder();
    const path = folder.write('weights.bin', new Uint8Array(64));
    const { size, ino: inode, mtimeNs } = statSync(path, { bigint: true });
    const file = { path, size, inode, mtimeNs };
    const cases: readonly (readonly [unknown, string])[] = [
      [{ ...good, kind: 'magic' }, 'ERR_GRAPH'],
      [{ ...good, dtype: 'q9_9' }, 'ERR_UNSUPPORTED'],
      [{ ...good, dtype: 'i32' }, 'ERR_UNSUPPORTED'],
      [{ ...good, rows: -4 }, 'ERR_GRAPH'],
      [{ ...good, rows: Number.NaN }, 'ERR_GRAPH'],
      [{ ...good, rows: 2 ** 39, cols: 2 ** 39 }, 'ERR_GRAPH'],
      [{ ...good, cols: 3 }, 'ERR_GRAPH'],
      [{ ...good, dtype: 'q8_0' }, 'ERR_GRAPH'],
      [{ kind: 'bytes', dtype: 'f32', rows: 4, cols: 4, data: new Float32Array(15) }, 'ERR_GRAPH'],
      [{ kind: 'bytes', dtype: 'f32', rows: 4, cols: 4, data: [1, 2] }, 'ERR_GRAPH'],
      [{ kind: 'transpose', dtype: 'f32', rows: 4, cols: 4, of: [] }, 'ERR_GRAPH'],
      [{ kind: 'transpose', dtype: 'f32', rows: 4, cols: 4, of: [3] }, 'ERR_GRAPH'],
      [{ kind: 'slice', dtype: 'f32', rows: 4, cols: 4, of: [good], begin: 1 }, 'ERR_GRAPH'],
      [{ kind: 'permute_rows', dtype: 'f32', rows: 4, cols: 4, of: [good], heads: 0 }, 'ERR_GRAPH'],
      [{ kind: 'file', dtype: 'f32', rows: 4, cols: 4, offset: 0, tensor: 't', file: undefined }, 'ERR_GRAPH'],
      [
        {
          kind: 'file',
          dtype: 'f32',
          rows: 4,
          cols: 4,
          offset: 0,
          tensor: 't',
          file: { path: '/nonexistent', size: 64n, inode: 1n, mtimeNs: 1n },
        },
        'ERR_FILE_CHANGED',
      ],
      [
        { kind: 'file', dtype: 'f32', rows: 4, cols: 4, offset: 0, tensor: 't', file: { ...file, mtimeNs: 1n } },
        'ERR_FILE_CHANGED',
      ],
      [
        { kind: 'file', dtype: 'f32', rows: 4, cols: 4, offset: 0, tensor: 't', file: { ...file, size: 128n } },
        'ERR_FILE_CHANGED',
      ],
      [{ kind: 'file', dtype: 'f32', rows: 4, cols: 4, offset: 8, tensor: 't', file }, 'ERR_FILE_CORRUPT'],
      [{ kind: 'file', dtype: 'f32', rows: 4, cols: 4, offset: -8, tensor: 't', file }, 'ERR_FILE_CORRUPT'],
      [{ kind: 'file', dtype: 'f32', rows: 4, cols: 4, offset: 2 ** 52, tensor: 't', file }, 'ERR_FILE_CORRUPT'],
    ];
    let nested: unknown = good;
    for (let i = 0; i < 5000; i++) nested = { kind: 'cast', dtype: 'f32', rows: 4, cols: 4, of: [nested] };
    for (const [i, [weight, code]] of [...cases, [nested, 'ERR_GRAPH'] as const].entries()) {
      const error = await model.compile(withWeight(weight)).then(
        () => 'compiled',
        (e: unknown) => e as Error,
      );
      expect((error as { code?: string }).code, `case ${i}: ${error}`).toBe(code);
    }
    folder.dispose();
  });

  it('compile of something else than a program', async () => {
    for (const bad of [undefined, null, 3, 'program', [], {}]) {
      await expect(model.compile(any(bad)), JSON.stringify(bad)).rejects.toThrow(/program|string/);
    }
  });
});
