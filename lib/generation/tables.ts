/** Parameters of a batch of draws, as the inputs of the `sample` op. */
import { sampleIntegerColumns, sampleNumberColumns } from '../ops/sample.js';
import type { ResolvedOptions } from './resolve.js';

export { sampleIntegerColumns, sampleNumberColumns };

/** One draw: a row of logits. */
export interface SampleRow {
  readonly options: ResolvedOptions;
  /** Which of the n completions. */
  readonly sampleIndex: number;
  /** Ids of the prompt: what comes after is generated. */
  readonly promptLength: number;
  /** Mirostat's state; 2 tau before the first draw, then what the op returned. */
  readonly mu?: number | undefined;
  /** Of a beam: how many of the most likely ids it wants. */
  readonly candidates?: number | undefined;
}

type NumberColumn = (typeof sampleNumberColumns)[number];
type IntegerColumn = (typeof sampleIntegerColumns)[number];

function numbersOf(row: SampleRow): Record<NumberColumn, number> {
  const o = row.options;
  return {
    temperature: o.temperature,
    top_p: o.topP,
    min_p: o.minP,
    typical_p: o.typicalP,
    repetition_penalty: o.repetitionPenalty,
    presence_penalty: o.presencePenalty,
    frequency_penalty: o.frequencyPenalty,
    dry_multiplier: o.dry.multiplier,
    dry_base: o.dry.base,
    xtc_probability: o.xtc.probability,
    xtc_threshold: o.xtc.threshold,
    mirostat_tau: o.mirostat?.tau ?? 0,
    mirostat_eta: o.mirostat?.eta ?? 0,
    mirostat_mu: row.mu ?? 2 * (o.mirostat?.tau ?? 0),
  };
}

function integersOf(row: SampleRow): Record<IntegerColumn, number> {
  const o = row.options;
  return {
    top_k: o.topK,
    seed_low: o.seedLow,
    seed_high: o.seedHigh,
    sample_index: row.sampleIndex,
    prompt_length: row.promptLength,
    penalty_window: o.penaltyWindow,
    no_repeat_ngram: o.noRepeatNgram,
    min_new: o.minTokens,
    dry_allowed_length: o.dry.allowedLength,
    dry_range: o.dry.range,
    mirostat: o.mirostat === undefined ? 0 : 2,
    top_logprobs: row.candidates ?? o.topLogprobs,
    beam: o.beams === undefined ? 0 : o.beams.renormalize ? 2 : 1,
  };
}

type Buffer = Float32Array | Int32Array;

/** An array that keeps its memory from batch to batch. */
class Column<T extends Buffer> {
  #data: T;
  #length = 0;

  constructor(data: T) {
    this.#data = data;
  }

  clear(): void {
    this.#length = 0;
  }

  get length(): number {
    return this.#length;
  }

  push(value: number): void {
    if (this.#length === this.#data.length) {
      const larger = new (this.#data.constructor as new (length: number) => T)(2 * this.#length);
      larger.set(this.#data);
      this.#data = larger;
    }
    this.#data[this.#length++] = value;
  }

  view(): T {
    return this.#data.subarray(0, this.#length) as T;
  }
}

const floats = (): Column<Float32Array> => new Column(new Float32Array(64));
const ints = (): Column<Int32Array> => new Column(new Int32Array(64));

/** Dims of the step that these tables bring, by the names of the op's inputs in lib/ops/sample.ts. */
export interface SampleDims {
  readonly sample_bounds: number;
  readonly biases: number;
  readonly bad_bounds: number;
  readonly bads: number;
  readonly stops: number;
  readonly breakers: number;
  /** Most alternatives that a row wants. */
  readonly top: number;
}

/**
 * The parameter inputs of `sample` for a batch of rows: `fill` overwrites the batch before. Each property is a view, valid
 * until the next `fill`.
 */
export class SampleTables {
  readonly #numbers = floats();
  readonly #integers = ints();
  readonly #biasOffsets = ints();
  readonly #biasIds = ints();
  readonly #biasValues = floats();
  readonly #badOffsets = ints();
  readonly #badStarts = ints();
  readonly #badIds = ints();
  readonly #stopOffsets = ints();
  readonly #stopIds = ints();
  readonly #breakerOffsets = ints();
  readonly #breakerIds = ints();
  #top = 0;

  constructor() {
    this.fill([]);
  }

  fill(rows: readonly SampleRow[]): void {
    this.#clear();
    for (const row of rows) {
      const numbers = numbersOf(row);
      const integers = integersOf(row);
      for (const name of sampleNumberColumns) this.#numbers.push(numbers[name]);
      for (const name of sampleIntegerColumns) this.#integers.push(integers[name]);
      this.#fillLists(row.options);
      this.#top = Math.max(this.#top, row.candidates ?? row.options.topLogprobs);
    }
  }

  #clear(): void {
    const lists = [this.#biasIds, this.#biasValues, this.#badIds, this.#stopIds, this.#breakerIds];
    for (const column of [this.#numbers, this.#integers, ...lists]) column.clear();
    for (const offsets of [
      this.#biasOffsets,
      this.#badOffsets,
      this.#badStarts,
      this.#stopOffsets,
      this.#breakerOffsets,
    ]) {
      offsets.clear();
      offsets.push(0);
    }
    this.#top = 0;
  }

  #fillLists(o: ResolvedOptions): void {
    for (const id of o.biasIds) this.#biasIds.push(id);
    for (const value of o.biasValues) this.#biasValues.push(value);
    this.#biasOffsets.push(this.#biasIds.length);
    for (const word of o.badWords) {
      for (const id of word) this.#badIds.push(id);
      this.#badStarts.push(this.#badIds.length);
    }
    this.#badOffsets.push(this.#badStarts.length - 1);
    for (const id of o.stopIds) this.#stopIds.push(id);
    this.#stopOffsets.push(this.#stopIds.length);
    for (const id of o.dry.breakerIds) this.#breakerIds.push(id);
    this.#breakerOffsets.push(this.#breakerIds.length);
  }

  /** By input name. Shapes: numbers (rows, sampleNumberColumns), integers (rows, sampleIntegerColumns), the rest flat. */
  get inputs(): Record<string, Float32Array | Int32Array> {
    return {
      numbers: this.#numbers.view(),
      integers: this.#integers.view(),
      bias_offsets: this.#biasOffsets.view(),
      bias_ids: this.#biasIds.view(),
      bias_values: this.#biasValues.view(),
      bad_offsets: this.#badOffsets.view(),
      bad_starts: this.#badStarts.view(),
      bad_ids: this.#badIds.view(),
      stop_offsets: this.#stopOffsets.view(),
      stop_ids: this.#stopIds.view(),
      breaker_offsets: this.#breakerOffsets.view(),
      breaker_ids: this.#breakerIds.view(),
    };
  }

  get numbers(): Float32Array {
    return this.#numbers.view();
  }

  get integers(): Int32Array {
    return this.#integers.view();
  }

  get dims(): SampleDims {
    return {
      sample_bounds: this.#stopOffsets.length,
      biases: this.#biasIds.length,
      bad_bounds: this.#badStarts.length,
      bads: this.#badIds.length,
      stops: this.#stopIds.length,
      breakers: this.#breakerIds.length,
      top: this.#top,
    };
  }
}
