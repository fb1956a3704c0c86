import { readFileSync } from 'node:fs';
import { availableParallelism, cpus, release, totalmem } from 'node:os';
import { findDevice } from '../runtime/devices.js';

/** Where figures come from. */
export interface Environment {
  readonly date: string;
  readonly verdant: string;
  readonly node: string;
  readonly platform: string;
  readonly cpu: string;
  readonly cpus: number;
  readonly allowedCpus: number;
  readonly memoryBytes: number;
  readonly device: string;
  /** Tier and instruction sets. */
  readonly tier: string;
  readonly threads: number;
}

export function environmentOf(device: string, threads: number): Environment {
  const file = new URL('../../package.json', import.meta.url);
  const { version } = JSON.parse(readFileSync(file, 'utf8')) as { version: string };
  return {
    date: new Date().toISOString(),
    verdant: version,
    node: process.version,
    platform: `${process.platform} ${process.arch} ${release()}`,
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cpus: cpus().length,
    allowedCpus: availableParallelism(),
    memoryBytes: totalmem(),
    device,
    tier: findDevice(device).description,
    threads,
  };
}
