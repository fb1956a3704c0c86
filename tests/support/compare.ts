import { describe, expect, it } from 'vitest';
import { type OpCase, type OpResult, runOps, testDevices } from './run_op.js';

/** A test case as data: checked on every tier by the tests, timed by the bench. */
export interface OpTest {
  readonly name: string;
  /** Nodes of one program; the outputs of the last are compared. */
  readonly nodes: readonly OpCase[];
  /** By output name, in float64. */
  readonly expected: () => Readonly<Record<string, ArrayLike<number>>>;
  /** Largest normalised mean square error; 0: equal numbers (NaN equals NaN). */
  readonly gate: number;
}

/** Σ (found − expected)² / Σ expected². */
export function nmse(found: ArrayLike<number>, expected: ArrayLike<number>): number {
  expect(found.length).toBe(expected.length);
  let [error, power] = [0, 0];
  for (let i = 0; i < expected.length; i++) {
    error += (found[i]! - expected[i]!) ** 2;
    power += expected[i]! ** 2;
  }
  return error === 0 ? 0 : error / power;
}

/** Within the gate; the message names the first bad place. */
export function expectNear(found: ArrayLike<number>, expected: ArrayLike<number>, gate: number, name = 'result'): void {
  if (gate === 0) {
    expect(found.length, name).toBe(expected.length);
    for (let i = 0; i < expected.length; i++) {
      if (found[i] !== expected[i] && !(Number.isNaN(found[i]!) && Number.isNaN(expected[i]!))) {
        expect.fail(`${name}[${i}] is ${found[i]}, expected ${expected[i]}`);
      }
    }
    return;
  }
  const error = nmse(found, expected);
  if (!(error <= gate)) {
    const at = Array.from(expected).findIndex((e, i) => !(Math.abs(found[i]! - e) <= 1e-5 * (1 + Math.abs(e))));
    expect.fail(`${name}: NMSE ${error} above ${gate}; [${at}] is ${found[at]}, expected ${expected[at]}`);
  }
}

/** Same bits, NaN payloads included. */
export function expectSameBits(
  found: Float32Array | Int32Array,
  expected: Float32Array | Int32Array,
  name = 'result',
): void {
  expect(found.length, name).toBe(expected.length);
  const [a, b] = [bits(found), bits(expected)];
  for (let i = 0; i < a.length; i++) {
    if (a[i] !== b[i]) expect.fail(`${name}[${i}] is ${found[i]}, expected the bits of ${expected[i]}`);
  }
}

function bits(x: Float32Array | Int32Array): Uint32Array {
  return new Uint32Array(x.buffer, x.byteOffset, x.length);
}

/** Declares a test per case and tier. */
export function checkOnTiers(stem: string, tests: readonly OpTest[]): void {
  describe.each(testDevices())(`${stem} on %s`, (device) => {
    it.each(tests.map((t) => [t.name, t] as const))('%s', async (_, test) => {
      if (!device.startsWith('cpu') && test.nodes.some((n) => /^int8/.test(`${n.attrs?.compute}`))) {
        // Only CPUs have this arithmetic: others refuse it by name.
        await expect(runOps(test.nodes, device)).rejects.toMatchObject({ code: 'ERR_UNSUPPORTED' });
        return;
      }
      const results = await runOps(test.nodes, device);
      for (const [name, expected] of Object.entries(test.expected())) {
        expectNear(results[name]!.data, expected, test.gate, name);
      }
    });
  });
}

/** Declares a test per tier that one and two threads give the same bits. */
export function checkThreads(stem: string, tests: readonly OpTest[]): void {
  it.each(testDevices())(`${stem}: one and two threads give the same bits on %s`, async (device) => {
    for (const test of tests) {
      const [one, two] = [await runOps(test.nodes, device, 1), await runOps(test.nodes, device, 2)];
      for (const [name, result] of Object.entries<OpResult>(one))
        expectSameBits(two[name]!.data, result.data, `${test.name} ${name}`);
    }
  });
}
