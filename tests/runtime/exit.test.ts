import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import { DeviceModel } from '../../lib/runtime/executable.js';
import { tower } from '../support/programs.js';

const addon = fileURLToPath(new URL('../../build/Release/verdant.node', import.meta.url));

/** Opens a model, compiles a tower and starts steps that take tens of milliseconds each; `then` says what follows. */
function script(size: number, then: string, layers = 16): string {
  return `
    const native = require(${JSON.stringify(addon)});
    const program = ${JSON.stringify(tower(size, layers, 5000))};
    const io = { x: new Float32Array(128 * ${size}).fill(1) };
    const main = async () => {
      const model = await native.open('cpu', {});
      const executable = await model.compile(program, io);
      const step = () => executable.run([128]);
      ${then}
    };
    main();`;
}

interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly out: string;
  /** Milliseconds from the line "now" to the end. */
  readonly after: number;
}

function run(source: string, flags: readonly string[] = []): Promise<Ended> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [...flags, '-e', source], { stdio: ['ignore', 'pipe', 'pipe'] });
    let out = '';
    let said = performance.now();
    const listen = (chunk: Buffer): void => {
      if (out === '') said = performance.now();
      out += chunk.toString();
    };
    child.stdout.on('data', listen);
    child.stderr.on('data', listen);
    child.on('exit', (code, signal) => resolve({ code, signal, out, after: performance.now() - said }));
  });
}

const now = `require('fs').writeSync(1, 'now\\n');`;

/** What a process does while a step runs, its exit code, and whether it ends at once. */
const ends: readonly (readonly [string, string, number])[] = [
  ['process.exit with a code', `step(); step(); setTimeout(() => { ${now} process.exit(7); }, 10);`, 7],
  ['an uncaught exception', `step(); step(); setTimeout(() => { ${now} throw new Error('on purpose'); }, 10);`, 1],
  ['an unhandled rejection', `step(); await step(); ${now} executable.run([-1]);`, 1],
  ['exit from the callback of a step', `step(); step().then(() => { ${now} process.exit(5); }); step();`, 5],
  ['exit while it compiles', `model.compile(program, io); model.compile(program, io); ${now} process.exit(3);`, 3],
  ['exit after dispose, unawaited', `step(); model.dispose(); ${now} process.exit(4);`, 4],
  ['the natural end with a loaded idle model', `await step(); ${now}`, 0],
  ['process.exitCode', `await step(); ${now} process.exitCode = 9;`, 9],
];

describe('a process that ends', () => {
  it.each(ends)('by %s keeps its exit code and ends at once', async (_, then, code) => {
    const ended = await run(script(512, then));
    expect({ code: ended.code, signal: ended.signal }, ended.out).toEqual({ code, signal: null });
    expect(ended.after).toBeLessThan(500);
  });

  it('has flat memory over repeated open, compile, run and dispose', async () => {
    const source = script(
      256,
      `
      const round = async (n) => {
        for (const v of program.values) if (v.weight) v.weight.seed += 1000;
        const model = await native.open('cpu', {});
        const compiled = await model.compile(program, io);
        await compiled.run([128]);
        await model.dispose();
      };
      const resident = async () => {
        for (let i = 0; i < 5; i++) { gc(); await new Promise((r) => setTimeout(r, 10)); }
        return process.memoryUsage().rss;
      };
      for (let i = 0; i < 40; i++) await round();
      // A leak shows in every stretch; what the collector leaves lying about does not.
      let [least, before] = [Infinity, await resident()];
      for (let stretch = 0; stretch < 3; stretch++) {
        for (let i = 0; i < 50; i++) await round();
        const after = await resident();
        least = Math.min(least, (after - before) / 50);
        before = after;
      }
      require('fs').writeSync(1, String(Math.round(least)));`,
      4,
    );
    const ended = await run(source, ['--expose-gc']);
    expect(ended.code, ended.out).toBe(0);
    // Each round packs 1 MiB and makes as much again of arena and buffers.
    expect(Number(ended.out)).toBeLessThan(16 * 1024);
  });

  it('waits for steps that are pending at its natural end', async () => {
    const ended = await run(script(256, `step().then((r) => { require('fs').writeSync(1, 'steps ' + r.steps); });`));
    expect(ended).toMatchObject({ code: 0, out: 'steps 1' });
  });
});

