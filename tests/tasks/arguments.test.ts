/** Arguments of the wrong kind to load(), pull() and traceModel(): named, refused, never a TypeError. */
import { beforeAll, describe, expect, it } from 'vitest';
import { ConfigError, InputError, OptionError, VerdantError } from '../../lib/errors.js';
import { pull } from '../../lib/hub/index.js';
import { builtInModel, load } from '../../lib/tasks/load.js';
import { type TraceInputs, traceModel } from '../../lib/tasks/trace.js';
import { openCheckpoint } from '../../lib/weights/checkpoint.js';
import type { Checkpoint } from '../../lib/weights/types.js';

const any = (value: unknown): never => value as never;

describe('load', () => {
  it.each(['signal', 'onProgress', 'device', 'hub', 'architecture', 'kvMemory', 'kvType'])(
    'refuses %s of another kind',
    async (name) => {
      for (const value of [null, 5n, [5], Symbol('s')])
        await expect(load(builtInModel(), any({ [name]: value }))).rejects.toThrow(new RegExp(`bad ${name}; expected`));
    },
  );
  it('refuses options that are no object', async () => {
    for (const value of [null, 5, 'x', []]) await expect(load(builtInModel(), any(value))).rejects.toThrow(OptionError);
  });
});

describe('calls', () => {
  const others = [[], new Map([['maxTokens', 2]]), Promise.resolve({ maxTokens: 2 }), new Date(0), new Uint8Array(2)];
  it('options that hold no names are refused, not ignored', async () => {
    const text = await load();
    const words = await load(builtInModel('senses'), { task: 'embed' });
    try {
      for (const options of others) {
        await expect(load(builtInModel(), any(options))).rejects.toThrow(OptionError);
        await expect((async () => text.generate('a', any(options)).text())()).rejects.toThrow(OptionError);
        await expect(text.trace('a', any(options))).rejects.toThrow(OptionError);
        await expect(text.lens('a', any(options))).rejects.toThrow(OptionError);
        await expect(text.neighbours(5, any(options))).rejects.toThrow(OptionError);
        await expect(words.embed('a', any(options))).rejects.toThrow(OptionError);
      }
      class Mine {
        readonly maxTokens = 1;
      }
      expect((await text.generate('a', new Mine()).result()).ids).toHaveLength(1);
      await expect(words.forward({ inputIds: [1] }, any({ truncate: 'end' }))).rejects.toThrow(OptionError);
    } finally {
      await text.dispose();
      await words.dispose();
    }
  });
});

describe('pull', () => {
  it('refuses ids and options of another kind', async () => {
    for (const id of [null, 5, {}, Symbol('s')])
      await expect(pull(any(id), { offline: true })).rejects.toThrow(OptionError);
    for (const options of [null, { offline: 'yes' }, { cacheDir: 5 }, { signal: {} }, { onProgress: 1 }, { bogus: 1 }])
      await expect(pull('a/b', any(options))).rejects.toThrow(OptionError);
  });
});

describe('traceModel', () => {
  let checkpoint: Checkpoint;
  beforeAll(async () => {
    checkpoint = await openCheckpoint(builtInModel());
  });
  const ids = { shape: [1, 2], data: [1, 2] };
  const inputs: [string, unknown][] = [
    ['nothing', null],
    ['no ids', {}],
    ['a shape that is no list', { inputIds: { shape: 5, data: [1] } }],
    ['a shape beyond its data', { inputIds: { shape: [1, 2 ** 40], data: [1] } }],
    ['a fractional size', { inputIds: { shape: [1.5, 2], data: [1, 2, 3] } }],
    ['a negative size', { inputIds: { shape: [-1, 2], data: [] } }],
    ['more data than places', { inputIds: { shape: [1, 2], data: [1, 2, 3, 4] } }],
    ['a short mask', { inputIds: ids, attentionMask: { shape: [1, 2], data: [1] } }],
    ['a mask of NaN', { inputIds: ids, attentionMask: { shape: [1, 2], data: [Number.NaN, 1] } }],
    ['an unknown input', { inputIds: ids, input_ids: ids }],
  ];
  it.each(inputs)('refuses %s', async (_, given) => {
    await expect(traceModel(checkpoint, given as TraceInputs)).rejects.toThrow(InputError);
  });
  it('refuses unknown options and options of another kind', async () => {
    for (const options of [null, { bogus: 1 }, { architecture: 5 }, { threads: 'x' }, { device: null }])
      await expect(traceModel(checkpoint, { inputIds: ids }, any(options))).rejects.toThrow(OptionError);
  });
});

describe('messages', () => {
  it('show any value: cyclic, with bigints, NaN, huge, with getters that throw', () => {
    const cycle: { self?: unknown } = {};
    cycle.self = cycle;
    const thrower = {
      get a(): never {
        throw new RangeError('getter');
      },
    };
    const found = (value: unknown): string => new ConfigError('m', { found: value }).message;
    expect(found(Number.NaN)).toBe('m; found NaN');
    expect(found({ a: 1n, b: [Number.POSITIVE_INFINITY, 'x'] })).toBe('m; found {"a":1,"b":[Infinity,"x"]}');
    expect(found(cycle)).toMatch(/^m; found \{"self":/);
    expect(found(thrower)).toMatch(/cannot be read/);
    expect(found(new Array(1e7).fill('long'.repeat(9))).length).toBeLessThan(400);
    expect(new ConfigError('m', { found: Symbol('s') })).toBeInstanceOf(VerdantError);
  });
});

describe('a model', () => {
  it('refuses unknown names and options that are no object', async () => {
    const model = await load();
    try {
      const inputIds = [1, 2];
      for (const [input, options] of [
        [null, {}],
        [{ inputIds, attentionMask: [1, 1] }, {}],
        [{ inputIds }, null],
        [{ inputIds }, { bogus: 1 }],
        [{ inputIds }, { signal: {} }],
      ])
        await expect(model.forward(any(input), any(options))).rejects.toThrow(OptionError);
      for (const options of [null, [], 5]) {
        await expect(model.generate('x', any(options)).text()).rejects.toThrow(OptionError);
        await expect(model.trace('x', any(options))).rejects.toThrow(OptionError);
      }
      for (const messages of [null, 'x', []])
        await expect(model.chat(any(messages)).text()).rejects.toThrow(/bad messages; expected a list of at least one/);
      expect(() => model.session(any(null))).toThrow(OptionError);
      expect(() => model.session(any({ system: 'x', bogus: 1 }))).toThrow(OptionError);
      expect(() => model.chat([{ role: 'user', content: 'x' }], any(null))).toThrow(OptionError);
      const session = model.session();
      expect(() => session.chat('x', any(null))).toThrow(OptionError);
    } finally {
      await model.dispose();
    }
  });
});
