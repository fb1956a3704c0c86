import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AbortError, DeviceError, DisposedError, InputError } from '../../lib/errors.js';
import { devices, findDevice } from '../../lib/runtime/devices.js';
import { DeviceModel, type Executable } from '../../lib/runtime/executable.js';
import { native } from '../../lib/runtime/native.js';
import { attentionData } from '../ops/attention.js';
import { cacheCase, randomCache, writeCase } from '../ops/cache.js';
import { i32 } from '../ops/inputs.js';
import { sum, tower } from '../support/programs.js';
import { buildProgram, type OpCase } from '../support/run_op.js';

const any = (x: unknown) => x as never;
const ones = (n: number, value = 1): Float32Array => new Float32Array(n).fill(value);

describe('devices', () => {
  it('are listed best first, absent ones with the reason', () => {
    const all = devices();
    expect(all[0]).toMatchObject({ name: 'cpu', usable: true });
    for (const d of all) expect(d.description.length).toBeGreaterThan(5);
    expect(() => findDevice('cpu:nope')).toThrow(DeviceError);
    expect(() => findDevice('cuda:0')).toThrow(/cannot be used: .*; expected .*cpu/);
  });

  it('open() refuses names and options that are none', async () => {
    await expect(DeviceModel.open('cpu:nope')).rejects.toThrow(DeviceError);
    for (const options of [
      { threads: 0 },
      { threads: 1.5 },
      { threads: 1e9 },
      { threads: 'two' },
      { priority: Number.NaN },
      { priority: 1000 },
    ]) {
      await expect(DeviceModel.open('cpu', any(options)), JSON.stringify(options)).rejects.toMatchObject({
        code: 'ERR_OPTION',
      });
    }
    expect(() => native().open(any(undefined), {})).toThrow(/name of a device/);
    await expect(native().open('cpu:nope', {})).rejects.toMatchObject({ code: 'ERR_DEVICE' });
    expect(() => native().loadDevice('/nonexistent')).toThrow(/device library .nonexistent cannot be loaded/);
  });

  it('classes of the addon cannot be made by hand', async () => {
    const model = await native().open('cpu', {});
    const Model = model.constructor as unknown as new (...args: unknown[]) => unknown;
    expect(() => new Model()).toThrow(TypeError);
    expect(() => new Model({})).toThrow(TypeError);
    expect(() => (model.info as () => unknown).call({})).toThrow();
    await model.dispose();
  });
});

