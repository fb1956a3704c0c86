/** Requests to the hub: redirects by hand (the token stays with the hub), stall timer, typed errors, retries. */
import { setTimeout as sleep } from 'node:timers/promises';
import { AbortError, HubError, ModelNotFoundError, type VerdantError } from '../errors.js';
import type { Settings, Timing } from './settings.js';

const kMaxRedirects = 6;
const kMaxAnswer = 64 << 20;
const kMaxErrorText = 4096;

/** A failure that may pass: thrown inside, turned into its `error` when the retries are used up. */
export class Transient extends Error {
  readonly error: VerdantError;
  readonly afterMs: number;
  /** No connection at all: fewer retries, and the cache may still help. */
  readonly unreachable: boolean;

  constructor(error: VerdantError, options: { afterMs?: number; unreachable?: boolean } = {}) {
    super(error.message);
    this.error = error;
    this.afterMs = options.afterMs ?? 0;
    this.unreachable = options.unreachable ?? false;
  }
}

const unreachable = new WeakSet<Error>();

/** True for an error that says that no connection to the hub could be made. */
export function isUnreachable(error: unknown): boolean {
  return error instanceof Error && unreachable.has(error);
}

export function aborted(signal: AbortSignal): AbortError {
  return new AbortError('the download was cancelled', { cause: signal.reason });
}

/** Counts failures in a row and pauses between attempts: exponential, with jitter, at least what the server asks. */
export class Backoff {
  readonly #timing: Timing;
  readonly #signal: AbortSignal;
  #failures = 0;

  constructor(timing: Timing, signal: AbortSignal) {
    this.#timing = timing;
    this.#signal = signal;
  }

  reset(): void {
    this.#failures = 0;
  }

  /** Pauses, or throws what `failure` stands for. Anything but `Transient` passes at once. */
  async pause(failure: unknown): Promise<void> {
    if (!(failure instanceof Transient)) throw failure;
    const pause = Math.min(8000, this.#timing.backoffMs * 2 ** this.#failures) * (0.75 + Math.random() / 2);
    this.#failures += failure.unreachable ? 2 : 1;
    if (this.#failures > this.#timing.retries) {
      if (failure.unreachable) unreachable.add(failure.error);
      throw failure.error;
    }
    await sleep(Math.max(pause, failure.afterMs), undefined, { signal: this.#signal }).catch(() => {
      throw aborted(this.#signal);
    });
  }
}

/** An answer whose body is still to be read. `close` ends it in any case. */
export interface Answer {
  readonly response: Response;
  /** ETag that the hub itself states (not the storage behind it), without quotes. */
  readonly hubEtag: string | undefined;
  /** Next bytes; undefined at the end. Throws `Transient` when the connection fails or stalls. */
  read(): Promise<Uint8Array | undefined>;
  close(): Promise<void>;
}

const plainEtag = (etag: string | null): string | undefined => etag?.replace(/^W\//, '').replaceAll('"', '');

export class Transport {
  readonly settings: Settings;
  readonly signal: AbortSignal;
  readonly #origin: string;

  constructor(settings: Settings, signal: AbortSignal) {
    this.settings = settings;
    this.signal = signal;
    this.#origin = new URL(settings.endpoint).origin;
  }

  /** One GET or POST, through its redirects. Any status comes back; only the connection can fail. */
  async open(url: string, init: { method?: string; headers?: Record<string, string>; body?: string }): Promise<Answer> {
    const stall = new AbortController();
    const timer = setTimeout(() => stall.abort(), this.settings.timing.stallMs);
    const signal = AbortSignal.any([this.signal, stall.signal]);
    try {
      const { response, hubEtag } = await this.#follow(new URL(url), init, signal);
      return this.#answer(response, hubEtag, stall, timer);
    } catch (cause) {
      clearTimeout(timer);
      throw this.#failure(cause, url, stall.signal.aborted);
    }
  }

  async #follow(
    start: URL,
    init: { method?: string; headers?: Record<string, string>; body?: string },
    signal: AbortSignal,
  ): Promise<{ response: Response; hubEtag: string | undefined }> {
    const { token } = this.settings;
    let url = start;
    let trusted = url.origin === this.#origin;
    let hubEtag: string | undefined;
    for (let hop = 0; hop < kMaxRedirects; hop++) {
      const headers = { ...init.headers, ...(trusted && token !== undefined && { authorization: `Bearer ${token}` }) };
      const response = await this.settings.fetch(url, { ...init, headers, redirect: 'manual', signal });
      const redirect = [301, 302, 303, 307, 308].includes(response.status);
      if (trusted) hubEtag ??= plainEtag(response.headers.get('x-linked-etag'));
      if (!redirect) return { response, hubEtag: hubEtag ?? this.#ownEtag(response, trusted) };
      await response.body?.cancel();
      const next = this.#next(response, url);
      trusted &&= next.origin === this.#origin;
      url = next;
    }
    throw new HubError(`${start.href}: too many redirects`, { name: start.href, expected: `at most ${kMaxRedirects}` });
  }

  #ownEtag(response: Response, trusted: boolean): string | undefined {
    return trusted && response.ok ? plainEtag(response.headers.get('etag')) : undefined;
  }

  #next(response: Response, url: URL): URL {
    const location = response.headers.get('location') ?? '';
    const next = URL.canParse(location, url.href) ? new URL(location, url) : undefined;
    const safe = next !== undefined && (next.protocol === 'https:' || next.protocol === url.protocol);
    if (location === '' || next === undefined || !safe) {
      throw new HubError(`${url.href}: a redirect leads nowhere safe`, {
        name: url.href,
        expected: 'https',
        found: location,
      });
    }
    return next;
  }

  #answer(
    response: Response,
    hubEtag: string | undefined,
    stall: AbortController,
    timer: ReturnType<typeof setTimeout>,
  ): Answer {
    const reader = response.body?.getReader();
    return {
      response,
      hubEtag,
      read: async () => {
        timer.refresh();
        try {
          const { done, value } = (await reader?.read()) ?? { done: true, value: undefined };
          return done ? undefined : (value as Uint8Array);
        } catch (cause) {
          throw this.#failure(cause, response.url, stall.signal.aborted);
        }
      },
      close: async () => {
        clearTimeout(timer);
        await reader?.cancel().catch(() => undefined);
      },
    };
  }

