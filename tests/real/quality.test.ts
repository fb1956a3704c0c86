/** Each weight type on trained weights, with its default arithmetic: how far next-token distributions move from f32's. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type WeightDType, weightDTypes } from '../../lib/graph/dtype.js';
import { builtInModel, type LoadOptions, load } from '../../lib/tasks/load.js';
import { quantize } from '../../lib/tasks/quantize.js';
import { openCheckpoint } from '../../lib/weights/checkpoint.js';
import type { QuantizeType } from '../../lib/weights/quantize_rules.js';
import {
  heldOut,
  type Quality,
  qualityOf,
  type Reference,
  referenceOf,
  stories,
  writeWidened,
} from '../support/quality.js';
import { sharedModels } from '../support/shared.js';

const exact = { quantize: 'f32', compute: 'f32', threads: 1 } as const;
const shared = sharedModels();

/** KL divergence (nats) and top-1 agreement as measured; half again as much divergence and disagreement passes. */
type Measured = Readonly<Partial<Record<QuantizeType, readonly [kl: number, top1: number]>>>;
const room = 1.5;

const gates32: Measured = {
  f16: [0, 1.0],
  bf16: [4.76e-5, 0.998],
  q8_0: [0.00126, 0.975],
  q4_0: [0.0972, 0.814],
  q4_1: [0.0859, 0.839],
  q5_0: [0.025, 0.9],
  q5_1: [0.0178, 0.915],
  iq4_nl: [0.0683, 0.847],
};
const gates256: Measured = {
  q2_k: [0.804, 0.597],
  q3_k: [0.313, 0.718],
  q4_k: [0.0707, 0.852],
  q5_k: [0.0212, 0.908],
  q6_k: [0.00825, 0.917],
  iq4_xs: [0.0753, 0.837],
  q4_k_m: [0.0634, 0.862],
  q5_k_m: [0.0189, 0.912],
};

function passes({ kl, top1, positions }: Quality, [klThen, top1Then]: readonly [number, number]): boolean {
  return kl < room * klThen + 1e-6 && kl > -1e-6 && 1 - top1 < room * (1 - top1Then) + 2 / positions;
}

async function measured(path: string, reference: Reference, options: LoadOptions): Promise<Quality> {
  const model = await load(path, { threads: 1, maxContext: 512, ...options });
  try {
    return await qualityOf(model, reference);
  } finally {
    await model.dispose();
  }
}

function gatesTest(gates: Measured, subject: () => { path: string; reference: Reference }): void {
  it.each(Object.entries(gates))('%s', async (type, then) => {
    const { path, reference } = subject();
    const found = await measured(path, reference, { quantize: type as QuantizeType });
    expect(passes(found, then), `${JSON.stringify(found)}, measured before: ${then}`).toBe(true);
  });
}

/** In every block of a matrix of a .gguf file, or of each second block and the one before, two fields change places. */
async function swapFields(file: string, tensor: string, [a, b]: readonly [number, number], size: number) {
  const entry = (await openCheckpoint(file)).tensors.get(tensor)!;
  const stride = Math.max(weightDTypes[entry.dtype as WeightDType].bytes, b + size);
  const bytes = readFileSync(file);
  for (let at = entry.offset; at + b + size <= entry.offset + entry.bytes; at += stride) {
    const kept = Buffer.from(bytes.subarray(at + a, at + a + size));
    bytes.copy(bytes, at + a, at + b, at + b + size);
    kept.copy(bytes, at + b);
  }
  writeFileSync(file, bytes);
}

describe('the built-in model on held-out text', () => {
  let folder: string;
  let reference: Reference;
  let widened: string;
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'verdant-quality-'));
    widened = await writeWidened(builtInModel(), join(folder, 'widened'));
    const model = await load(undefined, exact);
    reference = await referenceOf(model, await heldOut(model, builtInModel(), 10));
    await model.dispose();
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  describe('rows of 192 and 384: types with blocks of 32', () => {
    gatesTest(gates32, () => ({ path: builtInModel(), reference }));
  });

  describe('the same weights in rows of 256 and 512: types with blocks of 256', () => {
    it('f32: the same model', async () => {
      const { kl, top1, positions } = await measured(widened, reference, exact);
      expect(Math.abs(kl)).toBeLessThan(1e-6);
      expect(top1).toBeGreaterThan(1 - 2 / positions);
    });
    gatesTest(gates256, () => ({ path: widened, reference }));
  });

  it('types with more bits are nearer', async () => {
    const kl = async (type: WeightDType): Promise<number> =>
      (await measured(widened, reference, { quantize: type })).kl;
    const order: readonly WeightDType[] = ['f32', 'q8_0', 'q6_k', 'q5_k', 'q4_k', 'q3_k', 'q2_k'];
    const found: number[] = [];
    for (const type of order) found.push(await kl(type));
    expect(found).toEqual([...found].sort((a, b) => a - b));
    expect(order.every((t) => Object.hasOwn(weightDTypes, t))).toBe(true);
  });

  // A check of the gates themselves, with faults that a decoder could have, in one matrix of 28.
  it.each([
    ['q4_0', 'the scales of two blocks change places', [0, 18], 2, () => builtInModel()],
    ['q4_k', 'd and dmin change places', [0, 2], 2, () => widened],
    ['q4_k', 'the scales of two quarters change places', [4, 6], 2, () => widened],
    ['q6_k', 'the scales of two sixteens change places', [192, 193], 1, () => widened],
  ] as const)('%s: where %s, the gate closes', async (type, _, places, size, path) => {
    const file = join(folder, 'broken.gguf');
    await quantize(path(), file, { type, overwrite: true });
    const then = { q4_0: gates32.q4_0, q4_k: gates256.q4_k, q6_k: gates256.q6_k }[type]!;
    expect(passes(await measured(file, reference, {}), then)).toBe(true);
    await swapFields(file, 'blk.2.ffn_gate.weight', places, size);
    const broken = await measured(file, reference, {});
    expect(passes(broken, then), JSON.stringify(broken)).toBe(false);
  });
});

describe.skipIf(shared === undefined)('tinystories-656K (skips without the shared models)', () => {
  let reference: Reference;
  const path = join(shared ?? '', 'tinystories-656K');
  beforeAll(async () => {
    const model = await load(path, exact);
    reference = await referenceOf(model, await stories(model, shared!, 6));
    await model.dispose();
  });
  gatesTest(
    {
      bf16: [3.31e-5, 0.995],
      q8_0: [0.000794, 0.977],
      q4_0: [0.0553, 0.82],
      q4_k: [0.0148, 0.897],
      iq4_nl: [0.0392, 0.842],
    },
    () => ({ path, reference }),
  );
});
