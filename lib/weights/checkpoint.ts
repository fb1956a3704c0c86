/** Opening a checkpoint: a folder of safetensors or pytorch_model.bin, one such file beside its config.json, or a .gguf file. */
import { readdir, realpath, stat } from 'node:fs/promises';
import { basename, dirname, join, relative, sep } from 'node:path';
import { ConfigError, CorruptFileError, type ErrorFacts, ModelNotFoundError, UnsupportedError } from '../errors.js';
import { impostor, Pacer, readExactly, readJsonFile, withFile } from './files.js';
import { type GgufFile, readGguf } from './gguf.js';
import { translateGguf } from './gguf_config.js';
import { JsonScanner } from './json.js';
import { readSafetensors } from './safetensors.js';
import { readTorchFile } from './torch_file.js';
import type { Checkpoint, FileIdentity, TensorEntry } from './types.js';

const kMaxConfig = 1 << 20;
const kMaxIndex = 32 << 20;
const kMaxShards = 4096;

/** A format of weights beside a config.json: one file, or several that an index lists. */
interface Format {
  readonly kind: 'safetensors' | 'pytorch';
  readonly single: string;
  readonly index: string;
  readonly extension: '.safetensors' | '.bin';
  read(file: string): Promise<{ readonly identity: FileIdentity; readonly tensors: ReadonlyMap<string, TensorEntry> }>;
}

/** The first one that is there is taken. */
const kFormats: readonly [Format, Format] = [
  {
    kind: 'safetensors',
    single: 'model.safetensors',
    index: 'model.safetensors.index.json',
    extension: '.safetensors',
    read: readSafetensors,
  },
  {
    kind: 'pytorch',
    single: 'pytorch_model.bin',
    index: 'pytorch_model.bin.index.json',
    extension: '.bin',
    read: readTorchFile,
  },
];

function configError(message: string, facts: ErrorFacts): ConfigError {
  return new ConfigError(message, facts);
}

function corrupt(message: string, facts: ErrorFacts): CorruptFileError {
  return new CorruptFileError(message, facts);
}

/**
 * Opens a checkpoint and checks all of its headers; no tensor is read, but for those of pytorch_model.bin that are not in
 * row-major order. `path` is a folder with model.safetensors or model.safetensors.index.json, else a single .gguf, else
 * pytorch_model.bin or its index; or a .safetensors or .bin file beside its config.json, or a .gguf file.
 * Throws `ModelNotFoundError`, `CorruptFileError`, `ConfigError`, `UnsupportedError`.
 */
export async function openCheckpoint(path: string): Promise<Checkpoint> {
  if (path === '' || path.includes('\0')) {
    throw new ModelNotFoundError('not a path', { name: 'path', expected: 'a file or folder', found: path });
  }
  const info = await stat(path).catch((cause: unknown) => {
    const found = (cause as { code?: string }).code;
    throw new ModelNotFoundError('no such file or folder', { file: path, found, cause });
  });
  if (info.isDirectory()) return openFolder(path);
  if (path.endsWith('.gguf')) return openGguf(path, path);
  const format = kFormats.find(({ extension }) => path.endsWith(extension));
  if (format !== undefined) {
    if (/-\d{5}-of-\d{5}\.\w+$/.test(path)) {
      throw new UnsupportedError('this is one shard of several', { file: path, hint: 'Give the folder instead' });
    }
    return openFiles(path, dirname(path), format, [basename(path)]);
  }
  const expected = 'a folder, a .safetensors, .bin or .gguf file';
  throw new UnsupportedError('unknown kind of model file', { file: path, expected, found: basename(path) });
}

/** Opens a format that the folder has; undefined: it has not. */
function openIfThere(folder: string, names: readonly string[], format: Format): Promise<Checkpoint> | undefined {
  if (names.includes(format.single)) return openFiles(folder, folder, format, [format.single]);
  return names.includes(format.index) ? openFiles(folder, folder, format, undefined) : undefined;
}

async function openFolder(folder: string): Promise<Checkpoint> {
  const names = await readdir(folder);
  const [safetensors, pytorch] = kFormats;
  const found = openIfThere(folder, names, safetensors);
  if (found !== undefined) return found;
  const ggufs = names.filter((name) => name.endsWith('.gguf'));
  if (ggufs.length === 1) return openGguf(folder, join(folder, ggufs[0] as string));
  if (ggufs.length > 1) {
    throw new ModelNotFoundError('several .gguf files', {
      file: folder,
      found: ggufs.slice(0, 8),
      hint: 'Name one of them',
    });
  }
  const pickled = openIfThere(folder, names, pytorch);
  if (pickled !== undefined) return pickled;
  throw new ModelNotFoundError('no weights in the folder', {
    file: folder,
    expected: `${safetensors.single}, its index, a .gguf file, ${pytorch.single} or its index`,
    ...(names.some((name) => /\.(?:bin|pt|pth|ckpt)$/.test(name)) && {
      hint: 'Other pickles: name the .bin file itself',
    }),
  });
}

