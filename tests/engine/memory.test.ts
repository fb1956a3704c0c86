import { describe, expect, it } from 'vitest';
import { parseBytes, planMemory } from '../../lib/engine/memory.js';
import { OptionError } from '../../lib/errors.js';
import type { CacheGroup } from '../../lib/layers/decoder.js';

const group = (bytesPerBlock: number): CacheGroup => ({
  name: 'kv0',
  kvHeads: 1,
  headDim: 1,
  window: undefined,
  layers: 1,
  bytesPerBlock,
  blocks: { name: 'kv0_blocks', size: 1 },
});
const groups = [group(3072), group(1024)]; // 4096 bytes per block of 32 tokens

describe('parseBytes', () => {
  it.each([
    ['1', 1],
    [4096, 4096],
    ['512 MiB', 512 * 2 ** 20],
    ['1.5GiB', 1.5 * 2 ** 30],
    ['800MB', 8e8],
    [' 2KB ', 2000],
    ['7B', 7],
  ] as const)('%s is %d', (text, bytes) => expect(parseBytes('kvMemory', text)).toBe(bytes));

  it.each([
    '',
    'lots',
    '-1',
    '1TB',
    '1 GiB extra',
    '0',
    '0.5B',
    '1e9',
    0,
    -5,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    1e300,
  ])('%s is refused', (value) => {
    expect(() => parseBytes('kvMemory', value)).toThrow(OptionError);
    expect(() => parseBytes('kvMemory', value)).toThrow(/kvMemory/);
  });

  it.each([[null], [{}], [true], [[1, 2]]])('%j is refused', (value) => {
    expect(() => parseBytes('kvMemory', value as never)).toThrow(OptionError);
  });
});

describe('planMemory', () => {
  it('divides the memory into blocks of 32 tokens', () => {
    expect(planMemory(groups, 1000, { kvMemory: '1MiB' })).toEqual({
      maxContext: 1000,
      blocks: 256,
      bytesPerToken: 128,
      kvBytes: 2 ** 20,
    });
  });

  it('shortens a context that was not asked for to what fits', () => {
    expect(planMemory(groups, 1000, { kvMemory: 3 * 4096 + 5 })).toMatchObject({
      maxContext: 96,
      blocks: 3,
      kvBytes: 3 * 4096,
    });
  });

  it('keeps a context that was asked for, or says what it needs', () => {
    expect(planMemory(groups, 1000, { maxContext: 96, kvMemory: 3 * 4096 }).maxContext).toBe(96);
    expect(() => planMemory(groups, 1000, { maxContext: 97, kvMemory: 3 * 4096 })).toThrow(
      /kvMemory.*at least 16384 bytes for 97 tokens/,
    );
  });

  it('needs room for one block', () => {
    expect(() => planMemory(groups, 1000, { kvMemory: 4095 })).toThrow(OptionError);
  });

  it('takes room for several sequences by default, in the memory that is free', () => {
    const plan = planMemory(groups, 100, {});
    expect(plan.blocks).toBe(16 * 4);
    expect(planMemory([group(2 ** 45)], 32, {})).toMatchObject({ blocks: 1 });
  });

  it.each([0, -1, 1.5, Number.NaN, 1001, '5' as never, null as never])('refuses maxContext %s', (maxContext) => {
    expect(() => planMemory(groups, 1000, { maxContext })).toThrow(OptionError);
  });
});