/** A worker; `ready` at its first message, `ended` gives its exit code. */
function startWorker(then: string): { worker: Worker; ready: Promise<void>; ended: Promise<number> } {
  const worker = new Worker(script(256, then), { eval: true });
  worker.on('error', () => {});
  return {
    worker,
    ready: new Promise((resolve) => worker.once('message', resolve)),
    ended: new Promise((resolve) => worker.on('exit', resolve)),
  };
}

/** Steps without end, two at a time; says when the first is done. */
const forever = `await step(); require('worker_threads').parentPort.postMessage('runs');
  for (;;) await Promise.all([step(), step()]);`;
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

describe('worker threads', () => {
  it('40 workers terminated at random times leave the process and the other models whole', async () => {
    const model = await DeviceModel.open('cpu');
    const executable = await model.compile(tower(256, 4));
    const x = new Float32Array(8 * 256).fill(1);
    const expected = (await executable.run({ rows: 8 }, { x })).outputs.y;
    for (let round = 0; round < 10; round++) {
      const started = Array.from({ length: 4 }, () => startWorker(forever));
      const codes = await Promise.all(
        started.map(async ({ worker, ready, ended }, i) => {
          // One of them while it starts, the others in the middle of a step.
          if (i > 0) await ready;
          await pause(i === 0 ? round * 17 : (round * 7 + i * 11) % 40);
          await worker.terminate();
          return ended;
        }),
      );
      // Node gives 0 to a worker that had not started yet.
      expect(codes.slice(1)).toEqual([1, 1, 1]);
      expect([0, 1]).toContain(codes[0]);
      expect((await executable.run({ rows: 8 }, { x })).outputs.y).toEqual(expected);
    }
    await model.dispose();
  });

  it('workers that end by themselves, by an error or by process.exit while steps run', async () => {
    const started = [
      startWorker(`await step();`),
      startWorker(`step(); process.exit(6);`),
      startWorker(`step(); step(); throw new Error('on purpose');`),
      startWorker(`model.compile(program, io); process.exit(2);`),
    ];
    expect(await Promise.all(started.map((s) => s.ended))).toEqual([0, 6, 1, 2]);
  });

  it('a process that loads the addon only in workers lives on when they end, and ends well itself', async () => {
    const inner = script(256, forever);
    const ended = await run(`
      const { Worker } = require('worker_threads');
      const source = ${JSON.stringify(inner)};
      const round = async (n) => {
        const workers = Array.from({ length: 3 }, () => new Worker(source, { eval: true }));
        await new Promise((r) => setTimeout(r, 40 + 30 * n));
        await Promise.all(workers.map((w) => w.terminate()));
        await new Promise((r) => setTimeout(r, 20));
      };
      (async () => {
        for (let n = 0; n < 4; n++) await round(n);
        const last = new Worker(source, { eval: true });
        setTimeout(() => { ${now} process.exit(8); }, 150);
      })();`);
    expect({ code: ended.code, signal: ended.signal }, ended.out).toEqual({ code: 8, signal: null });
    expect(ended.after).toBeLessThan(500);
  });

  it('shares packed weights between threads without mixing their states', async () => {
    const check = `const a = await step(); const b = await step();
      if (Buffer.compare(Buffer.from(a.outputs.y.buffer), Buffer.from(b.outputs.y.buffer)) !== 0) process.exit(11);`;
    const started = Array.from({ length: 4 }, () => startWorker(check));
    expect(await Promise.all(started.map((s) => s.ended))).toEqual([0, 0, 0, 0]);
  });
});