describe('bad steps', () => {
  let model: DeviceModel;
  let add: Executable;
  beforeAll(async () => {
    model = await DeviceModel.open('cpu');
    add = await model.compile(sum);
  });
  afterAll(() => model.dispose());

  it.each([-1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 1e10, '3', null, {}])('a dim of %s', async (rows) => {
    await expect(add.run({ rows: any(rows) }, { a: ones(4), b: ones(4) })).rejects.toThrow(InputError);
    expect(() => add.runSync({ rows: any(rows) }, { a: ones(4), b: ones(4) })).toThrow(InputError);
  });

  it('a dim that is missing, a huge one', async () => {
    await expect(add.run({}, { a: ones(4), b: ones(4) })).rejects.toThrow(/dim rows of program sum has no size/);
    await expect(add.run({ rows: 1e9 }, { a: ones(4), b: ones(4) })).rejects.toThrow(
      /a must hold 16000000000 bytes, holds 16/,
    );
  });

  it('arrays of the wrong kind or length', async () => {
    const detached = ones(4);
    structuredClone(detached.buffer, { transfer: [detached.buffer as ArrayBuffer] });
    for (const a of [
      undefined,
      ones(3),
      new Int32Array(4),
      new Float64Array(4),
      new Uint8Array(16),
      [1, 2, 3, 4],
      new ArrayBuffer(16),
      null,
      'abcd',
      detached,
    ]) {
      await expect(
        add.run({ rows: 1 }, { a: any(a), b: ones(4) }),
        a === detached ? 'detached' : String(a),
      ).rejects.toThrow(InputError);
    }
    const { outputs } = await add.run({ rows: 1 }, { a: ones(9, 2), b: ones(4) });
    expect([...outputs.y!]).toEqual([3, 3, 3, 3]);
  });

  it('k without a loop, and k out of range', async () => {
    const inputs = { a: ones(4), b: ones(4) };
    await expect(add.run({ rows: 1 }, inputs, 2)).rejects.toThrow(/needs a program with a loop/);
    for (const k of [0, -1, 5000, Number.NaN, 'two'])
      await expect(add.run({ rows: 1 }, inputs, any(k)), String(k)).rejects.toThrow(InputError);
  });

  it('empty steps work', async () => {
    const { outputs, steps } = await add.run({ rows: 0 }, { a: ones(0), b: ones(0) });
    expect([outputs.y!.length, steps]).toEqual([0, 1]);
  });

  it('positions, sequences, block tables, starts and copies out of range', async () => {
    const data = attentionData({ rows: [3, 2], keys: [40, 33], heads: 2, kvHeads: 1, headDim: 8 });
    const cache = randomCache([40, 33], 1);
    const [write, read] = [writeCase(data, cache), cacheCase(data, cache)];
    const copy: OpCase = { op: 'copy_blocks', inputs: { state: write.inputs.keys!, copies: i32([0, 1], 1, 2) } };
    const { program, inputs } = buildProgram([write, copy, read]);
    const cached = await model.compile(program);
    const change = (name: string, at: number, value: number) => ({
      ...inputs,
      [name]: (inputs[name] as Int32Array).map((v, i) => (i === at ? value : v)),
    });
    await cached.run({}, inputs);
    for (const [name, at, value] of [
      ['0.table', 0, -1],
      ['0.table', 1, cache.blocks],
      ['0.kv_positions', 2, -1],
      ['0.kv_positions', 2, 64],
      ['0.kv_positions', 0, 2147483647],
      ['0.seq_ids', 1, 2],
      ['0.seq_ids', 1, -1],
      ['1.copies', 0, cache.blocks],
      ['1.copies', 1, -5],
      ['2.table', 0, 1_000_000],
      ['2.kv_positions', 1, 64],
      ['2.starts', 0, 1],
      ['2.starts', 1, 9],
      ['2.starts', 1, -3],
      ['2.starts', 2, 4],
    ] as const) {
      const error = await cached.run({}, change(name, at, value)).then(
        () => expect.fail(`${name}[${at}] = ${value} ran`),
        (e: unknown) => e as Error,
      );
      expect(error).toBeInstanceOf(InputError);
      expect(error.message).toContain(name);
    }
    await cached.run({}, inputs);
  });
});

