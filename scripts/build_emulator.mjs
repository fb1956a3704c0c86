// Builds build/emulator/verdant_cuda.so: the sources of native/cuda as C++ for the CPU, for tests without a GPU. Only
// what changed is compiled. Speaks on stderr only. Linux with GCC or Clang.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { abi } from './abi.mjs';
import { root } from './build_native.mjs';

const out = join(root, 'build/emulator');
export const emulatorLibrary = join(out, 'verdant_cuda.so');
const compiler = process.env.CXX ?? 'g++';
const flags = [
  `-DVERDANT_ABI=0x${abi}`,
  '-x',
  'c++',
  '-std=c++20',
  '-O2',
  '-fPIC',
  '-pthread',
  '-ffp-contract=off',
  '-fvisibility=hidden',
  '-ftls-model=initial-exec',
];
// A GPU faults where a load or store of several numbers lies askew: so do the kernels here.
const aligned = ['-fsanitize=alignment', '-fsanitize-undefined-trap-on-error'];
const warnings = ['-Wall', '-Wextra', '-Werror', '-Wno-unknown-pragmas'];

/** @param {string} folder @param {RegExp} names */
const sources = (folder, names) =>
  readdirSync(join(root, folder))
    .filter((name) => names.test(name))
    .map((name) => join(root, folder, name));

/** @param {string} source */
const objectOf = (source) => join(out, `${source.slice(join(root, 'native/').length).replaceAll('/', '_')}.o`);

/** Whether an object is newer than all that it was made from. @param {string} object */
function fresh(object) {
  const list = object.replace(/\.o$/, '.d');
  if (!existsSync(object) || !existsSync(list)) return false;
  const made = statSync(object).mtimeMs;
  const files = readFileSync(list, 'utf8').replaceAll('\\\n', ' ').split(/\s+/).slice(1);
  return files.filter((f) => f !== '').every((f) => existsSync(f) && statSync(f).mtimeMs < made);
}

/** @param {string} source @returns {Promise<string | undefined>} the compiler's words where it failed */
function compile(source) {
  const object = objectOf(source);
  const include = ['-I', join(root, 'native/cuda/emulator'), '-I', join(root, 'native')];
  const own = source.endsWith('.cu') ? aligned : [];
  const args = [...flags, ...own, ...warnings, ...include, '-MMD', '-c', source, '-o', object];
  return new Promise((done) => {
    const child = spawn(compiler, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    let text = '';
    child.stderr.on('data', (/** @type {Buffer} */ data) => {
      text += data.toString();
    });
    child.on('error', (error) => done(error.message));
    child.on('close', (code) => done(code === 0 ? undefined : text));
  });
}

/** @returns {Promise<string | undefined>} the reason of a failure */
export async function buildEmulator() {
  mkdirSync(out, { recursive: true });
  const all = [
    ...sources('native/cuda', /\.(cu|cc)$/),
    ...sources('native/cuda/emulator', /\.cc$/),
    ...sources('native/core', /\.cc$/),
  ];
  const stamp = join(out, 'abi'); // the number is in one object, whose own headers are not all that it is made of
  const numbered = objectOf(join(root, 'native/cuda/library.cc'));
  if (!existsSync(stamp) || readFileSync(stamp, 'utf8') !== abi) rmSync(numbered, { force: true });
  writeFileSync(stamp, abi);
  const stale = all.filter((source) => !fresh(objectOf(source)));
  const objects = all.map(objectOf);
  if (stale.length === 0 && existsSync(emulatorLibrary)) return undefined;
  /** @type {string[]} */
  const problems = [];
  const work = async () => {
    for (let next = stale.pop(); next !== undefined; next = stale.pop()) {
      const problem = await compile(next);
      if (problem !== undefined) problems.push(problem);
    }
  };
  await Promise.all(Array.from({ length: Number(process.env.JOBS ?? 2) }, work));
  if (problems.length > 0) return problems.join('\n');
  const args = ['-shared', '-pthread', '-o', emulatorLibrary, ...objects];
  const link = spawnSync(compiler, args, { encoding: 'utf8' });
  return link.status === 0 ? undefined : link.stderr;
}

if (process.argv[1] !== undefined && resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const problem = await buildEmulator();
  if (problem !== undefined) {
    process.stderr.write(`${problem}\nverdant: building the emulated CUDA device failed\n`);
    process.exitCode = 1;
  }
}
