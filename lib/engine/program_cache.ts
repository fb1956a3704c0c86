import type { Program } from '../graph/program.js';
import type { DeviceModel, Executable } from '../runtime/executable.js';

/** Programs that are kept ready. */
const most = 16;

/** A program that is there while it runs, made again when it had to give way. */
export interface Runner extends Pick<Executable, 'run'> {
  /** Compiles it. Throws what that throws. */
  ready(): Promise<void>;
  /** Does something with the compiled program, which stays until that is done. */
  use<T>(body: (executable: Executable) => Promise<T>): Promise<T>;
}

interface Entry {
  readonly executable: Promise<Executable>;
  users: number;
  stale: boolean;
}

/** The programs last used of those that a model's callers ask for in ever new forms; the others' memory is freed. */
export class ProgramCache {
  readonly #model: DeviceModel;
  /** The longest unused first. */
  readonly #entries = new Map<string, Entry>();

  constructor(model: DeviceModel) {
    this.#model = model;
  }

  get(name: string, make: () => Program): Runner {
    return {
      ready: () => this.#use(name, make, () => Promise.resolve()),
      use: (body) => this.#use(name, make, body),
      run: (dims, inputs, k) => this.#use(name, make, (executable) => executable.run(dims, inputs, k)),
    };
  }

  async #use<T>(name: string, make: () => Program, body: (executable: Executable) => Promise<T>): Promise<T> {
    const entry = this.#entry(name, make);
    entry.users++;
    try {
      return await body(await entry.executable);
    } finally {
      entry.users--;
      this.#free(entry);
    }
  }

  #entry(name: string, make: () => Program): Entry {
    const entry = this.#entries.get(name) ?? { executable: this.#model.compile(make()), users: 0, stale: false };
    entry.executable.catch(() => this.#entries.delete(name));
    this.#entries.delete(name);
    this.#entries.set(name, entry);
    for (const old of [...this.#entries.keys()].slice(0, -most)) this.#evict(old);
    return entry;
  }

  #evict(name: string): void {
    const entry = this.#entries.get(name)!;
    this.#entries.delete(name);
    entry.stale = true;
    this.#free(entry);
  }

  #free(entry: Entry): void {
    if (!entry.stale || entry.users > 0) return;
    // A program that was never made, or whose model is gone, holds nothing.
    entry.executable.then((executable) => executable.dispose()).catch(() => undefined);
  }
}