describe('the life of steps', () => {
  it('two steps may be queued; their inputs may be filled again at once', async () => {
    const model = await DeviceModel.open('cpu');
    const executable = await model.compile(tower(256, 4));
    const x = ones(8 * 256);
    const alone = (await executable.run({ rows: 8 }, { x })).outputs.y as Float32Array;
    const first = executable.run({ rows: 8 }, { x });
    x.fill(7);
    const second = executable.run({ rows: 8 }, { x });
    structuredClone(x.buffer, { transfer: [x.buffer as ArrayBuffer] });
    expect((await first).outputs.y).toEqual(alone);
    expect((await second).outputs.y).not.toEqual(alone);
    await model.dispose();
  });

  it('outputs of a step stay as they are when the next one runs', async () => {
    const model = await DeviceModel.open('cpu');
    const executable = await model.compile(sum);
    const made: Float32Array[] = [];
    for (let i = 0; i < 20; i++)
      made.push(
        (await executable.run({ rows: 5000 }, { a: ones(20_000, i), b: ones(20_000) })).outputs.y as Float32Array,
      );
    for (const [i, y] of made.entries()) expect(y.every((v) => v === i + 1)).toBe(true);
    await model.dispose();
  });

  it('cancel ends running and queued steps with an AbortError; later ones run', async () => {
    const model = await DeviceModel.open('cpu');
    const executable = await model.compile(tower(512, 40));
    const x = ones(256 * 512);
    const steps = [1, 2, 3].map(() => executable.run({ rows: 256 }, { x }));
    executable.cancel();
    for (const result of await Promise.allSettled(steps))
      expect(result).toMatchObject({ status: 'rejected', reason: expect.any(AbortError) });
    expect((await executable.run({ rows: 1 }, { x })).steps).toBe(1);
    await model.dispose();
  });

  it('cancel of a compile ends it with an AbortError', async () => {
    const model = await DeviceModel.open('cpu', { threads: 1 });
    const compiling = model.compile(tower(2048, 12, 900));
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(model.progress().total).toBeGreaterThan(0);
    model.cancel();
    await expect(compiling).rejects.toThrow(AbortError);
    await (await model.compile(sum)).run({ rows: 1 }, { a: ones(4), b: ones(4) });
    await model.dispose();
  });

  it('dispose of the model: queued steps are rejected, later calls throw DisposedError', async () => {
    const model = await DeviceModel.open('cpu');
    const executable = await model.compile(tower(512, 20));
    const x = ones(128 * 512);
    const steps = Promise.allSettled([1, 2, 3, 4].map(() => executable.run({ rows: 128 }, { x })));
    await model.dispose();
    for (const r of await steps) if (r.status === 'rejected') expect(r.reason).toBeInstanceOf(DisposedError);
    await expect(executable.run({ rows: 1 }, { x })).rejects.toThrow(DisposedError);
    expect(() => executable.runSync({ rows: 1 }, { x })).toThrow(DisposedError);
    await expect(model.compile(sum)).rejects.toThrow(DisposedError);
    expect(() => model.memory()).toThrow(DisposedError);
    await model.dispose();
    executable.dispose();
    executable.cancel();
  });

  it('dispose of an executable leaves its model and the others', async () => {
    const model = await DeviceModel.open('cpu');
    const [one, two] = [await model.compile(sum), await model.compile(sum)];
    one.dispose();
    one.dispose();
    await expect(one.run({ rows: 1 }, { a: ones(4), b: ones(4) })).rejects.toThrow(DisposedError);
    expect([...(await two.run({ rows: 1 }, { a: ones(4), b: ones(4) })).outputs.y!]).toEqual([2, 2, 2, 2]);
    await model.dispose();
  });

  it('dispose while a compile runs', async () => {
    const model = await DeviceModel.open('cpu');
    const compiling = model.compile(tower(1024, 8, 700));
    const settled = compiling.then(
      () => expect.fail('compiled'),
      (e: unknown) => e,
    );
    await model.dispose();
    expect(['ERR_DISPOSED', 'ERR_ABORTED']).toContain(((await settled) as { code: string }).code);
  });

  it('models share packed weights; profile names nodes and counts steps', async () => {
    const [a, b] = [await DeviceModel.open('cpu'), await DeviceModel.open('cpu')];
    const [one, two] = [await a.compile(tower(64, 2)), await b.compile(tower(64, 2))];
    one.profile(true);
    const x = ones(64);
    expect((await one.run({ rows: 1 }, { x })).outputs.y).toEqual(two.runSync({ rows: 1 }, { x }).outputs.y);
    expect(a.memory().weightBytes).toBe(2 * 64 * 64 * 4);
    expect(one.profile()).toMatchObject({
      steps: 1,
      nodes: [{ name: 'layer0', op: 'linear', compute: 'f32', calls: 1 }, { name: 'layer1' }],
    });
    await a.dispose();
    expect((await two.run({ rows: 1 }, { x })).steps).toBe(1);
    await b.dispose();
  });
});