/** `names` are the files to read; undefined means that the index lists them. */
async function openFiles(
  path: string,
  folder: string,
  format: Format,
  names: readonly string[] | undefined,
): Promise<Checkpoint> {
  const configFile = join(folder, 'config.json');
  const config = await readJsonFile(configFile, kMaxConfig, configError);
  if (config === undefined) {
    throw new ConfigError('config.json is missing', { file: configFile, hint: 'It must lie beside the weights' });
  }
  const generationConfig = await readJsonFile(join(folder, 'generation_config.json'), kMaxConfig, configError);
  const read = names === undefined ? await readShards(folder, format) : await readFiles(folder, format, names);
  return { kind: format.kind, path, config, generationConfig, ...read, absorbed: new Set(), folder, configFile };
}

interface Tensors {
  readonly tensors: ReadonlyMap<string, TensorEntry>;
  readonly files: readonly FileIdentity[];
}

async function readFiles(folder: string, format: Format, names: readonly string[]): Promise<Tensors> {
  const tensors = new Map<string, TensorEntry>();
  const files: FileIdentity[] = [];
  for (const name of names) {
    const shard = await format.read(join(folder, name));
    files.push(shard.identity);
    for (const [key, entry] of shard.tensors) {
      const other = tensors.get(key);
      if (other !== undefined) {
        throw new CorruptFileError(`the tensor is also in ${basename(other.file)}`, { file: entry.file, tensor: key });
      }
      tensors.set(key, entry);
    }
  }
  return { tensors, files };
}

/** The index's map of tensor name to shard file. */
async function readIndex(file: string, extension: Format['extension']): Promise<Map<string, string>> {
  return withFile(file, async (open) => {
    const { size } = open.identity;
    if (size > kMaxIndex)
      throw corrupt('file too large', { file, expected: `at most ${kMaxIndex} bytes`, found: size });
    const bytes = await readExactly(open, 0, size);
    const what = impostor(bytes.subarray(0, 256));
    if (what !== undefined) throw corrupt(what, { file });
    const scanner = new JsonScanner(bytes, file, corrupt);
    const pacer = new Pacer();
    let map: Map<string, string> | undefined;
    const seen = new Set<string>();
    scanner.expect(0x7b);
    do {
      const key = scanner.key();
      if (seen.has(key)) scanner.fail(`the key ${JSON.stringify(key)} occurs twice`);
      seen.add(key);
      if (key === 'weight_map') map = await readWeightMap(scanner, pacer, extension);
      else scanner.value();
    } while (scanner.more(0x7d));
    scanner.end();
    return map ?? scanner.fail('the index has no weight_map');
  });
}

async function readWeightMap(
  scanner: JsonScanner,
  pacer: Pacer,
  extension: Format['extension'],
): Promise<Map<string, string>> {
  const map = new Map<string, string>();
  scanner.expect(0x7b);
  do {
    const tensor = scanner.key();
    if (map.has(tensor)) scanner.fail('the tensor occurs twice in weight_map', { tensor });
    const name = scanner.string();
    if (!/^[^/\\:\0]{1,251}$/.test(name) || name.startsWith('.') || !name.endsWith(extension)) {
      scanner.fail('bad file name in weight_map', {
        tensor,
        expected: `the plain name of a ${extension} file`,
        found: name,
      });
    }
    map.set(tensor, name);
    if (pacer.due()) await pacer.pause();
  } while (scanner.more(0x7d));
  return map;
}

async function readShards(folder: string, format: Format): Promise<Tensors> {
  const index = join(folder, format.index);
  const map = await readIndex(index, format.extension);
  const names = [...new Set(map.values())].sort();
  if (names.length > kMaxShards) {
    throw corrupt('too many shards', { file: index, expected: `at most ${kMaxShards}`, found: names.length });
  }
  for (const name of names) await checkInside(folder, name, index);
  const read = await readFiles(folder, format, names);
  for (const [tensor, name] of map) {
    const entry = read.tensors.get(tensor);
    if (entry === undefined) throw corrupt(`the index puts it in ${name}, which lacks it`, { file: index, tensor });
    if (basename(entry.file) !== name) {
      throw corrupt(`the index puts it in ${name}, it is in ${basename(entry.file)}`, { file: index, tensor });
    }
  }
  for (const [tensor, entry] of read.tensors) {
    if (!map.has(tensor)) throw corrupt(`not listed in ${format.index}`, { file: entry.file, tensor });
  }
  return read;
}

/** A shard is a regular file of the folder; a link may lead elsewhere only in the hub cache's own layout. */
async function checkInside(folder: string, name: string, index: string): Promise<void> {
  const root = await realpath(folder);
  const file = await realpath(join(root, name)).catch((cause: unknown) => {
    throw new ModelNotFoundError('a shard that the index names is missing', {
      file: join(folder, name),
      expected: index,
      cause,
    });
  });
  const roots = [root];
  if (basename(dirname(root)) === 'snapshots') roots.push(join(root, '..', '..', 'blobs'));
  const inside = roots.some((top) => {
    const way = relative(top, file);
    return way !== '' && way !== '..' && !way.startsWith(`..${sep}`) && way !== file;
  });
  if (!inside)
    throw corrupt('a shard leads out of the model folder', { file: join(folder, name), expected: root, found: file });
}

async function openGguf(path: string, file: string): Promise<Checkpoint> {
  const gguf: GgufFile = await readGguf(file);
  const { config, generationConfig, absorbed } = await translateGguf(gguf);
  const { tensors, identity } = gguf;
  const folder = dirname(file);
  const common = { path, config, generationConfig, tensors, absorbed, gguf, folder, configFile: file };
  return { kind: 'gguf', ...common, files: [identity] };
}
