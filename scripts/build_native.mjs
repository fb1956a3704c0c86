// Builds the addon with node-gyp: in a clone, and in an installed package that has no binary for this platform.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = resolve(import.meta.dirname, '..');

/**
 * npm's own program file, or undefined where only a `npm` on the PATH is known.
 * @returns {string | undefined}
 */
export function npmProgram() {
  const bin = dirname(process.execPath);
  const running = process.env.npm_execpath;
  const candidates = [
    ...(running !== undefined && /npm-cli\.c?js$/.test(running) ? [running] : []),
    join(bin, '../lib/node_modules/npm/bin/npm-cli.js'),
    join(bin, 'node_modules/npm/bin/npm-cli.js'),
  ];
  return candidates.find((file) => existsSync(file));
}

/** @returns {string | undefined} node-gyp of this package, else the one inside npm. */
function nodeGypProgram() {
  try {
    return createRequire(import.meta.url).resolve('node-gyp/bin/node-gyp.js');
  } catch {
    const npm = npmProgram();
    const bundled = npm === undefined ? '' : join(dirname(npm), '../node_modules/node-gyp/bin/node-gyp.js');
    return existsSync(bundled) ? bundled : undefined;
  }
}

/**
 * Most Node installations carry their headers: use them when they are this version's, so that a build needs no network.
 * @returns {string[]}
 */
function headerOptions() {
  if (process.env.npm_config_nodedir !== undefined || process.platform === 'win32') return [];
  const prefix = resolve(dirname(process.execPath), '..');
  const versionFile = join(prefix, 'include/node/node_version.h');
  if (!existsSync(versionFile) || !existsSync(join(prefix, 'include/node/config.gypi'))) return [];
  const text = readFileSync(versionFile, 'utf8');
  const part = (/** @type {string} */ name) => new RegExp(`#define NODE_${name}_VERSION (\\d+)`).exec(text)?.[1];
  const found = `${part('MAJOR')}.${part('MINOR')}.${part('PATCH')}`;
  return found === process.versions.node ? [`--nodedir=${prefix}`] : [];
}

/**
 * First line of the C++ compiler's version, or undefined when there is none. Windows: node-gyp finds Visual Studio itself.
 * @returns {string | undefined}
 */
export function compilerVersion() {
  if (process.platform === 'win32') return 'msvc';
  const [command = '', ...args] = (process.env.CXX ?? (process.platform === 'darwin' ? 'c++' : 'g++')).split(/\s+/);
  const probe = spawnSync(command, [...args, '--version'], { encoding: 'utf8' });
  return probe.status === 0 ? (probe.stdout.split('\n')[0] ?? '') : undefined;
}

/** @returns {string[]} What the machine lacks to build the addon, with how to get it. */
function missingTools() {
  /** @param {string} command */
  const runs = (command) => spawnSync(command, ['--version'], { stdio: 'ignore' }).status === 0;
  const missing = [];
  if (compilerVersion() === undefined) {
    const named = process.env.CXX === undefined ? '' : ` (CXX is ${process.env.CXX})`;
    missing.push(`a C++20 compiler${named}: Debian/Ubuntu "apt install g++ make", macOS "xcode-select --install"`);
  } else if (process.platform !== 'win32' && !runs('make')) {
    missing.push('make: Debian/Ubuntu "apt install make", macOS "xcode-select --install"');
  }
  if (process.platform !== 'win32' && !runs(process.env.npm_config_python ?? process.env.PYTHON ?? 'python3')) {
    missing.push('Python 3: Debian/Ubuntu "apt install python3", macOS "brew install python"');
  }
  return missing;
}

/**
 * Builds build/Release/verdant.node and verdant_ceilings.node. The log of a failed build goes to stderr.
 * @returns {string | undefined} the reason of a failure
 */
export function buildNative() {
  const missing = missingTools();
  if (missing.length > 0) return `the addon cannot be built; please install\n  ${missing.join('\n  ')}`;
  const nodeGyp = nodeGypProgram();
  if (nodeGyp === undefined) return 'the addon cannot be built: node-gyp was not found; run "npm install node-gyp"';
  const args = [nodeGyp, 'configure', 'build', '--release', '--loglevel=warn', ...headerOptions()];
  const env = { ...process.env, JOBS: process.env.JOBS ?? '2', MAKEFLAGS: '' };
  const build = spawnSync(process.execPath, args, { cwd: root, env, encoding: 'utf8', maxBuffer: 1 << 28 });
  if (build.status === 0) return undefined;
  const log = `${build.stdout}${build.stderr}`
    .split('\n')
    .filter((line) => !/^(make| {2}(CXX|AR|COPY|SOLINK_MODULE|TOUCH)\()|^\s*$/.test(line));
  process.stderr.write(`${log.join('\n')}\n`);
  return `building the addon failed (${build.error?.message ?? `exit ${build.status}`}); the compiler is ${compilerVersion()}`;
}

if (process.argv[1] !== undefined && resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const problem = buildNative();
  if (problem !== undefined) {
    process.stderr.write(`verdant: ${problem}\n`);
    process.exitCode = 1;
  }
}
