import { monitorEventLoopDelay } from 'node:perf_hooks';
import { describe, expect, it } from 'vitest';
import { measureCeilings } from '../../lib/bench/ceilings.js';
import { devices } from '../../lib/runtime/devices.js';

const tiers = devices()
  .filter((d) => d.usable && d.name.startsWith('cpu:'))
  .map((d) => d.name.slice(4));

describe('ceilings', () => {
  it.each(tiers)('%s: finite and positive; types that the tier lacks are null', async (tier) => {
    const found = await measureCeilings({ threads: 2, milliseconds: 5, rounds: 2, tier });
    for (const kind of ['stream', 'f32'] as const) expect(found[kind]).toBeGreaterThan(0.01);
    for (const kind of ['bf16', 'int8'] as const) {
      if (tier !== 'avx512') expect(found[kind]).toBeNull();
      else if (found[kind] !== null) expect(found[kind]).toBeGreaterThan(0.01);
    }
    for (const value of Object.values(found)) expect(value === null || Number.isFinite(value)).toBe(true);
  });

  it('leaves the event loop free', async () => {
    await measureCeilings({ threads: 1, milliseconds: 1, rounds: 1 });
    const delay = monitorEventLoopDelay({ resolution: 1 });
    delay.enable();
    await measureCeilings({ threads: 1, milliseconds: 100, rounds: 1 });
    delay.disable();
    // Some 400 ms in all: a blocked loop would show it in one piece.
    expect(delay.max / 1e6).toBeLessThan(200);
  });

  it('refuses what it cannot do', async () => {
    await expect(measureCeilings({ threads: 0 })).rejects.toMatchObject({ code: 'ERR_OPTION' });
    await expect(measureCeilings({ threads: 1, rounds: Number.NaN })).rejects.toMatchObject({ code: 'ERR_OPTION' });
    await expect(measureCeilings({ threads: 1, tier: 'neon' })).rejects.toMatchObject({ code: 'ERR_DEVICE' });
  });
});
