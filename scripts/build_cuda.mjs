// Builds build/cuda/Release/verdant_cuda.so from native/cuda with CMake, through cmake-js. Needs nvcc 12.4 or newer; with
// --out FOLDER it goes there instead, and -DNAME=VALUE goes to CMake.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { root } from './build_native.mjs';

const oldest = [12, 4];
const source = join(root, 'native/cuda');

/** nvcc where CMake would look for it, and where NVIDIA's packages put it. @returns {{ path: string, version: string } | undefined} */
function findNvcc() {
  const { CUDACXX, CUDA_PATH } = process.env;
  const file = process.platform === 'win32' ? 'nvcc.exe' : 'nvcc';
  const inPath = CUDA_PATH === undefined ? [] : [join(CUDA_PATH, 'bin', file)];
  const candidates = CUDACXX !== undefined ? [CUDACXX] : ['nvcc', ...inPath, '/usr/local/cuda/bin/nvcc'];
  for (const path of candidates) {
    const probe = spawnSync(path, ['--version'], { encoding: 'utf8' });
    const version = /release (\d+\.\d+)/.exec(probe.stdout ?? '')?.[1];
    if (probe.status === 0 && version !== undefined) return { path, version };
  }
  return undefined;
}

/** @param {ReturnType<typeof findNvcc>} nvcc @returns {string | undefined} what the machine lacks */
function missingTools(nvcc) {
  if (nvcc === undefined) return 'nvcc was not found: install the CUDA toolkit 12.4 or newer, or name it by CUDACXX';
  const [major = 0, minor = 0] = nvcc.version.split('.').map(Number);
  const [oldMajor = 0, oldMinor = 0] = oldest;
  if (major < oldMajor || (major === oldMajor && minor < oldMinor))
    return `${nvcc.path} is version ${nvcc.version}; ${oldest.join('.')} or newer is needed`;
  if (spawnSync('cmake', ['--version'], { stdio: 'ignore' }).status !== 0)
    return 'cmake was not found: Debian/Ubuntu "apt install cmake"';
  return undefined;
}

/** The build system of an earlier build of this folder; a folder that was made from other sources is emptied. @param {string} out */
function earlierGenerator(out) {
  const cache = join(out, 'CMakeCache.txt');
  if (!existsSync(cache)) return undefined;
  const text = readFileSync(cache, 'utf8');
  if (
    /^CMAKE_HOME_DIRECTORY:INTERNAL=(.*)$/m.exec(text)?.[1] === source &&
    text.includes(`# For build in directory: ${out}\n`)
  )
    return /^CMAKE_GENERATOR:INTERNAL=(.*)$/m.exec(text)?.[1];
  rmSync(out, { recursive: true, force: true });
  return undefined;
}

function loadCmakeJs() {
  try {
    return createRequire(import.meta.url)('cmake-js');
  } catch {
    return undefined;
  }
}

/** @param {{ out?: string, define?: Record<string, string> }} [options] @returns {Promise<string | undefined>} the reason of a failure */
async function buildCuda({ out = join(root, 'build/cuda'), define = {} } = {}) {
  const nvcc = findNvcc();
  const missing = missingTools(nvcc);
  if (nvcc === undefined || missing !== undefined) return missing;
  const cmakeJs = loadCmakeJs();
  if (cmakeJs === undefined) return 'cmake-js was not found: run "npm install cmake-js"';
  const cmake = new cmakeJs.CMake({
    directory: source,
    out,
    config: 'Release',
    generator: earlierGenerator(out),
    parallel: process.env.JOBS,
    isNodeApi: true, // nothing of Node is needed: no headers are downloaded
    cMakeOptions: { ...(nvcc.path === 'nvcc' ? {} : { CMAKE_CUDA_COMPILER: nvcc.path }), ...define },
  });
  try {
    await cmake.configure();
    await cmake.build();
    return undefined;
  } catch {
    return 'cmake failed; the log is above';
  }
}

if (process.argv[1] !== undefined && resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const args = process.argv.slice(2);
  const at = args.indexOf('--out');
  const out = at < 0 ? undefined : resolve(args[at + 1] ?? '');
  const define = Object.fromEntries(
    args.flatMap((arg) => {
      const [, name, value] = /^-D([^=]+)=(.*)$/.exec(arg) ?? [];
      return name === undefined || value === undefined ? [] : [[name, value]];
    }),
  );
  const problem = await buildCuda({ ...(out === undefined ? {} : { out }), define });
  if (problem !== undefined) {
    process.stderr.write(`verdant: the CUDA library cannot be built: ${problem}\n`);
    process.exitCode = 1;
  }
}
