/** Shapes of encoders, encoder-decoders and speech in `verdant bench`. */
import { expect, it } from 'vitest';
import type * as families from '../../lib/bench/families.js';
import { familyNames, familyShapes } from '../../lib/bench/family_shapes.js';
import { familyText } from '../../lib/bench/family_text.js';
import { checkBench } from '../../lib/bench/options.js';
import { shapeConfig } from '../../lib/bench/shapes.js';
import { countWork, fullOperations } from '../../lib/bench/work.js';
import { buildEncoder } from '../../lib/engine/build.js';
import { encoderProgram } from '../../lib/engine/encoder_host.js';
import { findArchitecture } from '../../lib/models/index.js';
import { readConfig } from '../../lib/weights/config.js';
import { randomSource } from '../../lib/weights/random_source.js';

// Ceilings are measured by a process of their own, which needs compiled sources.
const dist = new URL('../../dist/bench/families.js', import.meta.url).href;
const { benchFamily } = (await import(dist)) as typeof families;

it('operations of bert-base: twelve layers of 12 h^2 products a token, and attention over all', () => {
  const reader = readConfig({ config: familyShapes['bert-base'], configFile: 'bert-base' });
  const architecture = findArchitecture('BertModel', 'bert', 'bert-base');
  if (architecture.kind !== 'encoder') throw new Error('no encoder');
  const built = buildEncoder(architecture, 'BertModel', reader, randomSource('f32', 1, []));
  const work = countWork(encoderProgram(built, ['last_hidden_state']));
  const n = 128;
  expect(fullOperations(work, n)).toBe(2 * 12 * (n * 12 * 768 * 768 + 2 * 768 * n * n));
});

it('marian is measured with figures that fit each other', async () => {
  const report = await benchFamily('marian', checkBench({ shape: 'marian', repeat: 1, quant: 'bf16' }), {});
  expect(report.tasks).toHaveLength(2);
  for (const task of report.tasks) expect(task.perSecond.median).toBeGreaterThan(0);
  const [one, eight] = report.tasks;
  expect((one!.perSecond.median * one!.ms.median) / 1000).toBeCloseTo(64, 6);
  expect((eight!.perSecond.median * eight!.ms.median) / 1000).toBeCloseTo(512, 6);
  const text = familyText(report);
  expect(text).toContain('8 x 128 read, 64 written');
  expect(text).toContain('random bf16');
}, 120_000);

it('refuses what it cannot do, and lists the shapes', async () => {
  const ask = (more: object) => benchFamily('bert-base', checkBench({ shape: 'bert-base', ...more }), {});
  await expect(ask({ quant: 'q4_k_m' })).rejects.toThrow(/bad quant|for decoders/);
  await expect(ask({ profile: true })).rejects.toThrow(/profile is for decoders/);
  await expect(ask({ context: 99 })).rejects.toThrow(/bad quant|for decoders/);
  for (const name of familyNames) expect(() => shapeConfig(`${name}x`)).toThrow(name);
});
