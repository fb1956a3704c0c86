/** A text being rewritten that knows, for each of its characters, which stretch of the original text it comes from. */

export class Aligned {
  readonly text: string;
  private readonly begins: Int32Array;
  private readonly ends: Int32Array;
  /** Entry of `begins` and `ends` that belongs to text[0]: slices share the arrays. */
  private readonly from: number;
  /** Where this text begins in the original: what is put before all of its characters stands there. */
  readonly origin: number;

  constructor(text: string, begins: Int32Array, ends: Int32Array, from: number, origin: number) {
    this.text = text;
    this.begins = begins;
    this.ends = ends;
    this.from = from;
    this.origin = origin;
  }

  /** A stretch of the original text that begins at `origin`, as it stands. */
  static original(text: string, origin: number): Aligned {
    const begins = new Int32Array(text.length);
    const ends = new Int32Array(text.length);
    for (let i = 0; i < text.length; ) {
      const end = nextCharacter(text, i);
      begins.fill(origin + i, i, end);
      ends.fill(origin + end, i, end);
      i = end;
    }
    return new Aligned(text, begins, ends, 0, origin);
  }

  /** Begin in the original of the character at `unit`. */
  begin(unit: number): number {
    return this.begins[this.from + unit] as number;
  }

  /** End in the original of the character at `unit`. */
  end(unit: number): number {
    return this.ends[this.from + unit] as number;
  }

  slice(from: number, to: number): Aligned {
    if (from === 0 && to === this.text.length) return this;
    const origin = from < to ? this.begin(from) : this.origin;
    return new Aligned(this.text.slice(from, to), this.begins, this.ends, this.from + from, origin);
  }

  /** Copies the entries of text[from .. to] into two lists at `at`. */
  copyTo(begins: Int32Array, ends: Int32Array, at: number, from: number, to: number): void {
    begins.set(this.begins.subarray(this.from + from, this.from + to), at);
    ends.set(this.ends.subarray(this.from + from, this.from + to), at);
  }
}

/** End of the character at `unit`: one code point, so one or two units. */
export function nextCharacter(text: string, unit: number): number {
  return unit + ((text.codePointAt(unit) as number) > 0xffff ? 2 : 1);
}

/** Builds a rewritten text from left to right. A put character takes the place of one of the source or is new. */
export class Rewriter {
  private readonly source: Aligned;
  private out = '';
  private begins: Int32Array;
  private ends: Int32Array;
  private length = 0;
  /** Unit of the source that is next to be replaced, kept or skipped. */
  private at = 0;

  constructor(source: Aligned) {
    this.source = source;
    this.begins = new Int32Array(source.text.length + 16);
    this.ends = new Int32Array(source.text.length + 16);
  }

  /**
   * Appends one character. `change` 1: it is new and belongs to the source character before; 0: it replaces the next
   * one; −n: it replaces the next one, and n more after it go.
   */
  put(character: string, change: number): void {
    const { source } = this;
    const last = change > 0 ? this.at - 1 : Math.min(this.at, source.text.length - 1);
    const begin = last < 0 ? source.origin : source.begin(last);
    const end = last < 0 ? source.origin : source.end(last);
    this.reserve(character.length);
    for (let i = 0; i < character.length; i += 1) {
      this.begins[this.length] = begin;
      this.ends[this.length] = end;
      this.length += 1;
    }
    this.out += character;
    if (change <= 0) this.skipCharacters(1 - change);
  }

  /** Keeps the next `units` of the source. */
  keep(units: number): void {
    if (units <= 0) return;
    this.reserve(units);
    this.source.copyTo(this.begins, this.ends, this.length, this.at, this.at + units);
    this.out += this.source.text.slice(this.at, this.at + units);
    this.length += units;
    this.at += units;
  }

  /** Leaves out the next `units` of the source. */
  skip(units: number): void {
    this.at += units;
  }

  /** Leaves out the next `count` characters of the source. */
  skipCharacters(count: number): void {
    const { text } = this.source;
    for (let i = 0; i < count && this.at < text.length; i += 1) this.at = nextCharacter(text, this.at);
  }

  done(): Aligned {
    return new Aligned(this.out, this.begins, this.ends, 0, this.source.origin);
  }

  private reserve(units: number): void {
    const needed = this.length + units;
    if (needed <= this.begins.length) return;
    const size = Math.max(needed, 2 * this.begins.length);
    const [begins, ends] = [new Int32Array(size), new Int32Array(size)];
    begins.set(this.begins.subarray(0, this.length));
    ends.set(this.ends.subarray(0, this.length));
    this.begins = begins;
    this.ends = ends;
  }
}
