/** What a sentence-transformers folder says beside its base model: modules.json and the configs of its modules. */
import { basename, join } from 'node:path';
import { ConfigError, type ErrorFacts, UnsupportedError } from '../errors.js';
import type { Pooling, SentenceDense, SentencePlan } from '../layers/sentence.js';
import type { Activation } from '../ops/elementwise.js';
import { readExactly, readJsonFile, withFile } from './files.js';
import { readSafetensors } from './safetensors.js';
import { checkpointSource } from './source.js';
import type { RawConfig, RawValue } from './types.js';

export interface SentenceFolder {
  readonly plan: SentencePlan;
  /** Tokens that a text is cut to, special ones included; undefined: as many as the model takes. */
  readonly maxLength: number | undefined;
  /** Text is put in lower case before the tokenizer. */
  readonly lowerCase: boolean;
  /** Texts that go before a text of that kind, by name. */
  readonly prompts: Readonly<Record<string, string>>;
  readonly defaultPrompt: string | undefined;
}

const limit = 1 << 20;
const configError = (message: string, facts: ErrorFacts): ConfigError => new ConfigError(message, facts);

/** sentence_transformers' Pooling: name of a mode, its field in older files; several are put together in this order there. */
const poolings: readonly (readonly [string, string, Pooling])[] = [
  ['cls', 'pooling_mode_cls_token', 'cls'],
  ['max', 'pooling_mode_max_tokens', 'max'],
  ['mean', 'pooling_mode_mean_tokens', 'mean'],
  ['mean_sqrt_len_tokens', 'pooling_mode_mean_sqrt_len_tokens', 'sqrt'],
  ['weightedmean', 'pooling_mode_weightedmean_tokens', 'weighted'],
  ['lasttoken', 'pooling_mode_lasttoken', 'last'],
];

const activations: Readonly<Record<string, Activation | undefined>> = {
  Identity: undefined,
  Tanh: 'tanh',
  GELU: 'gelu',
  ReLU: 'relu',
  SiLU: 'silu',
  Sigmoid: 'sigmoid',
};

function wrong(file: string, name: string, expected: string, found: unknown): ConfigError {
  return new ConfigError(`bad ${name}`, { file, name, expected, found });
}

/** modules.json: a list, which `readJsonFile` does not take. */
async function readModules(folder: string): Promise<readonly RawConfig[] | undefined> {
  const file = join(folder, 'modules.json');
  const bytes = await withFile(file, async (open) => {
    if (open.identity.size > limit) throw wrong(file, 'size', `at most ${limit} bytes`, open.identity.size);
    return readExactly(open, 0, open.identity.size);
  }).catch((cause: unknown) => {
    if ((cause as { facts?: ErrorFacts }).facts?.found === 'ENOENT') return undefined;
    throw cause;
  });
  if (bytes === undefined) return undefined;
  let parsed: unknown;
  try {
    parsed = JSON.parse(bytes.toString('utf8'));
  } catch (cause) {
    throw new ConfigError('modules.json is no JSON', { file, cause });
  }
  const good = (m: unknown): m is RawConfig =>
    typeof m === 'object' &&
    m !== null &&
    typeof (m as RawConfig).type === 'string' &&
    typeof (m as RawConfig).path === 'string';
  if (!Array.isArray(parsed) || parsed.length === 0 || parsed.length > 16 || !parsed.every(good))
    throw wrong(file, 'modules', 'a list of up to 16 objects with type and path', parsed);
  return parsed;
}

/** A folder inside the model's own. */
function inside(folder: string, file: string, path: RawValue | undefined): string {
  const name = String(path);
  if (name !== '' && (name.includes('..') || name.includes('\0') || /^[/\\]/.test(name)))
    throw wrong(file, 'path', 'a folder beside modules.json', path);
  return join(folder, name);
}

async function readPooling(folder: string): Promise<readonly Pooling[]> {
  const file = join(folder, 'config.json');
  const config = await readJsonFile(file, limit, configError);
  if (config === undefined) throw new ConfigError('config.json of the pooling is missing', { file });
  if (config.include_prompt === false)
    throw new UnsupportedError('pooling that leaves the prompt out is not supported', { file, name: 'include_prompt' });
  const { pooling_mode: mode } = config;
  if (mode === undefined || mode === null) {
    const wanted = poolings.filter(([, field]) => config[field] === true).map(([, , how]) => how);
    if (wanted.length === 0) throw wrong(file, 'pooling_mode', 'at least one mode of pooling', 'none');
    return wanted;
  }
  const names: readonly RawValue[] = Array.isArray(mode) ? mode : [mode];
  const found = names.map((name) => poolings.find(([known]) => known === name)?.[2]);
  if (found.length === 0 || found.length > 16 || found.includes(undefined))
    throw wrong(file, 'pooling_mode', `one or a list of ${poolings.map(([name]) => name).join(', ')}`, mode);
  return found as readonly Pooling[];
}

