/** Rules for every name of the hub that becomes a path, a URL or a hash: what is not plainly safe is refused. */
import { HubError, OptionError } from '../errors.js';

/** `owner/name@revision:file.gguf`, taken apart. Revision and file are absent where the id does not name them. */
export interface RepoRef {
  readonly repo: string;
  readonly revision?: string;
  readonly gguf?: string;
}

const kReference = /^(?<repo>[^@:]+)(?:@(?<revision>[^:]+))?(?::(?<gguf>.+))?$/s;
const kSegment = /^[A-Za-z0-9_](?:[\w.-]{0,94}[A-Za-z0-9_])?$/;
const kReserved = /^(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$)/i;

/** A repository id: `owner/name`, or the bare name of an old model. `--` would be ambiguous in a folder name. */
function isRepo(repo: string): boolean {
  const parts = repo.split('/');
  if (parts.length > 2 || repo.includes('--') || repo.includes('..') || repo.endsWith('.git')) return false;
  return parts.every((part) => kSegment.test(part));
}

/** A branch, a tag, `refs/pr/1` or a commit. */
function isRevision(revision: string): boolean {
  if (revision.length > 200 || revision.includes('..') || revision.endsWith('.lock')) return false;
  return revision.split('/').every((part) => /^[A-Za-z0-9_][\w.+-]*$/.test(part) && !kReserved.test(part));
}

/** A relative path that means the same file on every platform and stays inside its folder. */
export function isSafePath(path: string): boolean {
  if (path.length > 1024) return false;
  return path.split('/').every((part) => {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is refused
    if (part === '' || part.length > 255 || /[\u0000-\u001f\\:*?"<>|]/.test(part)) return false;
    return !/[. ]$/.test(part) && !kReserved.test(part);
  });
}

/** A path that may leave its folder on some platform: such a repository is not touched at all. */
export function isHostilePath(path: string): boolean {
  const parts = path.split(/[/\\]/);
  return parts.includes('..') || /^(?:[/\\]|[A-Za-z]:)/.test(path) || path === '' || path.includes('\0');
}

/** Takes `owner/name`, `owner/name@revision`, `owner/name:file.gguf` and `owner/name@revision:file.gguf` apart. */
export function parseRef(id: string): RepoRef | undefined {
  const groups = id.length > 600 ? undefined : kReference.exec(id)?.groups;
  const { repo, revision, gguf } = groups ?? {};
  if (repo === undefined || !isRepo(repo)) return undefined;
  if (revision !== undefined && !isRevision(revision)) return undefined;
  if (gguf !== undefined && !isSafePath(gguf)) return undefined;
  return { repo, ...(revision !== undefined && { revision }), ...(gguf !== undefined && { gguf }) };
}

/** Like `parseRef`, with the options of a call; what both name must agree. Throws `OptionError`. */
export function requireRef(
  id: string,
  options: { readonly revision?: string; readonly gguf?: string },
): RepoRef & { readonly revision: string } {
  const ref = typeof id === 'string' ? parseRef(id) : undefined;
  if (ref === undefined) {
    const expected = 'owner/name, owner/name@revision or owner/name:file.gguf';
    throw new OptionError('not the id of a model on the hub', { name: 'id', expected, found: id });
  }
  const merged = (name: 'revision' | 'gguf', legal: (text: string) => boolean): string | undefined => {
    const [inId, option] = [ref[name], options[name]];
    if (option === undefined) return inId;
    if (typeof option !== 'string' || !legal(option)) {
      throw new OptionError(`option ${name}: not a plain name`, { name, expected: 'a plain name', found: option });
    }
    if (inId !== undefined && inId !== option) {
      throw new OptionError(`option ${name}: the id names another ${name}`, { name, expected: inId, found: option });
    }
    return option;
  };
  const gguf = merged('gguf', isSafePath);
  return { repo: ref.repo, revision: merged('revision', isRevision) ?? 'main', ...(gguf !== undefined && { gguf }) };
}

export function isCommit(text: string): boolean {
  return /^[0-9a-f]{40}$/.test(text);
}

/** Hash by which the hub names a blob: sha256 of the content (LFS), or git's sha1 of header and content. */
export interface BlobHash {
  readonly kind: 'sha256' | 'git';
  readonly hex: string;
}

/** The hash that a blob's name states, or undefined where the name is not a hash. */
export function blobHash(name: string): BlobHash | undefined {
  if (/^[0-9a-f]{64}$/.test(name)) return { kind: 'sha256', hex: name };
  return isCommit(name) ? { kind: 'git', hex: name } : undefined;
}

export function requireBlobHash(name: unknown, file: string): BlobHash {
  const hash = typeof name === 'string' ? blobHash(name) : undefined;
  if (hash === undefined) {
    throw new HubError('the hub gives no usable hash', { file, expected: 'sha256 or git sha1 in hex', found: name });
  }
  return hash;
}
