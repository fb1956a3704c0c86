// Makes a clone ready to run: dependencies, addon, JavaScript. Each stage does nothing when its inputs are unchanged.
// Usage: node scripts/prepare.mjs [native | ts]; no argument means everything. Speaks on stderr only.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { buildNative, compilerVersion, npmProgram, root } from './build_native.mjs';

const addons = ['verdant', 'verdant_ceilings'].map((name) => join(root, `build/Release/${name}.node`));

/** @param {string} message @returns {never} */
function fail(message) {
  process.stderr.write(`verdant: ${message}\n`);
  process.exit(1);
}

/**
 * Runs one stage and prints its name and seconds.
 * @param {string} name @param {() => string | undefined} work returns the reason of a failure
 */
function stage(name, work) {
  const start = performance.now();
  const problem = work();
  if (problem !== undefined) fail(problem);
  process.stderr.write(`verdant: ${name} ${((performance.now() - start) / 1000).toFixed(1)} s\n`);
}

/**
 * Hash over words and over the files (names and bytes) of the paths, folders included.
 * @param {string[]} words @param {string[]} paths relative to the root @param {(path: string) => boolean} [take]
 */
function fingerprint(words, paths, take = () => true) {
  const hash = createHash('sha256').update(words.join('\0'));
  /** @param {string} path */
  const add = (path) => {
    const full = join(root, path);
    if (!existsSync(full)) hash.update(`\0absent ${path}`);
    else if (lstatSync(full).isDirectory()) for (const name of readdirSync(full).sort()) add(`${path}/${name}`);
    else if (take(path)) hash.update(`\0${path}\0`).update(readFileSync(full));
  };
  for (const path of paths) add(path);
  return hash.digest('hex');
}

/** @param {string} file @param {string} print */
const stamped = (file, print) => existsSync(file) && readFileSync(file, 'utf8') === print;

/** @param {string} file @returns {Record<string, { version?: string, optional?: boolean, devOptional?: boolean, peer?: boolean }>} */
const lockedPackages = (file) => JSON.parse(readFileSync(file, 'utf8')).packages;

/** npm writes what it installed into node_modules/.package-lock.json, last of all: compare that with the lockfile. */
function dependenciesReady() {
  const hidden = join(root, 'node_modules/.package-lock.json');
  if (!existsSync(hidden)) return false;
  const installed = lockedPackages(hidden);
  return Object.entries(lockedPackages(join(root, 'package-lock.json'))).every(([path, wanted]) => {
    if (path === '' || wanted.optional || wanted.devOptional || wanted.peer) return true;
    return installed[path]?.version === wanted.version;
  });
}

function installDependencies() {
  const npm = npmProgram();
  // No dependency needs its install script.
  const args = ['ci', '--ignore-scripts', '--include=dev', '--no-audit', '--no-fund', '--loglevel=error'];
  const options = { cwd: root, encoding: /** @type {const} */ ('utf8') };
  const result =
    npm === undefined
      ? spawnSync('npm', args, { ...options, shell: process.platform === 'win32' })
      : spawnSync(process.execPath, [npm, ...args], options);
  if (result.status === 0) return undefined;
  process.stderr.write(`${result.stdout}${result.stderr}`);
  return `"npm ci" failed (${result.error?.message ?? `exit ${result.status}`}); it needs the npm registry or a filled cache`;
}

/** Everything that decides the addon's bytes. */
function nativeFingerprint() {
  const wrapper = JSON.parse(readFileSync(join(root, 'node_modules/node-addon-api/package.json'), 'utf8')).version;
  const flags = ['CXX', 'CXXFLAGS', 'CPPFLAGS', 'LDFLAGS'].map((name) => `${name}=${process.env[name] ?? ''}`);
  const words = [process.version, process.platform, process.arch, compilerVersion() ?? '', wrapper, ...flags];
  return fingerprint(
    words,
    ['binding.gyp', 'native'],
    (path) => !path.startsWith('native/cuda/') && !path.endsWith('.md'),
  );
}