async function readDense(folder: string): Promise<SentenceDense> {
  const file = join(folder, 'config.json');
  const config = await readJsonFile(file, limit, configError);
  if (config === undefined) throw new ConfigError('config.json of the dense layer is missing', { file });
  const out = config.out_features;
  if (typeof out !== 'number' || !Number.isInteger(out) || out < 1 || out > 2 ** 17)
    throw wrong(file, 'out_features', 'an integer from 1 to 131072', out);
  const name = String(config.activation_function ?? 'torch.nn.modules.activation.Tanh')
    .split('.')
    .at(-1)!;
  if (!Object.hasOwn(activations, name))
    throw wrong(file, 'activation_function', Object.keys(activations).join(', '), config.activation_function);
  const path = join(folder, 'model.safetensors');
  const { identity, tensors } = await readSafetensors(path);
  const source = checkpointSource({
    ...{ kind: 'safetensors', path, config, generationConfig: undefined, tensors, files: [identity] },
    ...{ absorbed: new Set(), folder, configFile: file },
  });
  return { name: basename(folder), out, bias: config.bias !== false, fn: activations[name], source };
}

/** Reads the folder's modules; undefined where it has none. Throws ConfigError, UnsupportedError, CorruptFileError. */
export async function readSentenceFolder(folder: string): Promise<SentenceFolder | undefined> {
  const modules = await readModules(folder);
  if (modules === undefined) return undefined;
  const file = join(folder, 'modules.json');
  let pooling: readonly Pooling[] | undefined;
  const steps: (SentenceDense | 'normalize')[] = [];
  for (const [i, { type, path }] of modules.entries()) {
    const kind = String(type).split('.').at(-1);
    const own = inside(folder, file, path);
    if (i === 0 && kind === 'Transformer' && own === join(folder, '')) continue;
    if (i === 0)
      throw new UnsupportedError('the first module must be a Transformer in the folder itself', {
        file,
        found: `${kind} in ${path}`,
      });
    if (kind === 'Pooling' && pooling === undefined) pooling = await readPooling(own);
    else if (kind === 'Dense' && pooling !== undefined) steps.push(await readDense(own));
    else if (kind === 'Normalize' && pooling !== undefined) steps.push('normalize');
    else
      throw new UnsupportedError('a module of this kind is not supported here', {
        file,
        expected: 'Transformer, Pooling, then Dense and Normalize',
        found: kind,
      });
  }
  if (pooling === undefined) throw wrong(file, 'modules', 'a Pooling', 'none');
  const text = (await readJsonFile(join(folder, 'sentence_bert_config.json'), limit, configError)) ?? {};
  const more = (await readJsonFile(join(folder, 'config_sentence_transformers.json'), limit, configError)) ?? {};
  return { plan: { pooling, steps }, ...lengths(folder, text), ...promptsOf(folder, more) };
}

function lengths(folder: string, text: RawConfig): Pick<SentenceFolder, 'maxLength' | 'lowerCase'> {
  const most = text.max_seq_length ?? undefined;
  if (most !== undefined && (typeof most !== 'number' || !Number.isInteger(most) || most < 1))
    throw wrong(join(folder, 'sentence_bert_config.json'), 'max_seq_length', 'an integer from 1', most);
  return { maxLength: most, lowerCase: text.do_lower_case === true };
}

function promptsOf(folder: string, more: RawConfig): Pick<SentenceFolder, 'prompts' | 'defaultPrompt'> {
  const file = join(folder, 'config_sentence_transformers.json');
  const given = more.prompts ?? {};
  const good =
    typeof given === 'object' && !Array.isArray(given) && Object.values(given).every((p) => typeof p === 'string');
  if (!good) throw wrong(file, 'prompts', 'texts by name', given);
  const prompts = given as unknown as Readonly<Record<string, string>>;
  const name = more.default_prompt_name ?? undefined;
  if (name !== undefined && (typeof name !== 'string' || !Object.hasOwn(prompts, name)))
    throw wrong(file, 'default_prompt_name', Object.keys(prompts).join(', '), name);
  return { prompts, defaultPrompt: name };
}
