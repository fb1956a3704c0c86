import { describe, expect, it } from 'vitest';
import { stops } from '../../lib/tour/index.js';
import { verdant } from './cli.js';

describe('verdant tour', () => {
  it('lists its stops', async () => {
    const made = await verdant(['tour', '--list']);
    expect(made).toMatchObject({ code: 0, stderr: '' });
    expect(made.stdout.trimEnd().split('\n')).toHaveLength(stops.length);
    for (const stop of stops) expect(made.stdout).toMatch(new RegExp(`^${stop.name} +`, 'm'));
  });

  it('prints one stop', async () => {
    const made = await verdant(['tour', 'attention']);
    expect(made).toMatchObject({ code: 0, stderr: '' });
    expect(made.stdout).toContain('Self-attention, step by step  (verdant tour attention)\n====');
    expect(made.stdout).toMatch(/journey +0\.9544 +1\.4950 +1\.4754 +0\.8434 +0\.7070 +1\.0865/);
    expect(made.stdout).toMatch(/journey +0\.4419 +0\.6515 +0\.5683/);
    expect(made.stdout).not.toContain('verdant tour mole');
  });

  it('prints all stops in order', async () => {
    const made = await verdant(['tour']);
    expect(made).toMatchObject({ code: 0, stderr: '' });
    const places = stops.map((stop) => made.stdout.indexOf(`(verdant tour ${stop.name})`));
    expect(places.every((at) => at >= 0)).toBe(true);
    expect(places).toEqual([...places].sort((a, b) => a - b));
    expect(made.stdout).toMatch(/layer 0 +1\.0000 +1\.0000 +1\.0000/);
    expect(made.stdout).toContain('A mole digs tunnels.');
  });

  it('knows its stops', async () => {
    const made = await verdant(['tour', 'atention']);
    expect(made).toMatchObject({ code: 2, stdout: '' });
    expect(made.stderr).toMatch(/no stop 'atention'\n.*attention, positions/);
  });
});
