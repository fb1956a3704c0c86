import { afterAll, describe, expect, it } from 'vitest';
import { DeviceError, InputError, OptionError } from '../../lib/errors.js';
import * as ops from '../../lib/runtime/ops.js';
import { array, attention, linear, matmul, type NdArray, softmax } from '../../lib/runtime/ops.js';
import { expectNear } from '../support/compare.js';
import { Random } from '../support/random.js';
import * as reference from '../support/reference.js';
import { testDevices } from '../support/run_op.js';

afterAll(() => ops.dispose());

/** As printed: rounded to the decimals that the source gives. */
function expectPrinted(found: NdArray, expected: readonly number[], decimals = 4): void {
  expect([...found.data].map((v) => Number(v.toFixed(decimals)))).toEqual([...expected]);
}

/** Raschka, Build a Large Language Model (From Scratch), chapter 3: "Your journey starts with one step". */
const journey = array([
  [0.43, 0.15, 0.89],
  [0.55, 0.87, 0.66],
  [0.57, 0.85, 0.64],
  [0.22, 0.58, 0.33],
  [0.77, 0.25, 0.1],
  [0.05, 0.8, 0.55],
]);

/** torch.manual_seed(123); torch.rand(3, 2) three times: MT19937, 24 bits of each 32. */
function torchRand(seed: number, count: number): number[] {
  const state = new Uint32Array(624);
  state[0] = seed;
  for (let i = 1; i < 624; i++) state[i] = Math.imul(1812433253, state[i - 1]! ^ (state[i - 1]! >>> 30)) + i;
  for (let i = 0; i < 624; i++) {
    const y = (state[i]! & 0x80000000) | (state[(i + 1) % 624]! & 0x7fffffff);
    state[i] = state[(i + 397) % 624]! ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
  }
  return Array.from({ length: count }, (_, i) => {
    let y = state[i]!;
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    y = (y ^ (y >>> 18)) >>> 0;
    return (y & 0xffffff) / 2 ** 24;
  });
}

describe.each(testDevices())('worked numbers of Raschka, chapter 3, on %s', (device) => {
  it('simple self-attention without scaling', async () => {
    const scores = await matmul(journey, journey, { transposeB: true, device });
    expectPrinted(
      array(scores.data.slice(6, 12), [6]),
      // biome-ignore lint/suspicious/noApproximativeNumericConstant: a printed score that looks like √½
      [0.9544, 1.495, 1.4754, 0.8434, 0.707, 1.0865],
    );
    const weights = await softmax(scores, { device });
    expectPrinted(array(weights.data.slice(6, 12), [6]), [0.1385, 0.2379, 0.2333, 0.124, 0.1082, 0.1581]);
    const contexts = [
      [0.4421, 0.5931, 0.579],
      [0.4419, 0.6515, 0.5683],
      [0.4431, 0.6496, 0.5671],
      [0.4304, 0.6298, 0.551],
      [0.4671, 0.591, 0.5266],
      [0.4177, 0.6503, 0.5645],
    ].flat();
    expectPrinted(await matmul(weights, journey, { device }), contexts);
    expectPrinted(await attention(journey, journey, journey, { scale: 1, device }), contexts);
  });

  it('trainable weights, and the causal version', async () => {
    const values = torchRand(123, 18);
    const [wq, wk, wv] = [0, 6, 12].map((from) => array(values.slice(from, from + 6), [3, 2])) as [
      NdArray<2>,
      NdArray<2>,
      NdArray<2>,
    ];
    expectPrinted(wq, [0.2961, 0.5166, 0.2517, 0.6886, 0.074, 0.8665]);
    const [q, k, v] = [
      await matmul(journey, wq, { device }),
      await matmul(journey, wk, { device }),
      await matmul(journey, wv, { device }),
    ];
    expectPrinted(array(q.data.slice(2, 4), [2]), [0.4306, 1.4551]);
    const scores = await matmul(q, k, { transposeB: true, device });
    expectPrinted(array(scores.data.slice(6, 12), [6]), [1.2705, 1.8524, 1.8111, 1.0795, 0.5577, 1.544]);
    const { y, probs } = await attention(q, k, v, { probs: true, device });
    expectPrinted(array(probs.data.slice(6, 12), [6]), [0.15, 0.2264, 0.2199, 0.1311, 0.0906, 0.182]);
    expectPrinted(y, [0.2996, 0.8053, 0.3061, 0.821, 0.3058, 0.8203, 0.2948, 0.7939, 0.2927, 0.7891, 0.299, 0.804]);
    const causal = await attention(q, k, v, { mask: 'causal', device });
    expectPrinted(
      causal,
      [0.1855, 0.8812, 0.3116, 0.9549, 0.3395, 0.9652, 0.3129, 0.8747, 0.2865, 0.7897, 0.299, 0.804],
    );
    expect([...causal.data.slice(-2)]).toEqual([...y.data.slice(-2)]);
  });
});

