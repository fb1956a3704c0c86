// What the child processes share: the built package, and a line of JSON as result.
import { existsSync } from 'node:fs';

const entry = new URL('../../../dist/index.js', import.meta.url);
if (!existsSync(entry)) throw new Error('dist is missing: run npm run build');
/** @type {typeof import('../../../lib/index.js')} */
export const verdant = await import(entry.href);

/** @param {unknown} result */
export function report(result) {
  process.stdout.write(`\nRESULT ${JSON.stringify(result)}\n`);
}

/** @param {number} ms */
export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
