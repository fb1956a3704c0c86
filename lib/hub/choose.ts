/** Which files of a repository a model needs. The same rule reads the listing of the hub and a cached snapshot. */
import { HubError, OptionError, UnsupportedError } from '../errors.js';
import { isSafePath } from './names.js';

/** Weights in one file and the index of those in several, in order of preference; a GGUF file comes between the two. */
const kSafetensors = { single: 'model.safetensors', index: 'model.safetensors.index.json' };
const kPytorch = { single: 'pytorch_model.bin', index: 'pytorch_model.bin.index.json' };
export const kWeights = `${kSafetensors.single}, its index, a .gguf file, ${kPytorch.single} or its index`;
const kMaxShards = 4096;

const kSmall = new Set([
  'config.json',
  'generation_config.json',
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'added_tokens.json',
  'vocab.json',
  'target_vocab.json',
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

/** Which kind of weights beside a config.json there is, a GGUF file's place in that order kept. */
export function weightFiles(
  paths: readonly string[],
  gguf: string | undefined,
): typeof kSafetensors | 'gguf' | undefined {
  const has = (format: typeof kSafetensors): boolean => paths.includes(format.single) || paths.includes(format.index);
  if (gguf !== undefined) return 'gguf';
  if (has(kSafetensors)) return kSafetensors;
  if (paths.some((path) => path.endsWith('.gguf'))) return 'gguf';
  return has(kPytorch) ? kPytorch : undefined;
}

/** Chooses from all paths of a repository. Throws `OptionError` (which GGUF?) and `UnsupportedError` (no weights). */
export function choose(paths: readonly string[], gguf: string | undefined, what: string): Choice {
  const format = weightFiles(paths, gguf);
  if (format === 'gguf') {
    const ggufs = paths.filter((path) => path.endsWith('.gguf'));
    return checked(chooseGguf(ggufs, gguf, what), what);
  }
  if (format === undefined) {
    const found = paths.slice(0, 24).join(', ') || 'an empty repository';
    throw new UnsupportedError(`${what}: no weights that Verdant reads`, { expected: kWeights, found });
  }
  if (!paths.includes('config.json')) {
    throw new UnsupportedError(`${what}: weights without config.json`, {
      expected: 'config.json beside the weights',
    });
  }
  const small = paths.filter(isSmall).sort();
  const { single, index } = format;
  return checked(paths.includes(single) ? { small, weights: [single] } : { small, weights: [], index }, what);
}

function checked(choice: Choice, what: string): Choice {
  for (const path of [...choice.small, ...choice.weights]) {
    if (!isSafePath(path)) throw new HubError(`${what}: the repository lists an unsafe file name`, { found: path });
  }
  return choice;
}

/** Shards that an index names: base names of the same folder, nothing else. `text` is the JSON of `file`. */
export function shardsOf(text: string, file: string): string[] {
  const extension = file.endsWith(kPytorch.index) ? '.bin' : '.safetensors';
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
    if (typeof shard !== 'string' || shard.includes('/') || !isSafePath(shard) || !shard.endsWith(extension)) {
      const expected = `a ${extension} file of the same folder`;
      throw new HubError('the index names an unsafe file', { file, expected, found: shard });
    }
  }
  return [...(shards as Set<string>)].sort();
}