describe('direct calls against the references', () => {
  const random = new Random(1);
  const made = <const S extends readonly number[]>(...shape: S): { data: Float32Array; shape: S } => ({
    data: random.normal(shape.reduce((a, b) => a * b, 1)),
    shape,
  });

  it('norms, activations, sums and limits, of any rank', async () => {
    const x = made(3, 5, 17) as NdArray<3>;
    const [weight, bias] = [made(17) as NdArray<1>, made(17) as NdArray<1>];
    const like = made(3, 5, 17) as NdArray<3>;
    const near = async (found: Promise<NdArray>, expected: ArrayLike<number>): Promise<void> => {
      const { data, shape } = await found;
      expect(shape).toEqual([3, 5, 17]);
      expectNear(data, expected, 1e-12);
    };
    await near(ops.rmsNorm(x, weight, { eps: 1e-3, offset: 1 }), reference.rmsNorm(x.data, weight.data, 1e-3, 1));
    await near(ops.rmsNorm(x, weight), reference.rmsNorm(x.data, weight.data, 1e-6));
    await near(ops.layerNorm(x, weight), reference.layerNorm(x.data, weight.data, undefined, 1e-5));
    await near(ops.layerNorm(x, weight, bias, { eps: 0.1 }), reference.layerNorm(x.data, weight.data, bias.data, 0.1));
    await near(softmax(x), reference.softmax(x.data, 17));
    const { gelu, silu, relu, tanh, sigmoid } = ops;
    for (const [fn, run] of Object.entries({ gelu, silu, relu, tanh, sigmoid })) {
      await near(run(x), Float64Array.from(x.data, reference.activations[fn]!));
    }
    await near(ops.activation(x, 'gelu_tanh'), Float64Array.from(x.data, reference.activations.gelu_tanh!));
    await near(
      ops.gated(x, like, 'silu'),
      Float64Array.from(x.data, (v, i) => reference.activations.silu!(v) * like.data[i]!),
    );
    await near(
      ops.add(x, like),
      Float64Array.from(x.data, (v, i) => v + like.data[i]!),
    );
    await near(
      ops.mul(x, like),
      Float64Array.from(x.data, (v, i) => v * like.data[i]!),
    );
    await near(
      ops.softcap(x, 0.5),
      Float64Array.from(x.data, (v) => 0.5 * Math.tanh(v / 0.5)),
    );
  });

  it('linear and matmul, sizes changing from call to call', async () => {
    for (const [m, k, n] of [
      [1, 3, 17],
      [17, 129, 3],
      [0, 3, 5],
      [3, 17, 129],
    ] as const) {
      const [x, weight, bias] = [made(m, k) as NdArray<2>, made(n, k) as NdArray<2>, made(n) as NdArray<1>];
      expectNear((await linear(x, weight)).data, reference.linear(x.data, weight.data, undefined, m, k, n), 1e-12);
      expectNear(
        (await linear(x, weight, bias)).data,
        reference.linear(x.data, weight.data, bias.data, m, k, n),
        1e-12,
      );
    }
    const { shape } = await matmul(made(2, 3, 5, 7) as NdArray<4>, made(2, 3, 7, 4) as NdArray<4>);
    expect(shape).toEqual([2, 3, 5, 4]);
  });

  it('attention with every option', async () => {
    const [q, k, v] = [made(5, 4, 8) as NdArray<3>, made(9, 2, 8) as NdArray<3>, made(9, 2, 8) as NdArray<3>];
    const base = { rows: 5, keys: 9, heads: 4, kvHeads: 2, headDim: 8, scale: 1 / Math.sqrt(8), sees: () => true };
    const near = async (options: ops.AttentionOptions, expected: Partial<reference.Attention>): Promise<void> => {
      const found = await attention(q, k, v, { ...options, probs: true });
      const { y, probs } = reference.attention(q.data, k.data, v.data, { ...base, ...expected });
      expectNear(found.y.data, y, 1e-12);
      expectNear(found.probs.data, probs, 1e-12);
      expect([found.y.shape, found.probs.shape]).toEqual([
        [5, 4, 8],
        [4, 5, 9],
      ]);
    };
    await near({}, {});
    await near({ mask: 'none', scale: 0.3, softcap: 2 }, { scale: 0.3, softcap: 2 });
    await near({ mask: 'causal' }, { sees: (i, j) => j <= i + 4 });
    await near({ mask: 'causal', window: 3 }, { sees: (i, j) => j <= i + 4 && j > i + 1 });
    const bits = Array.from({ length: 5 }, () => Array.from({ length: 9 }, () => random.next() < 0.5));
    await near({ mask: bits }, { sees: (i, j) => bits[i]![j]! });
    await near({ mask: Uint8Array.from(bits.flat(), Number) }, { sees: (i, j) => bits[i]![j]! });
    const bias = made(4, 5, 9) as NdArray<3>;
    await near({ bias }, { bias: bias.data });
    const flat = made(5, 9) as NdArray<2>;
    await near({ bias: flat }, { bias: Float32Array.from([flat, flat, flat, flat].flatMap((b) => [...b.data])) });
    const two = await attention(array(q.data, [5, 32]), array(k.data, [9, 16]), array(v.data, [9, 16]), {
      heads: 4,
      kvHeads: 2,
    });
    expectNear(two.data, (await attention(q, k, v)).data, 0);
  });

  it('rope: theta, own frequencies, partial, interleaved, scaled', async () => {
    const x = made(3, 2, 8) as NdArray<3>;
    const positions = [0, 5, 100_000];
    const near = async (
      options: ops.RopeOptions,
      frequencies: ArrayLike<number>,
      interleaved = false,
      scaling = 1,
    ): Promise<void> => {
      const table = reference.ropeTable(
        positions,
        () => frequencies,
        () => scaling,
      );
      const { data, shape } = await ops.rope(x, positions, options);
      expect(shape).toEqual([3, 2, 8]);
      expectNear(data, reference.rope(x.data, table, 16, 8, frequencies.length, interleaved), 1e-12);
    };
    const frequencies = (theta: number, dims: number): Float32Array =>
      Float32Array.from({ length: dims / 2 }, (_, i) => theta ** ((-2 * i) / dims));
    await near({}, frequencies(10_000, 8));
    await near({ theta: 500_000, interleaved: true }, frequencies(500_000, 8), true);
    await near({ dims: 4, attentionScaling: 1.5 }, frequencies(10_000, 4), false, 1.5);
    await near({ invFreq: Float32Array.of(0.5, 0.25) }, [0.5, 0.25]);
  });

  it('takes the inputs as they are at the call', async () => {
    const x = made(3, 3) as NdArray<2>;
    const identity = array([
      [1, 0, 0],
      [0, 1, 0],
      [0, 0, 1],
    ]);
    const before = x.data.slice();
    const calls = [matmul(x, identity), matmul(x, identity)];
    x.data.fill(0);
    for (const { data } of await Promise.all(calls)) expect(data).toEqual(before);
    await ops.dispose();
    expect((await matmul(identity, identity)).data).toEqual(identity.data);
  });

  it('many different programs at once, and dispose while they run', async () => {
    const x = made(3, 3) as NdArray<2>;
    const calls = Array.from({ length: 150 }, (_, i) => ops.softcap(x, i + 1));
    const disposed = ops.dispose();
    for (const [i, { data }] of (await Promise.all(calls)).entries())
      expectNear(
        data,
        Float64Array.from(x.data, (v) => (i + 1) * Math.tanh(v / (i + 1))),
        1e-12,
      );
    await disposed;
  });
});

