/** A hub on loopback: API, `resolve`, and a storage host of its own for large files; every request is recorded. */
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

export interface FakeFile {
  readonly content: Buffer;
  readonly lfs: boolean;
}

/** What goes wrong with one answer. */
export interface Fault {
  /** Answers with this status (and `headers`, `body`) instead. */
  status?: number;
  headers?: Record<string, string>;
  body?: string;
  /** Cuts the connection after so many bytes of the body. */
  dropAfter?: number;
  /** Sends this content instead, with its own length. */
  replace?: Buffer;
  /** Sends chunked, without a length. */
  unsized?: boolean;
  /** Pause after every 64 KiB, in milliseconds. */
  slowMs?: number;
  /** Ignores a range. */
  noRange?: boolean;
  etag?: string;
}

export interface Seen {
  readonly server: 'hub' | 'storage';
  readonly method: string;
  readonly path: string;
  readonly range: string | undefined;
  readonly authorization: string | undefined;
}

export const sha256 = (content: Buffer): string => createHash('sha256').update(content).digest('hex');
export const gitSha1 = (content: Buffer): string =>
  createHash('sha1').update(`blob ${content.length}\0`).update(content).digest('hex');
export const hashOf = (file: FakeFile): string => (file.lfs ? sha256(file.content) : gitSha1(file.content));

const kNoise = new Map<string, Buffer>();

/** Bytes that look random and are the same each time; not to be changed. */
export function noise(bytes: number, seed: number): Buffer {
  const known = kNoise.get(`${bytes} ${seed}`);
  if (known !== undefined) return known;
  const out = Buffer.alloc(bytes);
  let state = seed * 2654435761 + 1;
  for (let i = 0; i < bytes; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    out[i] = state >>> 24;
  }
  kNoise.set(`${bytes} ${seed}`, out);
  return out;
}

export class FakeHub {
  readonly repos = new Map<string, Map<string, FakeFile>>();
  readonly seen: Seen[] = [];
  /** Body bytes that the storage host has sent. */
  sent = 0;
  onSent: (sent: number) => void = () => {};
  fault: (request: Seen) => Fault | undefined = () => undefined;
  /** Changes the listing of the tree before it is sent. */
  listing: (entries: Record<string, unknown>[]) => Record<string, unknown>[] = (entries) => entries;
  readonly #commits = new Map<string, string>();
  readonly #hub: Server;
  readonly #storage: Server;

  private constructor() {
    this.#hub = createServer((request, response) => void this.#serve('hub', request, response));
    this.#storage = createServer((request, response) => void this.#serve('storage', request, response));
  }

  static async start(): Promise<FakeHub> {
    const hub = new FakeHub();
    for (const server of [hub.#hub, hub.#storage]) {
      await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    }
    return hub;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#hub.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    for (const server of [this.#hub, this.#storage]) {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    }
  }

  /** Sets a repository. Files over 1000 bytes go to the storage host. */
  put(repo: string, files: Record<string, Buffer | string>): Map<string, FakeFile> {
    const map = new Map<string, FakeFile>();
    for (const [path, data] of Object.entries(files)) {
      const content = Buffer.from(data);
      map.set(path, { content, lfs: content.length > 1000 });
    }
    this.repos.set(repo, map);
    this.#commits.set(
      repo,
      createHash('sha1')
        .update([...map].map(([path, file]) => path + hashOf(file)).join())
        .digest('hex'),
    );
    return map;
  }

  /** Commit of a repository: follows from the files that `put` gave it. */
  commit(repo: string): string {
    return this.#commits.get(repo)!;
  }

  reset(): void {
    this.seen.length = 0;
    this.sent = 0;
    this.onSent = () => {};
    this.fault = () => undefined;
    this.listing = (entries) => entries;
  }

