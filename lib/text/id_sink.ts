/** Growing lists of ids and of spans. */
export class IdSink {
  private ids = new Int32Array(256);
  length = 0;

  push(id: number): void {
    if (this.length === this.ids.length) this.grow(1);
    this.ids[this.length] = id;
    this.length += 1;
  }

  pushAll(ids: Int32Array | readonly number[]): void {
    if (this.length + ids.length > this.ids.length) this.grow(ids.length);
    this.ids.set(ids, this.length);
    this.length += ids.length;
  }

  get(i: number): number {
    return this.ids[i] as number;
  }

  /** Ids from `start` on, as a copy. */
  slice(start: number): Int32Array {
    return this.ids.slice(start, this.length);
  }

  private grow(extra: number): void {
    const larger = new Int32Array(Math.max(this.length + extra, 2 * this.ids.length));
    larger.set(this.ids);
    this.ids = larger;
  }
}

/** A growing list of [begin, end] pairs. */
export class SpanSink {
  private readonly values = new IdSink();

  get length(): number {
    return this.values.length / 2;
  }

  push(begin: number, end: number): void {
    this.values.push(begin);
    this.values.push(end);
  }

  begin(i: number): number {
    return this.values.get(2 * i);
  }

  end(i: number): number {
    return this.values.get(2 * i + 1);
  }

  /** Keeps the first `length` spans. */
  truncate(length: number): void {
    this.values.length = 2 * length;
  }
}
