/** One blob: resumed, bounded by its declared size, verified by hash, published by rename. */
import { join } from 'node:path';
import { HubError } from '../errors.js';
import { isIntact, markVerified, type RepoCache, syncFolder } from './cache.js';
import type { RemoteFile } from './listing.js';
import { Lock } from './lock.js';
import { blobHash } from './names.js';
import { PartFile } from './part_file.js';
import { type Answer, Backoff, Transient, type Transport } from './transport.js';

/** Progress beyond all earlier connections that makes their failures forgotten. */
const kHealthyBytes = 256 << 10;

export interface BlobJob {
  readonly transport: Transport;
  readonly cache: RepoCache;
  /** Subject for messages: `owner/name@revision`. */
  readonly what: string;
  readonly url: string;
  readonly file: RemoteFile;
  /** Bytes of this file at hand. */
  readonly onBytes: (bytes: number) => void;
}

/** The hub states another ETag than its listing did. */
export class BlobChanged extends Error {
  readonly etag: string;

  constructor(etag: string) {
    super(`the file changed to ${etag}`);
    this.etag = etag;
  }
}

/** Makes sure that the blob is in the cache and intact. Throws `HubError`, `AbortError`, `BlobChanged`. */
export async function fetchBlob(job: BlobJob): Promise<void> {
  const { cache, file, transport } = job;
  const intact = (): Promise<boolean> => isIntact(cache, file.hash, file.size, transport.signal);
  if (!(await intact())) {
    const { lockMs } = transport.settings.timing;
    const lock = await Lock.acquire(join(cache.state, `${file.hash.hex}.verdant`), lockMs, transport.signal);
    try {
      if (!(await intact())) await download(job, lock);
    } finally {
      await lock.release();
    }
  }
  job.onBytes(file.size);
}

async function download(job: BlobJob, lock: Lock): Promise<void> {
  const { cache, file, transport } = job;
  const blob = join(cache.blobs, file.hash.hex);
  const part = await PartFile.open(`${blob}.incomplete`, file, lock, transport.signal);
  try {
    // Bytes that another run or connection left may be wrong; one try from scratch decides.
    for (let pieced = part.position > 0; ; pieced = false) {
      pieced = (await complete(job, part)) || pieced;
      const found = part.digest();
      if (found === file.hash.hex) break;
      await part.restart();
      if (!pieced) {
        await part.remove();
        const hint = 'It was thrown away: the connection, a proxy or the hub alters files';
        throw new HubError(`${job.what}: the content has another ${file.hash.kind} hash than the hub declares`, {
          file: file.path,
          expected: file.hash.hex,
          found,
          hint,
        });
      }
    }
    await part.publish(blob);
  } catch (cause) {
    if (cause instanceof BlobChanged) await part.remove();
    throw cause;
  } finally {
    await part.close();
  }
  await syncFolder(cache.blobs);
  await markVerified(cache, file.hash.hex);
}

/** Fetches until all bytes are there; true when they came in more than one piece. */
async function complete(job: BlobJob, part: PartFile): Promise<boolean> {
  const { transport, file } = job;
  const backoff = new Backoff(transport.settings.timing, transport.signal);
  const storage: { etag: string | undefined } = { etag: undefined };
  let pieces = 0;
  let best = part.position;
  while (part.position < file.size) {
    try {
      pieces++;
      await continuePart(job, part, storage);
    } catch (failure) {
      if (part.position - best >= kHealthyBytes) {
        best = part.position;
        backoff.reset();
      }
      await backoff.pause(failure);
    }
  }
  return pieces > 1;
}

/** One connection, from where the part ends. Throws `Transient` when it ends early. */
async function continuePart(job: BlobJob, part: PartFile, storage: { etag: string | undefined }): Promise<void> {
  const { file, transport } = job;
  const from = part.position;
  const headers = { 'accept-encoding': 'identity', ...(from > 0 && { range: `bytes=${from}-` }) };
  const answer = await transport.open(job.url, { headers });
  try {
    const body = await checkHead(job, answer, from, storage);
    if (body !== 'rest') await part.restart();
    if (body === 'useless') throw new Transient(refuse(job, 'the file changed on the way', file.hash.hex, 'another'));
    job.onBytes(part.position);
    for (let chunk = await answer.read(); chunk !== undefined; chunk = await answer.read()) {
      if (part.position + chunk.length > file.size) {
        await part.restart();
        throw refuse(job, 'the hub sends more than it declares', `${file.size} bytes`, 'more');
      }
      await part.append(chunk);
      job.onBytes(part.position);
    }
    if (part.position < file.size) {
      throw new Transient(refuse(job, 'the connection ends early', `${file.size} bytes`, part.position));
    }
  } finally {
    await answer.close();
    await part.flush();
  }
}

function refuse(job: BlobJob, message: string, expected: unknown, found: unknown): HubError {
  return new HubError(`${job.what}: ${message}`, { file: job.file.path, expected, found });
}

/**
 * Checks the head of an answer. Its body is the `rest` after byte `from`, the `whole` file, or `useless`: a range of
 * another version than the one before.
 */
async function checkHead(
  job: BlobJob,
  answer: Answer,
  from: number,
  storage: { etag: string | undefined },
): Promise<'rest' | 'whole' | 'useless'> {
  const { response, hubEtag } = answer;
  const { file, transport } = job;
  if (response.status === 416 && from > 0) return 'useless';
  if (!response.ok) throw await transport.refusal(answer, `${job.what}/${file.path}`);
  if (response.status !== 200 && response.status !== 206) {
    throw refuse(job, 'an unusual answer', 'HTTP 200 or 206', `HTTP ${response.status}`);
  }
  const type = response.headers.get('content-type') ?? '';
  if (type.includes('text/html')) throw refuse(job, 'the hub sends a web page instead of the file', 'the file', type);
  if (hubEtag !== undefined && hubEtag !== file.hash.hex && blobHash(hubEtag) !== undefined) {
    throw new BlobChanged(hubEtag);
  }
  if (response.status === 200) return checkWhole(job, response, from, storage);
  const range = response.headers.get('content-range') ?? 'no content-range';
  const match = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(range);
  const fits = match !== null && Number(match[1]) === from && (match[3] === '*' || Number(match[3]) === file.size);
  if (!fits) throw refuse(job, 'the hub sends another range', `bytes ${from}-… of ${file.size}`, range);
  const etag = response.headers.get('etag') ?? undefined;
  const changed = storage.etag !== undefined && etag !== storage.etag;
  storage.etag = changed ? undefined : etag;
  return changed ? 'useless' : 'rest';
}

function checkWhole(
  job: BlobJob,
  response: Response,
  from: number,
  storage: { etag: string | undefined },
): 'rest' | 'whole' {
  const { size } = job.file;
  const encoded = (response.headers.get('content-encoding') ?? 'identity') !== 'identity';
  const length = response.headers.get('content-length');
  if (!encoded && length !== null && Number(length) !== size) {
    throw refuse(job, 'the answer has the wrong length', `${size} bytes`, `${length} bytes`);
  }
  storage.etag = response.headers.get('etag') ?? undefined;
  return from > 0 ? 'whole' : 'rest';
}