  async #serve(server: 'hub' | 'storage', request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname } = new URL(request.url ?? '', this.url);
    const path = decodeURIComponent(pathname);
    const { range, authorization } = request.headers;
    const seen: Seen = { server, method: request.method ?? '', path, range, authorization };
    this.seen.push(seen);
    const fault = this.fault(seen) ?? {};
    response.on('error', () => {});
    if (fault.status !== undefined) {
      response.writeHead(fault.status, fault.headers).end(fault.body ?? '');
      return;
    }
    if (server === 'storage') return this.#storageBlob(path, request, response, fault);
    const api = /^\/api\/models\/([^/]+\/[^/]+)\/(revision|tree|paths-info)\/([^/]+)$/.exec(path);
    if (api !== null) return this.#api(api[1]!, api[2]!, api[3]!, request, response, fault);
    const resolve = /^\/([^/]+\/[^/]+)\/resolve\/([^/]+)\/(.+)$/.exec(path);
    const file = resolve === null ? undefined : this.repos.get(resolve[1]!)?.get(resolve[3]!);
    if (resolve === null || file === undefined) {
      response.writeHead(404, { 'x-error-code': 'EntryNotFound' }).end();
      return;
    }
    const etag = `"${fault.etag ?? hashOf(file)}"`;
    const common = { 'x-repo-commit': this.commit(resolve[1]!) };
    if (!file.lfs) return this.#send(file.content, { ...common, etag }, request, response, fault);
    const { port } = this.#storage.address() as AddressInfo;
    const location = `http://127.0.0.1:${port}/${hashOf(file)}`;
    const linked = { 'x-linked-etag': etag, 'x-linked-size': `${file.content.length}` };
    response.writeHead(302, { ...common, ...linked, location }).end();
  }

  async #storageBlob(path: string, request: IncomingMessage, response: ServerResponse, fault: Fault): Promise<void> {
    const all = [...this.repos.values()].flatMap((files) => [...files.values()]);
    const file = all.find((one) => `/${hashOf(one)}` === path);
    if (file === undefined) {
      response.writeHead(404).end();
      return;
    }
    await this.#send(file.content, { etag: `"${fault.etag ?? 'storage'}"` }, request, response, fault);
  }

  async #api(
    repo: string,
    kind: string,
    revision: string,
    request: IncomingMessage,
    response: ServerResponse,
    fault: Fault,
  ): Promise<void> {
    const files = this.repos.get(repo);
    const json = (value: unknown, headers: Record<string, string> = {}): void =>
      void response
        .writeHead(200, { 'content-type': 'application/json; charset=utf-8', ...headers })
        .end(fault.body ?? JSON.stringify(value));
    if (files === undefined) {
      response.writeHead(401, { 'x-error-code': 'RepoNotFound' }).end();
      return;
    }
    const sha = this.commit(repo);
    if (![sha, 'main', 'v1'].includes(revision)) {
      response.writeHead(404, { 'x-error-code': 'RevisionNotFound' }).end();
      return;
    }
    const now = '2026-01-01T00:00:00.000Z';
    if (kind === 'revision') {
      const siblings = [...files.keys()].map((rfilename) => ({ rfilename }));
      return json({ _id: '1', id: repo, sha, private: false, gated: false, likes: 0, lastModified: now, siblings });
    }
    const entries = [...files].map(([path, file]) => ({
      type: 'file',
      path,
      size: file.content.length,
      oid: file.lfs ? gitSha1(Buffer.from(sha256(file.content))) : gitSha1(file.content),
      ...(file.lfs && { lfs: { oid: sha256(file.content), size: file.content.length, pointerSize: 130 } }),
    }));
    if (kind === 'paths-info') {
      const body = JSON.parse(Buffer.concat(await request.toArray()).toString()) as { paths: string[] };
      return json(entries.filter((entry) => body.paths.includes(entry.path)));
    }
    const url = new URL(request.url ?? '', this.url);
    const from = Number(url.searchParams.get('cursor') ?? 0);
    const listed = this.listing([{ type: 'directory', path: 'folder', size: 0, oid: sha }, ...entries]);
    url.searchParams.set('cursor', `${from + 4}`);
    json(listed.slice(from, from + 4), from + 4 < listed.length ? { link: `<${url.href}>; rel="next"` } : {});
  }

  async #send(
    content: Buffer,
    headers: Record<string, string>,
    request: IncomingMessage,
    response: ServerResponse,
    fault: Fault,
  ): Promise<void> {
    let body = fault.replace ?? content;
    const size = body.length;
    const from = Number(/^bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
    const ranged = request.headers.range !== undefined && fault.noRange !== true;
    const head: Record<string, string> = { 'accept-ranges': 'bytes', ...headers, ...fault.headers };
    if (ranged && from >= size) {
      response.writeHead(416, { 'content-range': `bytes */${size}` }).end();
      return;
    }
    if (ranged) {
      body = body.subarray(from);
      head['content-range'] = `bytes ${from}-${size - 1}/${size}`;
    }
    if (fault.unsized !== true) head['content-length'] = `${body.length}`;
    response.writeHead(ranged ? 206 : 200, head);
    if (request.method === 'HEAD') {
      response.end();
      return;
    }
    const end = Math.min(body.length, fault.dropAfter ?? body.length);
    for (let at = 0; at < end && !response.destroyed; at += 65536) {
      const chunk = body.subarray(at, Math.min(end, at + 65536));
      if (!response.write(chunk)) {
        await new Promise<void>((done) => {
          const go = (): void => {
            response.off('drain', go).off('close', go);
            done();
          };
          response.on('drain', go).on('close', go);
        });
      }
      this.sent += chunk.length;
      this.onSent(this.sent);
      if (fault.slowMs !== undefined) await sleep(fault.slowMs);
    }
    if (fault.dropAfter !== undefined) {
      await sleep(20);
      response.destroy();
    } else response.end();
  }
}
