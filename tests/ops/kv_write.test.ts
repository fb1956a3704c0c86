import { describe, expect, it } from 'vitest';
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
