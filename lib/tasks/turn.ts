/** Milliseconds on the event loop before others have their turn. */
const slice = 4;

/** Pauses where this turn of the event loop has gone on for long. */
export class Turn {
  #since = performance.now();

  async next(): Promise<void> {
    if (performance.now() - this.#since < slice) return;
    await new Promise<void>((resolve) => setImmediate(resolve));
    this.#since = performance.now();
  }
}