/** Compiles into a fresh folder, then swaps: a failed compile leaves the last good one, and no stale file stays. */
function compileTypeScript() {
  const next = join(root, '.dist-next');
  rmSync(next, { recursive: true, force: true });
  const tsc = join(root, 'node_modules/typescript/lib/tsc.js');
  const args = [tsc, '-p', 'tsconfig.build.json', '--outDir', next, '--pretty', String(process.stderr.isTTY === true)];
  const result = spawnSync(process.execPath, args, { cwd: root, encoding: 'utf8' });
  if (result.status !== 0) {
    rmSync(next, { recursive: true, force: true });
    process.stderr.write(`${result.stdout}${result.stderr}`);
    return 'TypeScript did not compile';
  }
  const main = join(next, 'cli/main.js');
  if (existsSync(main)) chmodSync(main, 0o755);
  rmSync(join(root, 'dist'), { recursive: true, force: true });
  renameSync(next, join(root, 'dist'));
  return undefined;
}

/** `npx verdant` in a clone: npm links the commands of dependencies only, so link our own. Windows: `npm link` does it. */
function linkCommand() {
  const link = join(root, 'node_modules/.bin/verdant');
  if (process.platform === 'win32' || lstatSync(link, { throwIfNoEntry: false }) !== undefined) return;
  mkdirSync(join(root, 'node_modules/.bin'), { recursive: true });
  symlinkSync('../../dist/cli/main.js', link);
}

/** Two builds at once would spoil each other's files: the second waits. A lock whose process is gone is void. */
function lockBuild() {
  const lock = join(root, '.prepare.lock');
  for (let told = false; ; ) {
    try {
      writeFileSync(lock, String(process.pid), { flag: 'wx' });
      process.on('exit', () => rmSync(lock, { force: true }));
      return;
    } catch (error) {
      if (/** @type {NodeJS.ErrnoException} */ (error).code !== 'EEXIST') throw error;
    }
    const holder = lockHolder(lock);
    if (holder === undefined) {
      rmSync(lock, { force: true });
      continue;
    }
    if (!told) process.stderr.write(`verdant: waiting for the build of process ${holder}\n`);
    told = true;
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100);
  }
}

/** @param {string} lock @returns {number | undefined} the living process that holds the lock */
function lockHolder(lock) {
  try {
    const holder = Number(readFileSync(lock, 'utf8'));
    // The holder writes its id right after it makes the file: an empty lock is a fresh one.
    if (holder === 0) return Date.now() - lstatSync(lock).mtimeMs < 1000 ? process.pid : undefined;
    process.kill(holder, 0);
    return holder;
  } catch (error) {
    return /** @type {NodeJS.ErrnoException} */ (error).code === 'EPERM' ? -1 : undefined;
  }
}

const only = process.argv[2];
if (only !== undefined && only !== 'native' && only !== 'ts') fail(`unknown stage "${only}"; expected native or ts`);
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 19)) fail(`Node.js 20.19 or newer is needed; this is ${process.version}`);

lockBuild();
if (!dependenciesReady()) stage('dependencies', installDependencies);

if (only !== 'ts') {
  const stamp = join(root, 'build/.stamp');
  const print = nativeFingerprint();
  if (!addons.every((file) => existsSync(file)) || !stamped(stamp, print)) {
    rmSync(stamp, { force: true });
    stage('addon', buildNative);
    writeFileSync(stamp, print);
  }
}

if (only !== 'native') {
  const stamp = join(root, 'dist/.stamp');
  const print = fingerprint([], ['package-lock.json', 'tsconfig.json', 'tsconfig.build.json', 'lib']);
  if (!stamped(stamp, print)) {
    stage('typescript', compileTypeScript);
    writeFileSync(stamp, print);
  }
  linkCommand();
}
