import { freemem } from 'node:os';
import { OptionError } from '../errors.js';
import type { CacheGroup } from '../layers/decoder.js';
import { pageTokens } from '../layers/decoder.js';
import { blocksFor } from './kv_blocks.js';

export interface MemoryOptions {
  /** Longest sequence in tokens; default: what the model was made for, as far as kvMemory holds it. */
  readonly maxContext?: number | undefined;
  /** Bytes for the KV cache, a number or a text such as '512MiB'; committed when used. Default: up to a quarter of free memory. */
  readonly kvMemory?: number | string | undefined;
}

export interface MemoryPlan {
  readonly maxContext: number;
  readonly blocks: number;
  readonly bytesPerToken: number;
  readonly kvBytes: number;
}

const units: Readonly<Record<string, number>> = {
  '': 1,
  B: 1,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
};
const defaultSequences = 16;

/** Bytes of '1.5GiB', '800MB' or a plain number. */
export function parseBytes(name: string, value: number | string): number {
  const match = /^\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*$/.exec(String(value));
  const unit = match === null ? undefined : units[match[2]!];
  const bytes = match === null || unit === undefined ? Number.NaN : Math.floor(Number(match[1]) * unit);
  if (!Number.isSafeInteger(bytes) || bytes <= 0)
    throw new OptionError(`bad ${name}`, { name, expected: "bytes, or a text such as '1GiB'", found: value });
  return bytes;
}

/** How many KV blocks a model gets, and how long its sequences may be; `free`: bytes that are free where it computes. */
export function planMemory(
  groups: readonly CacheGroup[],
  maxPositions: number,
  options: MemoryOptions,
  free: number = freemem(),
): MemoryPlan {
  const perBlock = groups.reduce((n, g) => n + g.bytesPerBlock, 0);
  const wanted = options.maxContext === undefined ? maxPositions : options.maxContext;
  if (!Number.isSafeInteger(wanted) || wanted < 1)
    throw new OptionError('bad maxContext', {
      name: 'maxContext',
      expected: 'a positive integer',
      found: options.maxContext,
    });
  if (wanted > maxPositions) {
    throw new OptionError('maxContext is longer than the model was made for', {
      name: 'maxContext',
      expected: `at most ${maxPositions}`,
      found: wanted,
    });
  }
  const needed = blocksFor(wanted) * perBlock;
  const given = options.kvMemory === undefined ? undefined : parseBytes('kvMemory', options.kvMemory);
  const bytes = given ?? Math.min(defaultSequences * needed, Math.max(Math.floor(free / 4), perBlock));
  const blocks = Math.floor(bytes / perBlock);
  const fits = blocks * pageTokens;
  if (blocks < 1 || (fits < wanted && options.maxContext !== undefined)) {
    throw new OptionError('kvMemory does not hold one sequence of maxContext tokens', {
      name: given === undefined ? 'maxContext' : 'kvMemory',
      expected: `at least ${needed} bytes for ${wanted} tokens`,
      found: `${bytes} bytes`,
    });
  }
  return {
    maxContext: Math.min(wanted, fits),
    blocks,
    bytesPerToken: perBlock / pageTokens,
    kvBytes: blocks * perBlock,
  };
}
