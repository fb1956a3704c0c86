/** Which files of a repository a model needs. The same rule reads the listing of the hub and a cached snapshot. */
import { HubError, OptionError, UnsupportedError } from '../errors.js';
import { isSafePath } from './names.js';

export const kIndex = 'model.safetensors.index.json';
export const kSingle = 'model.safetensors';
const kMaxShards = 4096;

const kSmall = new Set([
  'config.json',
  'generation_config.json',
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'added_tokens.json',
  'vocab.json',
  'merges.txt',
  'vocab.txt',
  'chat_template.jinja',
  'chat_template.json',
]);

/** Files to take. With `index`, the shards that it names come on top. */
export interface Choice {
  readonly small: readonly string[];
  readonly weights: readonly string[];
  readonly index?: string;
  /** The chosen GGUF file: the model is this file, not the folder. */
  readonly gguf?: string;
}

function isSmall(path: string): boolean {
  if (/^additional_chat_templates\/[^/]+\.jinja$/.test(path)) return true;
  return kSmall.has(path) || /^[^/]+\.(?:model|spm)$/.test(path);
}

function chooseGguf(files: readonly string[], wanted: string | undefined, what: string): Choice {
  const models = files.filter((path) => !/^(?:mmproj|imatrix)[-_.]/i.test(path.slice(path.lastIndexOf('/') + 1)));
  let found = models;
  if (wanted !== undefined) {
    const text = wanted.toLowerCase();
    found = files.filter((path) => path === wanted);
    if (found.length === 0) found = models.filter((path) => path.toLowerCase().endsWith(`/${text}`));
    if (found.length === 0) found = models.filter((path) => path.toLowerCase().includes(text));
    // `Q4_K` is part of `Q4_K_S` and `Q4_K_M`: a whole word of the name wins.
    const words = found.filter((path) => path.toLowerCase().split(/[-./]/).includes(text));
    if (found.length > 1 && words.length > 0) found = words;
  }
  const [path] = found;
  if (path === undefined || found.length > 1) {
    const message =
      path === undefined ? 'no such GGUF file in the repository' : 'the repository has several GGUF files';
    const hint = `Name one, e.g. ${what.split('@')[0]}:${(found[0] ?? models[0] ?? 'model.gguf').split('/').at(-1)}`;
    const listed = (path === undefined ? models : found).slice(0, 24).join(', ');
    const facts = path === undefined ? { expected: `one of ${listed}`, found: wanted } : { found: listed };
    throw new OptionError(`${what}: ${message}`, { name: 'gguf', ...facts, hint });
  }
  if (/-\d{5}-of-\d{5}\.gguf$/.test(path)) {
    const hint = 'Join it with llama-gguf-split --merge, or choose another file';
    throw new UnsupportedError(`${what}: GGUF in several parts`, { file: path, hint });
  }
  return { small: [], weights: [path], gguf: path };
}

/** Chooses from all paths of a repository. Throws `OptionError` (which GGUF?) and `UnsupportedError` (no weights). */
export function choose(paths: readonly string[], gguf: string | undefined, what: string): Choice {
  const ggufs = paths.filter((path) => path.endsWith('.gguf'));
  const single = paths.includes(kSingle);
  if (gguf !== undefined || (ggufs.length > 0 && !single && !paths.includes(kIndex))) {
    return checked(chooseGguf(ggufs, gguf, what), what);
  }
  if (!single && !paths.includes(kIndex)) {
    const found = paths.slice(0, 24).join(', ') || 'an empty repository';
    const pickled = paths.some((path) => /\.(?:bin|pt|pth|ckpt)$/.test(path));
    const hint = pickled
      ? 'Pickled weights such as pytorch_model.bin are not supported: convert them to safetensors'
      : '';
    const expected = `${kSingle}, ${kIndex} or a .gguf file`;
    throw new UnsupportedError(`${what}: no weights that Verdant reads`, { expected, found, ...(hint && { hint }) });
  }
  if (!paths.includes('config.json')) {
    throw new UnsupportedError(`${what}: safetensors without config.json`, {
      expected: 'config.json beside the weights',
    });
  }
  const small = paths.filter(isSmall).sort();
  return checked(single ? { small, weights: [kSingle] } : { small, weights: [], index: kIndex }, what);
}

function checked(choice: Choice, what: string): Choice {
  for (const path of [...choice.small, ...choice.weights]) {
    if (!isSafePath(path)) throw new HubError(`${what}: the repository lists an unsafe file name`, { found: path });
  }
  return choice;
}

/** Shards that an index names: base names of the same folder, nothing else. `text` is the JSON of `file`. */
export function shardsOf(text: string, file: string): string[] {
  let map: unknown;
  try {
    map = (JSON.parse(text) as { weight_map?: unknown } | null)?.weight_map;
  } catch (cause) {
    throw new HubError('the index is not JSON', { file, cause });
  }
  if (typeof map !== 'object' || map === null || Array.isArray(map)) {
    throw new HubError('the index has no weight_map', { file, expected: 'an object: tensor → file' });
  }
  const shards = new Set<unknown>(Object.values(map));
  if (shards.size === 0 || shards.size > kMaxShards) {
    throw new HubError('unusable number of shards', { file, expected: `1 … ${kMaxShards}`, found: shards.size });
  }
  for (const shard of shards) {
    if (typeof shard !== 'string' || shard.includes('/') || !isSafePath(shard) || !shard.endsWith('.safetensors')) {
      const expected = 'a .safetensors file of the same folder';
      throw new HubError('the index names an unsafe file', { file, expected, found: shard });
    }
  }
  return [...(shards as Set<string>)].sort();
}
