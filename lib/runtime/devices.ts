import { DeviceError } from '../errors.js';
import { type DeviceInfo, native } from './native.js';

/** All devices that this build knows, best first; for each absent one `usable` is false and `description` says why. */
export function devices(): DeviceInfo[] {
  const cuda: DeviceInfo = {
    name: 'cuda:0',
    description: 'this build has no CUDA device library',
    usable: false,
    threads: 0,
  };
  return [...native().devices(), cuda];
}

/** The device of that name (`cpu`, `cpu:generic`, `cpu:avx2`, `cpu:avx512`); throws a DeviceError naming the usable ones. */
export function findDevice(name: string): DeviceInfo {
  const all = devices();
  const found = all.find((d) => d.name === name);
  if (found?.usable === true) return found;
  const usable = all.filter((d) => d.usable).map((d) => d.name);
  throw new DeviceError(
    found === undefined ? `no device ${name}` : `device ${name} cannot be used: ${found.description}`,
    { name: 'device', expected: usable.join(', '), found: name },
  );
}
