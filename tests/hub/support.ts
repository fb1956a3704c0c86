/** Folders, quick timing and child processes for the tests of the hub. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import type { Timing } from '../../lib/hub/settings.js';
import { gitSha1, noise, sha256 } from './fake_hub.js';

export const kQuick: Timing = { retries: 4, backoffMs: 4, stallMs: 10_000, lockMs: 15_000 };

const folders: string[] = [];

export async function tempFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'verdant-hub-'));
  folders.push(folder);
  return folder;
}

export async function removeFolders(): Promise<void> {
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true, force: true });
}

/** A small model; `bytes` is the size of its weights. */
export function modelFiles(bytes: number): Record<string, Buffer | string> {
  return {
    '.gitattributes': '*.safetensors filter=lfs',
    'README.md': '# A model',
    'config.json': '{"model_type":"llama"}',
    'generation_config.json': '{}',
    'tokenizer.json': noise(5000, 2),
    'tokenizer_config.json': '{"a":1}',
    'model.safetensors': noise(bytes, 1),
    'onnx/model.onnx': noise(3000, 3),
    'pytorch_model.bin': noise(4000, 4),
  };
}

/** Every blob with its final name has the content that the name states. Returns the names, sorted. */
export async function checkBlobs(folder: string): Promise<string[]> {
  const names = await readdir(join(folder, 'blobs')).catch(() => []);
  const blobs = names.filter((name) => !name.endsWith('.incomplete')).sort();
  for (const name of blobs) {
    const content = await readFile(join(folder, 'blobs', name));
    const found = name.length === 64 ? sha256(content) : gitSha1(content);
    if (found !== name) throw new Error(`blob ${name} has hash ${found}`);
  }
  return blobs;
}

/** Compiles lib/hub for a child process that has no TypeScript; returns the script to start. */
export async function compileChild(): Promise<{ script: string; remove: () => Promise<void> }> {
  const { default: ts } = await import('typescript');
  const root = resolve(import.meta.dirname, '../..');
  const out = join(root, 'node_modules', '.cache', `hub-test-${process.pid}`);
  const names = ['errors.ts', ...(await readdir(join(root, 'lib/hub'))).map((name) => join('hub', name))];
  const compilerOptions = { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2023 };
  for (const name of names) {
    const source = await readFile(join(root, 'lib', name), 'utf8');
    const place = join(out, name.replace(/\.ts$/, '.js'));
    await mkdir(dirname(place), { recursive: true });
    await writeFile(place, ts.transpileModule(source, { compilerOptions }).outputText);
  }
  await writeFile(join(out, 'package.json'), '{"type":"module"}');
  const script = join(out, 'child.js');
  await writeFile(
    script,
    `import { pullWith } from './hub/pull.js';
const [id, options, timing] = JSON.parse(process.argv[2]);
const answer = await pullWith(id, options, timing).catch(({ name, message, code }) => ({ name, message, code }));
process.stdout.write(JSON.stringify(answer));`,
  );
  return { script, remove: () => rm(out, { recursive: true, force: true }) };
}

export interface Child {
  readonly process: ChildProcess;
  /** Standard output as JSON; undefined when the process was killed. */
  readonly answer: Promise<Record<string, unknown> | undefined>;
  /** Everything that it printed apart from the answer. */
  readonly noise: () => string;
}

/** Starts a pull in a process of its own; `limit` is a file size limit for `ulimit -f`. */
export function startChild(script: string, args: unknown, limit?: number): Child {
  const words = [process.execPath, script, JSON.stringify(args)];
  const child =
    limit === undefined
      ? spawn(words[0]!, words.slice(1))
      : spawn('sh', ['-c', `ulimit -f ${limit}; exec "$@"`, 'sh', ...words]);
  let [out, err] = ['', ''];
  child.stdout!.on('data', (data) => {
    out += data;
  });
  child.stderr!.on('data', (data) => {
    err += data;
  });
  const answer = new Promise<Record<string, unknown> | undefined>((done) => {
    child.on('close', () => done(out === '' ? undefined : (JSON.parse(out) as Record<string, unknown>)));
  });
  return { process: child, answer, noise: () => err };
}
