import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { DeviceError } from '../errors.js';
import { type DeviceInfo, native } from './native.js';

/** Device libraries beside the CPU: what their devices are called, where they lie, how they come there. */
const kLibraries = [
  {
    prefix: 'cuda:',
    environment: 'VERDANT_CUDA_LIBRARY',
    file: `../../build/cuda/Release/verdant_cuda${process.platform === 'win32' ? '.dll' : '.so'}`,
    build: 'npm run build:cuda (needs nvcc 12.4 or newer)',
  },
] as const;

type Library = (typeof kLibraries)[number];

/** Loads a device library, once; why it cannot be used, where that is so. */
function load(library: Library): string | undefined {
  const path = process.env[library.environment] ?? fileURLToPath(new URL(library.file, import.meta.url));
  if (!existsSync(path)) return `there is no device library ${path}; it is built by: ${library.build}`;
  try {
    native().loadDevice(path);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** All devices that this build knows, best first; for each absent one `usable` is false and `description` says why. */
export function devices(): DeviceInfo[] {
  const absent = kLibraries.flatMap((library): DeviceInfo[] => {
    const description = load(library);
    return description === undefined ? [] : [{ name: `${library.prefix}0`, description, usable: false, threads: 0 }];
  });
  return [...native().devices(), ...absent];
}

/**
 * The device of that name (`cpu`, `cpu:generic`, `cpu:avx2`, `cpu:avx512`, `cuda:0`); throws a DeviceError naming the
 * usable ones. A device library is loaded when one of its devices is asked for, which can take a while.
 */
export function findDevice(name: string): DeviceInfo {
  const own = native()
    .devices()
    .find((d) => d.name === name && d.usable);
  if (own !== undefined) return own;
  const all = devices();
  const found = all.find((d) => d.name === name);
  if (found?.usable === true) return found;
  const usable = all.filter((d) => d.usable).map((d) => d.name);
  throw new DeviceError(
    found === undefined ? `no device ${name}` : `device ${name} cannot be used: ${found.description}`,
    { name: 'device', expected: usable.join(', '), found: name },
  );
}
