/** Options of a pull and the environment variables that Hugging Face's own tools read. */
import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { OptionError } from '../errors.js';

/** State of a pull. Bytes are those of all its files together; what was cached counts as done. */
export interface PullProgress {
  /** File that moved last. */
  readonly file: string;
  readonly done: number;
  readonly total: number;
  readonly filesDone: number;
  readonly files: number;
}

/** What `pull` and `resolveModel` take. */
export interface PullOptions {
  /** Branch, tag or commit; `main` unless given. */
  readonly revision?: string;
  /** Uses the cache only, never the network; `HF_HUB_OFFLINE` unless given. */
  readonly offline?: boolean;
  /** Cache folder; `HF_HUB_CACHE`, `HF_HOME/hub` or `~/.cache/huggingface/hub` unless given. */
  readonly cacheDir?: string;
  /** Address of the hub; `HF_ENDPOINT` or https://huggingface.co unless given. */
  readonly endpoint?: string;
  /** Access token; `HF_TOKEN` or the token file of `hf auth login` unless given. Sent to `endpoint` only. */
  readonly token?: string;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: PullProgress) => void;
  /** GGUF file to take (its path, or a part that only one has, such as `Q4_0`) where a repository has several. */
  readonly gguf?: string;
  /** Replaces the global `fetch`, e.g. for a proxy. */
  readonly fetch?: typeof fetch;
}

/** Waiting times, in milliseconds. */
export interface Timing {
  /** Failures in a row before giving up; those without any connection count double. */
  readonly retries: number;
  /** First pause; doubles each time, up to 8 s. */
  readonly backoffMs: number;
  /** A connection that sends nothing for this long is given up. */
  readonly stallMs: number;
  /** A lock whose owner gave no sign for this long is taken over. */
  readonly lockMs: number;
}

export const kTiming: Timing = { retries: 6, backoffMs: 300, stallMs: 60_000, lockMs: 30_000 };

export interface Settings {
  readonly offline: boolean;
  readonly cacheDir: string;
  readonly endpoint: string;
  readonly token: string | undefined;
  readonly fetch: typeof fetch;
  readonly timing: Timing;
}

const variable = (name: string): string | undefined => process.env[name] || undefined;
const truthy = (name: string): boolean => /^(?:1|on|yes|true)$/i.test(process.env[name] ?? '');

function home(): string {
  return variable('HF_HOME') ?? join(variable('XDG_CACHE_HOME') ?? join(homedir(), '.cache'), 'huggingface');
}

function expandUser(path: string): string {
  return resolve(/^~(?=[/\\]|$)/.test(path) ? homedir() + path.slice(1) : path);
}

async function findToken(given: string | undefined): Promise<string | undefined> {
  if (given !== undefined) return given;
  if (truthy('HF_HUB_DISABLE_IMPLICIT_TOKEN')) return undefined;
  const direct = variable('HF_TOKEN') ?? variable('HUGGING_FACE_HUB_TOKEN');
  if (direct !== undefined) return direct.trim();
  const file = expandUser(variable('HF_TOKEN_PATH') ?? join(home(), 'token'));
  return (await readFile(file, 'utf8').catch(() => '')).trim() || undefined;
}

function checkEndpoint(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol) || url.username !== '' || url.search !== '') {
    throw new OptionError('option endpoint: not the address of a hub', {
      name: 'endpoint',
      expected: 'https://host',
      found: text,
    });
  }
  return url.href.replace(/\/+$/, '');
}

const kinds: Readonly<Record<keyof PullOptions, 'string' | 'boolean' | 'function' | 'signal'>> = {
  revision: 'string',
  offline: 'boolean',
  cacheDir: 'string',
  endpoint: 'string',
  token: 'string',
  signal: 'signal',
  onProgress: 'function',
  gguf: 'string',
  fetch: 'function',
};

/** Names and kinds of a caller's options. Throws `OptionError`. */
export function checkPullOptions(options: PullOptions): void {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw new OptionError('options of the hub', { name: 'options', expected: 'an object', found: options });
  }
  for (const [name, value] of Object.entries(options)) {
    if (!Object.hasOwn(kinds, name)) {
      throw new OptionError(`unknown option ${name}`, { name, expected: Object.keys(kinds).join(', ') });
    }
    const kind = kinds[name as keyof PullOptions];
    if (value === undefined || (kind === 'signal' ? value instanceof AbortSignal : typeof value === kind)) continue;
    // A token is a secret: never shown.
    const found = name === 'token' ? typeof value : value;
    throw new OptionError(`bad ${name}`, { name, expected: kind === 'signal' ? 'an AbortSignal' : `a ${kind}`, found });
  }
}

/** Options completed by the environment. Throws `OptionError`. */
export async function settle(options: PullOptions, timing: Timing): Promise<Settings> {
  const token = await findToken(options.token);
  if (token !== undefined && !/^[\x21-\x7e]+$/.test(token)) {
    throw new OptionError('option token: not an access token', {
      name: 'token',
      expected: 'printable ASCII without spaces',
    });
  }
  const cacheDir = options.cacheDir ?? variable('HF_HUB_CACHE') ?? variable('HUGGINGFACE_HUB_CACHE');
  if (cacheDir === '' || cacheDir?.includes('\0')) {
    throw new OptionError('option cacheDir: not a folder', { name: 'cacheDir', found: cacheDir });
  }
  return {
    offline: options.offline ?? truthy('HF_HUB_OFFLINE'),
    cacheDir: expandUser(cacheDir ?? join(home(), 'hub')),
    endpoint: checkEndpoint(options.endpoint ?? variable('HF_ENDPOINT') ?? 'https://huggingface.co'),
    token,
    fetch: options.fetch ?? fetch,
    timing,
  };
}