describe('bad calls', () => {
  const x = array([
    [1, 2, 3],
    [4, 5, 6],
  ]);
  const any = (v: unknown) => v as never;
  const cases: readonly (readonly [string, () => Promise<unknown>, new (...args: never[]) => Error, RegExp])[] = [
    [
      'matmul of unequal inner dims',
      () => matmul(x, x),
      InputError,
      /matmul: b: shape; expected "?\[3,3\]"?; found "?\[2,3\]/,
    ],
    [
      'matmul of unequal ranks',
      () => matmul(x, any(array([1, 2, 3]))),
      InputError,
      /matmul: b: rank; expected 2; found 1/,
    ],
    ['matmul of unequal batches', () => matmul(array([[[1]], [[2]]]), array([[[1]]])), InputError, /b: shape/],
    ['a typed array without shape', () => softmax(any(new Float32Array(3))), InputError, /softmax: x is not an array/],
    ['undefined', () => softmax(any(undefined)), InputError, /softmax: x is not an array/],
    ['doubles', () => softmax(any({ data: new Float64Array(2), shape: [2] })), InputError, /Float32Array/],
    [
      'a wrong length',
      () => softmax({ data: new Float32Array(5), shape: [2, 3] }),
      InputError,
      /length for shape \[2,3\]; expected 6; found 5/,
    ],
    ['a negative size', () => softmax({ data: new Float32Array(0), shape: [-1, 0] }), InputError, /shape/],
    ['a fractional size', () => softmax({ data: new Float32Array(3), shape: [1.5, 2] }), InputError, /shape/],
    ['rank 5', () => softmax(any({ data: new Float32Array(1), shape: [1, 1, 1, 1, 1] })), InputError, /rank/],
    ['an unknown option', () => softmax(x, any({ dim: 1 })), OptionError, /softmax: unknown option.*dim/],
    ['an unknown device', () => softmax(x, { device: 'cpu:nope' }), DeviceError, /no device cpu:nope/],
    ['a device that is no name', () => softmax(x, any({ device: 3 })), OptionError, /device/],
    [
      'a norm of the wrong width',
      () => ops.rmsNorm(x, array([1, 1])),
      InputError,
      /rmsNorm: weight: shape; expected "?\[3\]"?; found "?\[2\]/,
    ],
    ['a norm with NaN eps', () => ops.rmsNorm(x, array([1, 1, 1]), { eps: Number.NaN }), OptionError, /eps/],
    ['a bias of the wrong width', () => linear(x, array([[1, 2, 3]]), array([1, 2])), InputError, /linear: bias/],
    ['an unknown activation', () => ops.activation(x, any('swish')), InputError, /fn/],
    ['a cap of 0', () => ops.softcap(x, 0), OptionError, /cap/],
    ['unequal sums', () => ops.add(x, array([[1, 2, 3]])), InputError, /add: b: shape/],
    ['v of other width', () => attention(x, x, array([[1], [2]])), InputError, /attention: v: shape/],
    ['keys of other width', () => attention(x, array([[1]]), array([[1]])), InputError, /attention: k: shape/],
    ['a mask of wrong size', () => attention(x, x, x, { mask: [[true, true]] }), InputError, /mask/],
    [
      'a mask of numbers',
      () =>
        attention(x, x, x, {
          mask: any([
            [1, 0],
            [1, 1],
          ]),
        }),
      InputError,
      /mask/,
    ],
    ['an unknown mask', () => attention(x, x, x, { mask: any('lower') }), OptionError, /mask/],
    ['a window without causal', () => attention(x, x, x, { window: 2 }), OptionError, /window/],
    ['a window of 0', () => attention(x, x, x, { mask: 'causal', window: 0 }), OptionError, /window/],
    ['heads that do not divide', () => attention(x, x, x, { heads: 2 }), InputError, /multiple of 2/],
    [
      'heads in rank 3',
      () => attention(array([[[1]]]), array([[[1]]]), array([[[1]]]), { heads: 1 }),
      OptionError,
      /heads/,
    ],
    ['a bias of wrong shape', () => attention(x, x, x, { bias: array([[1]]) }), InputError, /bias/],
    ['positions of wrong length', () => ops.rope(array([[1, 2]]), [0, 1]), InputError, /positions/],
    ['a fractional position', () => ops.rope(array([[1, 2]]), [0.5]), InputError, /positions/],
    ['a list of positions that only claims a length', () => ops.rope(x, any({ length: 1e9 })), InputError, /positions/],
    ['no frequencies', () => ops.rope(array([[1, 2]]), [0], { invFreq: any(null) }), OptionError, /invFreq/],
    ['odd dims', () => ops.rope(x, [0, 1]), OptionError, /dims/],
    [
      'theta and frequencies',
      () => ops.rope(array([[1, 2]]), [0], { theta: 2, invFreq: Float32Array.of(1) }),
      OptionError,
      /exclude/,
    ],
  ];

  it.each(cases)('%s', async (_, run, Class, message) => {
    const error = await run().then(
      () => expect.fail('did not throw'),
      (e: unknown) => e,
    );
    expect(error).toBeInstanceOf(Class);
    expect((error as Error).message).toMatch(message);
  });

  it('array() of ragged or wrong lists', () => {
    expect(() => array([[1, 2], [3]])).toThrow(InputError);
    expect(() => array(any([['a']]))).toThrow(InputError);
    expect(() => array([1, 2, 3], [2, 2])).toThrow(/expected 4; found 3/);
    expect(() => array(any(3), [1])).toThrow(InputError);
    expect(() => array(Float32Array.of(1), any(null))).toThrow(InputError);
    // biome-ignore lint/suspicious/noSparseArray: the hole is what is refused
    expect(() => array([1, , 3] as number[])).toThrow(InputError);
  });

  it('memory that threads share is copied, at the first call and at later ones', async () => {
    const data = new Float32Array(new SharedArrayBuffer(8));
    for (let i = 0; i < 2; i++) expect([...(await softmax(array(data, [1, 2]))).data]).toEqual([0.5, 0.5]);
  });
});
