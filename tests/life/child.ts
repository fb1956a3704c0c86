import { spawn } from 'node:child_process';
import { join } from 'node:path';

export interface ChildOptions {
  /** Arguments of node itself. */
  readonly node?: readonly string[];
  readonly timeoutMs?: number;
  readonly env?: Readonly<Record<string, string>>;
  /** Called with each line of stdout; gets the process to signal it. */
  readonly onLine?: (line: string, child: { kill(signal: NodeJS.Signals): boolean }) => void;
}

export interface ChildResult {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
  /** What the child reported, undefined where it did not. */
  readonly result: unknown;
  /** From the last line of stdout to the end of the process. */
  readonly sinceLastLineMs: number;
}

/** Runs a script of `children/` on the built package in a process of its own. */
export function runChild(script: string, args: readonly string[], options: ChildOptions = {}): Promise<ChildResult> {
  const file = join(import.meta.dirname, 'children', script);
  const child = spawn(process.execPath, [...(options.node ?? []), file, ...args], {
    env: { ...process.env, NODE_OPTIONS: '', ...options.env },
    timeout: options.timeoutMs ?? 60_000,
    killSignal: 'SIGKILL',
  });
  let [stdout, stderr, partial, last] = ['', '', '', performance.now()];
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
    last = performance.now();
    const lines = (partial + text).split('\n');
    partial = lines.pop()!;
    for (const line of lines) options.onLine?.(line, child);
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => {
      const line = stdout.split('\n').findLast((l) => l.startsWith('RESULT '));
      const result = line === undefined ? undefined : (JSON.parse(line.slice(7)) as unknown);
      resolve({ code, signal, stdout, stderr, result, sinceLastLineMs: performance.now() - last });
    });
  });
}
