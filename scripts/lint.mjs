// Biome over TypeScript and JSON, clang-format over C++. `--write` repairs what can be repaired.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '..');
const write = process.argv.includes('--write');

/** @param {string} program path inside node_modules @param {string[]} args */
function run(program, args) {
  const result = spawnSync(process.execPath, [join(root, 'node_modules', program), ...args], {
    cwd: root,
    stdio: 'inherit',
  });
  if (result.status !== 0) process.exitCode = 1;
}

run('@biomejs/biome/bin/biome', ['check', '--error-on-warnings', ...(write ? ['--write'] : []), '.']);

const folder = join(root, 'native');
const sources = (existsSync(folder) ? readdirSync(folder, { recursive: true, encoding: 'utf8' }) : [])
  .filter((name) => /\.(h|cc|cu|cuh)$/.test(name))
  .sort()
  .map((name) => join('native', name));
if (sources.length > 0) {
  run('clang-format-node/build/cli.js', [...(write ? ['-i'] : ['--dry-run', '-Werror']), ...sources]);
}
process.stdout.write(`clang-format: ${sources.length} files\n`);