  #failure(cause: unknown, url: string, stalled: boolean): unknown {
    if (this.signal.aborted) return aborted(this.signal);
    if (cause instanceof HubError || cause instanceof Transient) return cause;
    if (stalled) {
      const expected = `data within ${this.settings.timing.stallMs / 1000} s`;
      return new Transient(
        new HubError(`${url}: the connection stalled`, { name: url, expected, found: 'nothing', cause }),
      );
    }
    const inner = (cause as { cause?: { code?: string; message?: string; syscall?: string } }).cause;
    const found = inner?.code ?? inner?.message ?? (cause as Error).message;
    const lost =
      /^(?:ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ENETUNREACH|EHOSTUNREACH|UND_ERR_CONNECT_TIMEOUT)$/.test(found) ||
      inner?.syscall === 'connect';
    const message = lost ? 'cannot reach the hub' : 'the connection to the hub broke';
    const name = url.split('?')[0] || this.settings.endpoint;
    const error = new HubError(`${name}: ${message}`, { name, found, cause });
    return new Transient(error, { unreachable: lost });
  }

  /** Error of a status that is not a success; `Transient` for those that may pass. Reads a little of the body. */
  async refusal(answer: Answer, what: string): Promise<Error> {
    const { response } = answer;
    const text = await this.#text(answer, kMaxErrorText).catch(() => '');
    const code = response.headers.get('x-error-code') ?? '';
    const found = `HTTP ${response.status}${code === '' ? '' : ` ${code}`}`;
    const how = 'set HF_TOKEN, run `hf auth login`, or give the option token';
    if ([408, 429, 500, 502, 503, 504].includes(response.status)) {
      const seconds = Number(response.headers.get('retry-after') ?? 0);
      const afterMs = Number.isFinite(seconds) ? Math.min(60, Math.max(0, seconds)) * 1000 : 0;
      const message = response.status === 429 ? 'too many requests' : 'the hub has a problem';
      return new Transient(new HubError(`${what}: ${message}`, { name: what, found, hint: 'Try again later' }), {
        afterMs,
      });
    }
    if (response.status === 403 || code === 'GatedRepo') {
      const page = `${this.settings.endpoint}/${what.split('@')[0]}`;
      const hint = `Accept its terms at ${page}, then ${how}`;
      return new HubError(`${what}: the model is gated or closed to you`, { name: what, found, hint });
    }
    if (response.status === 404 || code === 'RepoNotFound' || code === 'RevisionNotFound') {
      const subject = { RevisionNotFound: 'revision', EntryNotFound: 'file' }[code] ?? 'model';
      const hint = `Check the spelling; for a private one ${how}`;
      return new ModelNotFoundError(`${what}: the hub has no such ${subject}`, { name: what, found, hint });
    }
    if (response.status === 401) {
      const known = this.settings.token === undefined ? how : `the token is not accepted: ${how}`;
      return new HubError(`${what}: the hub wants an access token`, { name: what, found, hint: `To get in, ${known}` });
    }
    return new HubError(`${what}: the hub refuses`, {
      name: what,
      expected: 'HTTP 200',
      found: `${found} ${text.slice(0, 160)}`,
    });
  }

  async #text(answer: Answer, limit: number): Promise<string> {
    const parts: Uint8Array[] = [];
    let size = 0;
    for (let part = await answer.read(); part !== undefined; part = await answer.read()) {
      size += part.length;
      if (size > limit) {
        throw new HubError(`${answer.response.url}: the answer is too long`, {
          name: answer.response.url,
          expected: `at most ${limit} bytes`,
        });
      }
      parts.push(part);
    }
    return Buffer.concat(parts).toString('utf8');
  }

  /** A `fetch` for the hub library: JSON only, retried, bounded, with our token rules. `what` names the subject. */
  api(what: string): typeof fetch {
    let calls = 0;
    return async (input, init) => {
      if (++calls > 2000)
        throw new HubError(`${what}: the listing has no end`, { name: what, expected: 'at most 2000 pages' });
      const backoff = new Backoff(this.settings.timing, this.signal);
      for (;;) {
        try {
          return await this.#json(String(input instanceof Request ? input.url : input), init, what);
        } catch (failure) {
          await backoff.pause(failure);
        }
      }
    };
  }

  async #json(url: string, init: RequestInit | undefined, what: string): Promise<Response> {
    const headers = Object.fromEntries(new Headers(init?.headers));
    const body = typeof init?.body === 'string' ? { body: init.body } : {};
    const answer = await this.open(url, { method: init?.method ?? 'GET', headers, ...body });
    try {
      const { response } = answer;
      if (!response.ok) throw await this.refusal(answer, what);
      const type = response.headers.get('content-type') ?? 'nothing';
      if (!type.includes('json')) {
        const hint = 'A proxy or log-in page may stand between; check the endpoint';
        throw new HubError(`${url}: the hub sends something else than JSON`, {
          name: url,
          expected: 'JSON',
          found: type,
          hint,
        });
      }
      const text = await this.#text(answer, kMaxAnswer);
      const link = response.headers.get('link');
      return new Response(text, { headers: { 'content-type': type, ...(link !== null && { link }) } });
    } finally {
      await answer.close();
    }
  }
}
