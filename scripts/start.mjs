// npm start: a story from the built-in model; npm start -- "prompt" [options of `verdant run`]: its continuation.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const given = process.argv.slice(2);
const story = given[0]?.startsWith('-') === false ? [] : ['Once upon a time', '--echo'];
const args = ['dist/cli/main.js', 'run', 'models/verdant-tiny', ...story, ...given];
const { status, signal } = spawnSync(process.execPath, args, { cwd: root, stdio: 'inherit' });
process.exitCode = status ?? (signal === 'SIGINT' ? 130 : 1);
