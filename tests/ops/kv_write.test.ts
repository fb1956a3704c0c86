import { describe, expect, it } from 'vitest';
import { kvHeadSize, kvTypes } from '../../lib/ops/kv_write.js';
import { DeviceModel } from '../../lib/runtime/executable.js';
import { expectSameBits } from '../support/compare.js';
import { Random } from '../support/random.js';
import { buildProgram, type OpCase, testDevices } from '../support/run_op.js';
import { page, places, randomCache } from './cache.js';
import { f32, i32, out } from './inputs.js';

/** Runs programs in turn on one model, so that they share its states; results of the last. */
async function inTurn(
  device: string,
  threads: number,
  programs: readonly (readonly OpCase[])[],
): Promise<Float32Array> {
  const model = await DeviceModel.open(device, { threads });
  try {
    let last: Float32Array = new Float32Array();
    for (const nodes of programs) {
      const { program, inputs } = buildProgram(nodes);
      const { outputs } = await (await model.compile(program)).run({}, inputs);
      last = (outputs.y ?? last) as Float32Array;
    }
    return last;
  } finally {
    await model.dispose();
  }
}

/** Reads a whole state back: gather_rows copies rows of any four-byte type. */
function readBack(state: string, blocks: number, width: number): OpCase {
  const index = i32(Array.from({ length: blocks }, (_, i) => i));
  return {
    op: 'gather_rows',
    inputs: { x: { state, dtype: 'f32', shape: [blocks, width] }, index },
    outputs: [out(blocks, width)],
  };
}

const [kvHeads, headDim, layers, lengths] = [2, 17, 3, [40, 1, 70]] as const;

/** Heads of very different sizes, of zeros, and of halves, which lie between two int8 where the largest is 127. */
function heads(random: Random, count: number, columns: number): Float32Array {
  const sizes = [1, 1e-20, 1e20, 0, 1e-34, 1e-39];
  const all = new Float32Array(count * columns);
  for (let h = 0; h < count; h++) {
    const size = sizes[h % (sizes.length + 1)];
    const value = (x: number, d: number) => (size === undefined ? (d % 2 ? -1 : 1) * (127 - d / 2) : x * size);
    all.set(random.normal(columns).map(value), h * columns);
  }
  return all;
}

