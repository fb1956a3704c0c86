import type { Program } from '../graph/program.js';
import type { DeviceModel, Executable } from '../runtime/executable.js';

/** Programs that are kept ready. */
const most = 16;

/** The programs last used of those that a model's callers ask for in ever new forms. */
export class ProgramCache {
  readonly #model: DeviceModel;
  /** The longest unused first. */
  readonly #programs = new Map<string, Promise<Executable>>();

  constructor(model: DeviceModel) {
    this.#model = model;
  }

  get(name: string, make: () => Program): Promise<Executable> {
    const made = this.#programs.get(name) ?? this.#model.compile(make());
    made.catch(() => this.#programs.delete(name));
    this.#programs.delete(name);
    this.#programs.set(name, made);
    for (const old of [...this.#programs.keys()].slice(0, -most)) this.#programs.delete(old);
    return made;
  }
}
