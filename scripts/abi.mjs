// A number that differs where the headers differ that the addon and its device libraries share (native/core/*.h): eight
// hexadecimal digits, as native/cuda/CMakeLists.txt computes them.
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

/** @param {string | Buffer} data */
const sha256 = (data) => createHash('sha256').update(data).digest('hex');

const folder = join(import.meta.dirname, '../native/core');
const headers = readdirSync(folder)
  .filter((name) => name.endsWith('.h'))
  .sort();
export const abi = sha256(headers.map((name) => sha256(readFileSync(join(folder, name)))).join('')).slice(0, 8);

if (process.argv[1] !== undefined && resolve(process.argv[1]) === fileURLToPath(import.meta.url))
  process.stdout.write(abi);