/** Bits of a float as bf16: nearest even; a NaN keeps its upper bits. */
function bf16Bits(bits: number): number {
  const nan = (bits & 0x7fffffff) > 0x7f800000;
  return nan ? (bits >>> 16) | 64 : (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}

/** Values that share a scale as int8; the scale. */
function q8(x: Float32Array): { scale: number; q: Int8Array } {
  const largest = Math.max(...x.map(Math.abs));
  const inverse = largest > 1e-35 ? Math.fround(127 / largest) : 0;
  const even = (v: number): number => (Math.abs(v % 1) === 0.5 ? 2 * Math.round(v / 2) : Math.round(v));
  return {
    scale: Math.fround(largest * Math.fround(1 / 127)),
    q: Int8Array.from(x, (v) => even(Math.fround(v * inverse))),
  };
}

/** Tiles: bf16 pages of a CUDA device where heads have a multiple of 8 columns, see native/cuda/kv_cache.cuh. */
type Layout = 'bf16' | 'tiles' | 'q8';

/** Puts head `x` in slot `slot` of a page at byte `at`, as native/ops/kv_write.h lays it out. */
function putHead(to: DataView, at: number, x: Float32Array, slot: number, type: Layout, keys: boolean): void {
  const n = x.length;
  if (type !== 'q8') {
    for (const [d, bits] of new Uint32Array(x.buffer, x.byteOffset, n).entries()) {
      const packed = keys ? d * page + 2 * (slot % 16) + (slot >> 4) : ((slot >> 1) * n + d) * 2 + (slot % 2);
      const place = type === 'bf16' ? packed : keys ? slot * n + d : d * page + slot;
      to.setUint16(at + 2 * place, bf16Bits(bits), true);
    }
    return;
  }
  const group = keys ? 32 : n;
  for (let first = 0; first < n; first += group) {
    const { scale, q } = q8(x.subarray(first, first + group));
    for (const [i, v] of q.entries()) to.setInt8(at + (keys ? (first + i) * page + slot : slot * n + first + i), v);
    to.setFloat32(at + n * page + 4 * ((first / group) * page + slot), scale, true);
  }
}

describe.each(testDevices())('writes to the cache on %s', (device) => {
  it.each([1, 2])(
    'kv_write puts keys (head_dim, page) and values (page, head_dim) where the table says, %i threads',
    async (threads) => {
      const random = new Random(8);
      const cache = randomCache(lengths, 9, layers);
      const width = layers * kvHeads * page * headDim;
      const { positions, seqIds } = places(lengths);
      const rows = positions.length;
      const [k, v] = [random.normal(rows * kvHeads * headDim), random.normal(rows * kvHeads * headDim)];
      const state = (name: string) => ({ state: name, dtype: 'f32', shape: [cache.blocks, width] }) as const;
      const write: OpCase = {
        op: 'kv_write',
        attrs: { layer: 1, kv_heads: kvHeads, head_dim: headDim },
        inputs: {
          ...{
            k: f32(k, rows, kvHeads * headDim),
            v: f32(v, rows, kvHeads * headDim),
            keys: state('keys'),
            values: state('values'),
          },
          ...{
            table: i32(cache.table, lengths.length, cache.columns),
            kv_positions: i32(positions),
            seq_ids: i32(seqIds),
          },
        },
      };
      const [keys, values] = [new Float32Array(cache.blocks * width), new Float32Array(cache.blocks * width)];
      for (let r = 0; r < rows; r++) {
        const block = cache.table[seqIds[r]! * cache.columns + Math.floor(positions[r]! / page)]!;
        for (let h = 0; h < kvHeads; h++) {
          for (let d = 0; d < headDim; d++) {
            const head = block * width + (1 * kvHeads + h) * page * headDim;
            keys[head + d * page + (positions[r]! % page)] = k[(r * kvHeads + h) * headDim + d]!;
            values[head + (positions[r]! % page) * headDim + d] = v[(r * kvHeads + h) * headDim + d]!;
          }
        }
      }
      expectSameBits(await inTurn(device, threads, [[write], [readBack('keys', cache.blocks, width)]]), keys, 'keys');
      expectSameBits(
        await inTurn(device, threads, [[write], [readBack('values', cache.blocks, width)]]),
        values,
        'values',
      );
    },
  );

  describe.each(['bf16', 'q8'] as const)('kv_write of %s', (type) => {
    // One group of columns, a group and a part, several groups.
    it.each([17, 40, 96])('head_dim %i: all bytes of both states', async (columns) => {
      const random = new Random(columns);
      const layout = type === 'bf16' && device.startsWith('cuda') && columns % 8 === 0 ? 'tiles' : type;
      const cache = randomCache(lengths, 9, layers);
      const { positions, seqIds } = places(lengths);
      const rows = positions.length;
      const given = { keys: heads(random, rows * kvHeads, columns), values: heads(random, rows * kvHeads, columns) };
      if (type === 'bf16') {
        const special = [Infinity, -Infinity, 3.4e38, -0, 1 + 2 ** -8, 1 + 3 * 2 ** -8, 2 ** -140];
        for (const x of [given.keys, given.values]) {
          x.set(special, 5 * columns);
          // NaNs whose upper half alone would be an infinity, or is one of its own.
          new Uint32Array(x.buffer).set([0x7f800001, 0xff80ffff, 0x7fc12345, 0xffffffff], 5 * columns + 9);
        }
      }
      const bytes = (part: 'keys' | 'values') => kvHeadSize(type, part, columns, page) * (type === 'q8' ? 1 : 2);
      const state = (part: 'keys' | 'values') => {
        const width = layers * kvHeads * kvHeadSize(type, part, columns, page);
        return { state: part, dtype: kvTypes[type], shape: [cache.blocks, width] } as const;
      };
      const write: OpCase = {
        op: 'kv_write',
        attrs: { layer: 1, kv_heads: kvHeads, head_dim: columns },
        inputs: {
          ...{ k: f32(given.keys, rows, kvHeads * columns), v: f32(given.values, rows, kvHeads * columns) },
          ...{ keys: state('keys'), values: state('values') },
          ...{ table: i32(cache.table, lengths.length, cache.columns) },
          ...{ kv_positions: i32(positions), seq_ids: i32(seqIds) },
        },
      };
      for (const part of ['keys', 'values'] as const) {
        const width = layers * kvHeads * bytes(part);
        const expected = new Float32Array((cache.blocks * width) / 4);
        const view = new DataView(expected.buffer);
        for (let r = 0; r < rows; r++) {
          const block = cache.table[seqIds[r]! * cache.columns + Math.floor(positions[r]! / page)]!;
          for (let h = 0; h < kvHeads; h++) {
            const i = r * kvHeads + h;
            const x = given[part].subarray(i * columns, (i + 1) * columns);
            putHead(
              view,
              block * width + (kvHeads + h) * bytes(part),
              x,
              positions[r]! % page,
              layout,
              part === 'keys',
            );
          }
        }
        expectSameBits(
          await inTurn(device, 2, [[write], [readBack(part, cache.blocks, width / 4)]]),
          expected,
          `${part} of ${type}`,
        );
      }
    });
  });

  it('token_write keeps ids beside the blocks', async () => {
    const cache = randomCache(lengths, 11);
    const { positions, seqIds } = places(lengths);
    const ids = new Random(3).integers(positions.length, 0, 50_000);
    const write: OpCase = {
      op: 'token_write',
      inputs: {
        ...{ ids: i32(ids), tokens: { state: 'tokens', dtype: 'i32', shape: [cache.blocks, page] } },
        ...{
          table: i32(cache.table, lengths.length, cache.columns),
          kv_positions: i32(positions),
          seq_ids: i32(seqIds),
        },
      },
    };
    const expected = new Int32Array(cache.blocks * page);
    for (const [r, id] of ids.entries()) {
      expected[
        cache.table[seqIds[r]! * cache.columns + Math.floor(positions[r]! / page)]! * page + (positions[r]! % page)
      ] = id;
    }
    const found = await inTurn(device, 2, [[write], [readBack('tokens', cache.blocks, page)]]);
    expect(new Int32Array(found.buffer, found.byteOffset, found.length)).toEqual(expected);
  });
});
