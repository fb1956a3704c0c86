// Packs the package as npm would publish it and checks the tarball: contents, publint, types for ESM consumers.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { npmProgram } from './build_native.mjs';

const root = resolve(import.meta.dirname, '..');
const limit = 16 * 2 ** 20;

/** @param {string} program @param {string[]} args */
function node(program, args) {
  return spawnSync(process.execPath, [program, ...args], { cwd: root, encoding: 'utf8', maxBuffer: 1 << 26 });
}

/** @param {{ size: number, unpackedSize: number, files: { path: string }[] }} pack @returns {string[]} */
function checkContents(pack) {
  const { exports, bin } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  /** @type {string[]} */
  const targets = Object.values(exports).flatMap((entry) =>
    typeof entry === 'string' ? [entry] : Object.values(entry),
  );
  const needed = [...targets, ...Object.values(bin), 'binding.gyp', 'README.md', 'LICENSE'];
  const names = new Set(pack.files.map((file) => file.path));
  const problems = needed
    .map((path) => path.replace(/^\.\//, ''))
    .filter((path) => !names.has(path))
    .map((path) => `${path} is missing`);
  for (const name of names)
    if (/\.(node|log|pyc)$|(^|\/)\.stamp$|^tests\//.test(name)) problems.push(`${name} does not belong`);
  if (pack.unpackedSize > limit) problems.push(`${pack.unpackedSize} bytes unpacked; expected at most ${limit}`);
  return problems;
}

const folder = mkdtempSync(join(tmpdir(), 'verdant-pack-'));
try {
  const npm = npmProgram();
  if (npm === undefined) throw new Error('npm was not found');
  const packed = node(npm, ['pack', '--json', '--ignore-scripts', '--loglevel=error', '--pack-destination', folder]);
  if (packed.status !== 0) throw new Error(`npm pack failed\n${packed.stderr}`);
  const [pack] = JSON.parse(packed.stdout);
  const tarball = join(folder, pack.filename);
  const problems = checkContents(pack);
  for (const [name, program, args] of [
    ['publint', 'publint/src/cli.js', [tarball, '--strict']],
    ['attw', '@arethetypeswrong/cli/dist/index.js', [tarball, '--profile', 'esm-only', '--no-color', '--no-emoji']],
  ]) {
    const result = node(join(root, 'node_modules', String(program)), /** @type {string[]} */ (args));
    if (result.status !== 0) problems.push(`${name}:\n${result.stdout}${result.stderr}`);
  }
  for (const problem of problems) process.stderr.write(`package: ${problem}\n`);
  const size = `${(pack.size / 1024).toFixed(0)} KiB packed, ${pack.files.length} files`;
  process.stdout.write(
    problems.length === 0 ? `package: ok, ${size}\n` : `package: ${problems.length} problems, ${size}\n`,
  );
  if (problems.length > 0) process.exitCode = 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
