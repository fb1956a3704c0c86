/** A worker thread that answers requests one by one, with a time limit for each; errors keep their class. */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { type ResourceLimits, Worker } from 'node:worker_threads';
import {
  ConfigError,
  CorruptFileError,
  InputError,
  ModelNotFoundError,
  OptionError,
  TemplateError,
  TokenizerError,
  UnsupportedError,
  VerdantError,
} from '../errors.js';

export interface WireError {
  readonly code: string;
  readonly message: string;
}

export type Reply =
  | { readonly id: number; readonly value: unknown }
  | { readonly id: number; readonly error: WireError };

interface Request {
  readonly id: number;
  readonly message: object;
  readonly limitMs: number;
  readonly what: string;
  resolve(value: unknown): void;
  reject(error: unknown): void;
}

const byCode: Record<string, new (message: string) => VerdantError> = {
  ERR_CONFIG: ConfigError,
  ERR_FILE_CORRUPT: CorruptFileError,
  ERR_INPUT: InputError,
  ERR_MODEL_NOT_FOUND: ModelNotFoundError,
  ERR_OPTION: OptionError,
  ERR_TEMPLATE: TemplateError,
  ERR_TOKENIZER: TokenizerError,
  ERR_UNSUPPORTED: UnsupportedError,
};

/** Error → plain data; anything that is not ours becomes `fallback`. */
export function toWire(error: unknown, fallback: string): WireError {
  if (error instanceof VerdantError) return { code: error.code, message: error.message };
  return { code: fallback, message: error instanceof Error ? `${error.name}: ${error.message}` : String(error) };
}

function fromWire(error: WireError): VerdantError {
  const Class = byCode[error.code];
  return Class === undefined ? new VerdantError(error.code, error.message) : new Class(error.message);
}

/** In a source tree (tests run the .ts files) modules are transpiled on the fly, with the typescript package. */
function sourceHooks(typescript: string): string {
  const hooks = `
    import { existsSync, readFileSync } from 'node:fs';
    import { fileURLToPath } from 'node:url';
    import ts from ${JSON.stringify(typescript)};
    export async function resolve(specifier, context, next) {
      if (specifier.startsWith('.') && specifier.endsWith('.js') && context.parentURL?.endsWith('.ts')) {
        const url = new URL(specifier.slice(0, -3) + '.ts', context.parentURL);
        if (existsSync(fileURLToPath(url))) return { url: url.href, format: 'module', shortCircuit: true };
      }
      return next(specifier, context);
    }
    export async function load(url, context, next) {
      if (!url.startsWith('file:') || !url.endsWith('.ts')) return next(url, context);
      const { outputText } = ts.transpileModule(readFileSync(fileURLToPath(url), 'utf8'),
        { compilerOptions: { module: 'ESNext', target: 'ES2022', verbatimModuleSyntax: true } });
      return { format: 'module', source: outputText, shortCircuit: true };
    }`;
  const url = `data:text/javascript,${encodeURIComponent(hooks)}`;
  return `data:text/javascript,${encodeURIComponent(
    `import { register } from 'node:module'; register(${JSON.stringify(url)});`,
  )}`;
}

/** Starts `<name>.js` beside this module, or `<name>.ts` where only the source is there. */
function startWorker(name: string, resourceLimits: ResourceLimits): Worker {
  const built = new URL(`./${name}.js`, import.meta.url);
  if (existsSync(fileURLToPath(built))) return new Worker(built, { resourceLimits, execArgv: [] });
  const typescript = pathToFileURL(createRequire(import.meta.url).resolve('typescript')).href;
  const source = new URL(`./${name}.ts`, import.meta.url);
  const boot = `import(${JSON.stringify(sourceHooks(typescript))}).then(() => import(${JSON.stringify(source.href)}))`;
  return new Worker(boot, { eval: true, resourceLimits, execArgv: [] });
}

/**
 * Requests are answered in order. One that exceeds its limit ends the worker: that request fails, a new worker starts,
 * `restore` posts what it must know, and the requests behind it are asked again.
 */
export class RpcWorker {
  private worker: Worker | undefined;
  private readonly queue: Request[] = [];
  private timer: NodeJS.Timeout | undefined;
  private nextId = 1;
  private readonly file: string;
  private readonly limits: ResourceLimits;
  private readonly fail: (message: string) => VerdantError;
  private readonly restore: () => Iterable<object>;

  constructor(
    file: string,
    limits: ResourceLimits,
    fail: (message: string) => VerdantError,
    restore: () => Iterable<object>,
  ) {
    this.file = file;
    this.limits = limits;
    this.fail = fail;
    this.restore = restore;
  }

  /** Posts a message that has no reply. */
  post(message: object): void {
    this.started().postMessage(message);
  }

  call(message: object, limitMs: number, what: string): Promise<unknown> {
    const worker = this.started();
    return new Promise((resolve, reject) => {
      const request: Request = { id: this.nextId, message, limitMs, what, resolve, reject };
      this.nextId += 1;
      // Posted first: what cannot be cloned throws here and must not wait in the queue, where nothing would answer it.
      try {
        worker.postMessage({ ...message, id: request.id });
      } catch (cause) {
        throw new InputError(`${what}: an argument is not plain data`, { cause });
      }
      this.queue.push(request);
      worker.ref();
      if (this.queue.length === 1) this.arm();
    });
  }

  private started(): Worker {
    if (this.worker !== undefined) return this.worker;
    const worker = startWorker(this.file, this.limits);
    worker.on('message', (reply: Reply) => this.settle(worker, reply));
    worker.on('error', (error) => this.lost(worker, `${error.name}: ${error.message}`));
    worker.on('exit', (code) => this.lost(worker, `the worker ended with code ${code}`));
    worker.unref();
    this.worker = worker;
    for (const message of this.restore()) worker.postMessage(message);
    return worker;
  }

  private settle(worker: Worker, reply: Reply): void {
    if (worker !== this.worker) return;
    const request = this.queue[0];
    if (request === undefined || request.id !== reply.id) return;
    this.queue.shift();
    this.arm();
    if ('error' in reply) request.reject(fromWire(reply.error));
    else request.resolve(reply.value);
  }

  /** Starts the clock of the request at the head of the queue. */
  private arm(): void {
    clearTimeout(this.timer);
    const head = this.queue[0];
    if (head === undefined) {
      this.worker?.unref();
      return;
    }
    this.timer = setTimeout(() => {
      const { worker } = this;
      if (worker !== undefined) this.lost(worker, `${head.what} took longer than ${head.limitMs} ms`);
    }, head.limitMs);
  }

  /** The worker is gone or must go: the head of the queue fails, the rest is asked again. */
  private lost(worker: Worker, reason: string): void {
    if (worker !== this.worker) return;
    this.worker = undefined;
    clearTimeout(this.timer);
    void worker.terminate();
    this.queue.shift()?.reject(this.fail(reason));
    if (this.queue.length === 0) return;
    const next = this.started();
    next.ref();
    for (const request of this.queue) next.postMessage({ ...request.message, id: request.id });
    this.arm();
  }
}
