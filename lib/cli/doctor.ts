import { existsSync, readFileSync } from 'node:fs';
import { availableParallelism, cpus, freemem, totalmem } from 'node:os';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import type { DeviceInfo } from '../runtime/native.js';
import { bytes, oneLine, print, table } from './output.js';

export function define(command: Command): void {
  command
    .option('--json', 'one JSON document')
    .addHelpText('after', '\nExit code 0: models can run here; 1: they cannot.')
    .action((values) => doctor(values));
}

/** CPUs of the cgroup's quota; undefined: no quota, or no cgroup. */
function cgroupQuota(): number | undefined {
  const read = (path: string): string[] => (existsSync(path) ? readFileSync(path, 'utf8').trim().split(/\s+/) : []);
  const [quota, period] = read('/sys/fs/cgroup/cpu.max');
  if (quota !== undefined && quota !== 'max') return Number(quota) / Number(period);
  const [old] = read('/sys/fs/cgroup/cpu/cpu.cfs_quota_us');
  return old === undefined || Number(old) <= 0
    ? undefined
    : Number(old) / Number(read('/sys/fs/cgroup/cpu/cpu.cfs_period_us')[0]);
}

function threadReport(threads: number) {
  const quota = cgroupQuota();
  const [logical, allowed] = [cpus().length, availableParallelism()];
  const whole = quota === undefined ? undefined : Math.max(1, Math.floor(quota));
  const by =
    whole !== undefined && whole === threads && whole < allowed
      ? `the cgroup's quota of ${quota} CPUs`
      : threads < allowed
        ? 'physical cores: two threads on one core gain nothing'
        : allowed < logical
          ? 'CPU affinity or quota'
          : 'the number of CPUs';
  return { default: threads, limitedBy: by, cpus: logical, allowed, cgroupQuota: quota ?? null };
}

/** The devices, or why there are none: the addon may be missing or broken. */
async function findDevices(): Promise<{ devices: DeviceInfo[]; problem: string | undefined }> {
  const { devices } = await import('../runtime/devices.js');
  try {
    return { devices: devices(), problem: undefined };
  } catch (error) {
    return { devices: [], problem: (error as Error).message };
  }
}

async function doctor(values: { readonly json?: boolean }): Promise<void> {
  const { kTiming, settle } = await import('../hub/settings.js');
  const { devices, problem } = await findDevices();
  const settings = await settle({}, kTiming).catch((error: Error) => error.message);
  const usable = devices.some((d) => d.usable);
  const report = {
    usable,
    node: process.version,
    nodeApi: process.versions.napi ?? '',
    platform: `${process.platform} ${process.arch}`,
    cpu: cpus()[0]?.model ?? 'unknown',
    addon: fileURLToPath(new URL('../../build/Release/verdant.node', import.meta.url)),
    problem: problem ?? null,
    devices,
    threads: threadReport(devices.find((d) => d.usable)?.threads ?? 0),
    memory: { totalBytes: totalmem(), freeBytes: freemem() },
    hub:
      typeof settings === 'string'
        ? { problem: settings }
        : {
            cacheDir: settings.cacheDir,
            cacheExists: existsSync(settings.cacheDir),
            endpoint: settings.endpoint,
            offline: settings.offline,
            token: settings.token !== undefined,
          },
  };
  await print(values.json === true ? `${JSON.stringify(report, undefined, 2)}\n` : readable(report));
  if (!usable) process.exitCode = 1;
}

interface Report {
  readonly usable: boolean;
  readonly node: string;
  readonly nodeApi: string;
  readonly platform: string;
  readonly cpu: string;
  readonly addon: string;
  readonly problem: string | null;
  readonly devices: readonly DeviceInfo[];
  readonly threads: ReturnType<typeof threadReport>;
  readonly memory: { readonly totalBytes: number; readonly freeBytes: number };
  readonly hub:
    | { readonly problem: string }
    | {
        readonly cacheDir: string;
        readonly cacheExists: boolean;
        readonly endpoint: string;
        readonly offline: boolean;
        readonly token: boolean;
      };
}

function readable(r: Report): string {
  const { threads: t, hub } = r;
  const devices = r.devices.map((d): [string, string] => [
    d.name,
    d.usable ? d.description : `absent: ${d.description}`,
  ]);
  const cache: [string, string][] =
    'problem' in hub
      ? [['hub', oneLine(hub.problem)]]
      : [
          ['hub cache', `${hub.cacheDir}${hub.cacheExists ? '' : ' (not there yet)'}`],
          [
            'hub',
            `${hub.endpoint}, ${hub.offline ? 'offline: nothing is downloaded' : 'online'}, ${hub.token ? 'with a token' : 'no token'}`,
          ],
        ];
  return table([
    ['node', `${r.node}, Node-API ${r.nodeApi}, ${r.platform}`],
    ['cpu', r.cpu],
    ['addon', r.problem === null ? r.addon : oneLine(r.problem)],
    ...devices,
    ['threads', `${t.default} by default, limited by ${t.limitedBy} (${t.cpus} CPUs, ${t.allowed} allowed)`],
    ['memory', `${bytes(r.memory.freeBytes)} free of ${bytes(r.memory.totalBytes)}`],
    ...cache,
    ['result', r.usable ? 'ready' : 'models cannot run here'],
  ]);
}
