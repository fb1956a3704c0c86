import { changeInput, neutral, type ProbeSpec, shownName } from './probes.js';
import type { Share } from './scheduler.js';
import type { StepArrays } from './step_inputs.js';

/** What a request wants to see of each step; numbers of layers, checked. */
export interface ResolvedTrace {
  readonly attentions: readonly number[];
  readonly crossAttentions: readonly number[];
  readonly hiddenStates: readonly number[];
  /** Undefined: all of them. */
  readonly heads: readonly number[] | undefined;
  /** All rows of the prompt, not only its last. */
  readonly prompt: boolean;
}

/** What a request sees and changes of the inside, checked. */
export interface ResolvedProbe {
  readonly trace: ResolvedTrace | undefined;
  /** By output name (see ProbeSpec), what is added or multiplied: (cols). */
  readonly changes: ReadonlyMap<string, Float32Array>;
  /** Equal for equal changes, empty without: a cache made under others is of no use. */
  readonly signature: string;
}

export interface StepTensor {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

/** What one step computed of one sequence, seen from inside; a prompt may come in several. */
export interface StepTrace {
  /** Position in the sequence of the first of its rows. */
  readonly from: number;
  /** How many: 1 where an id was drawn from the one before. */
  readonly rows: number;
  /** By layer: (heads, rows, from + rows), after softmax. */
  readonly attentions: ReadonlyMap<number, StepTensor>;
  /** By layer: (heads, rows, tokens of the text), of an encoder-decoder. */
  readonly crossAttentions: ReadonlyMap<number, StepTensor>;
  /** By number: (rows, hidden). */
  readonly hiddenStates: ReadonlyMap<number, StepTensor>;
}

/** Names of the outputs that a trace shows. */
export function shownBy(trace: ResolvedTrace): string[] {
  return [
    ...trace.attentions.map((i) => `attentions.${i}`),
    ...trace.crossAttentions.map((i) => `cross_attentions.${i}`),
    ...trace.hiddenStates.map((i) => `hidden_states.${i}`),
  ];
}

/** Changes that act on all rows of a step. */
export function fillChanges(step: StepArrays, changes: ReadonlyMap<string, Float32Array>): void {
  step.dims.probes = 1;
  step.inputs.probe_rows = new Int32Array(step.dims.rows!);
  for (const [name, change] of changes) step.inputs[changeInput(name)] = change;
}

/** What a program for this request alone would be. */
export function specOf(probe: ResolvedProbe): ProbeSpec {
  const shown = probe.trace === undefined ? [] : shownBy(probe.trace);
  return { shown: shown.sort(), changed: [...probe.changes.keys()].sort() };
}

/** Rows of this step that a sequence shows: of a prompt all or the last, then each. */
function shownRows({ sequence: s, rows, samples }: Share): number {
  const trace = s.request.probe?.trace;
  if (trace === undefined) return 0;
  if (trace.prompt && s.generated === 0) return rows;
  return samples ? 1 : 0;
}

/** The part of one step that requests with probes have in it. */
export class ProbeStep {
  readonly spec: ProbeSpec;
  readonly #shares: readonly Share[];
  readonly #rows: readonly number[];
  /** Most keys that a shown row sees, of its own sequence and of its text. */
  #keys = 1;
  #source = 1;

  private constructor(shares: readonly Share[], rows: readonly number[]) {
    const probes = shares.flatMap(({ sequence: s }) => s.request.probe ?? []);
    const traces = shares.flatMap(({ sequence: s }, i) => (rows[i]! > 0 ? s.request.probe!.trace! : []));
    this.spec = {
      shown: [...new Set(traces.flatMap(shownBy))].sort(),
      changed: [...new Set(probes.flatMap((p) => [...p.changes.keys()]))].sort(),
    };
    this.#shares = shares;
    this.#rows = rows;
  }

  /** Undefined where the step is one like any other. */
  static of(shares: readonly Share[]): ProbeStep | undefined {
    if (shares.every(({ sequence: s }) => s.request.probe === undefined)) return undefined;
    const step = new ProbeStep(shares, shares.map(shownRows));
    return step.spec.shown.length + step.spec.changed.length === 0 ? undefined : step;
  }

  /** Whether it shows anything: then one native call is one step. */
  get shows(): boolean {
    return this.spec.shown.length > 0;
  }

  /** Adds the dims and inputs that such a program has besides those of every step. `width`: columns of a change. */
  fill(step: StepArrays, width: (name: string) => number): void {
    this.#fillChanges(step, width);
    this.#fillRows(step);
  }

  /** What the step showed, by sequence in the order of the shares: kept with the sequence until its next id. */
  read(outputs: Readonly<Record<string, Float32Array | Int32Array>>): void {
    const all = this.#rows.reduce((a, b) => a + b, 0);
    let first = 0;
    for (const [i, { sequence: s, rows }] of this.#shares.entries()) {
      const count = this.#rows[i]!;
      if (count === 0) continue;
      const trace = s.request.probe!.trace!;
      const { heads } = trace;
      const maps = (name: string, keys: number): StepTensor =>
        cutMap(outputs[shownName(name)] as Float32Array, { all, first, count, most: this.#most(name), keys, heads });
      const end = s.cached + rows;
      const source = s.text?.ids.length ?? 0;
      s.traces.push({
        from: end - count,
        rows: count,
        attentions: new Map(trace.attentions.map((l) => [l, maps(`attentions.${l}`, end)])),
        crossAttentions: new Map(trace.crossAttentions.map((l) => [l, maps(`cross_attentions.${l}`, source)])),
        hiddenStates: new Map(
          trace.hiddenStates.map((l) => {
            const data = outputs[shownName(`hidden_states.${l}`)] as Float32Array;
            const width = data.length / all;
            return [l, { shape: [count, width], data: data.slice(first * width, (first + count) * width) }];
          }),
        ),
      });
      first += count;
    }
  }

  /** A table for each change: row 0 changes nothing, then one for each sequence with a probe. */
  #fillChanges(step: StepArrays, width: (name: string) => number): void {
    const probed = this.#shares.filter(({ sequence: s }) => s.request.probe !== undefined);
    const rowsOf = new Int32Array(step.dims.rows!);
    let row = 0;
    for (const { sequence: s, rows } of this.#shares) {
      rowsOf.fill(probed.findIndex((p) => p.sequence === s) + 1, row, row + rows);
      row += rows;
    }
    step.dims.probes = probed.length + 1;
    step.inputs.probe_rows = rowsOf;
    for (const name of this.spec.changed) {
      const cols = width(name);
      const table = new Float32Array((probed.length + 1) * cols).fill(neutral(name));
      for (const [i, { sequence: s }] of probed.entries()) {
        const change = s.request.probe!.changes.get(name);
        if (change !== undefined) table.set(change, (i + 1) * cols);
      }
      step.inputs[changeInput(name)] = table;
    }
  }

  #most(name: string): number {
    return name.startsWith('cross_') ? this.#source : this.#keys;
  }

  #fillRows(step: StepArrays): void {
    const all = this.#rows.reduce((a, b) => a + b, 0);
    const [rows, positions, last] = [new Int32Array(all), new Int32Array(all), new Int32Array(all)];
    const starts = new Int32Array(this.#shares.length + 1);
    let [row, at, keys, source] = [0, 0, 1, 1];
    for (const [i, { sequence: s, rows: own }] of this.#shares.entries()) {
      const count = this.#rows[i]!;
      const text = s.text?.ids.length ?? 0;
      for (let r = own - count; r < own; r++, at++) {
        rows[at] = row + r;
        positions[at] = s.cached + r;
        last[at] = text - 1;
      }
      if (count > 0) [keys, source] = [Math.max(keys, s.cached + own), Math.max(source, text)];
      starts[i + 1] = at;
      row += own;
    }
    [this.#keys, this.#source] = [keys, source];
    Object.assign(step.dims, { shown_rows: all, shown_keys: keys, shown_source_keys: source });
    Object.assign(step.inputs, {
      shown_rows: rows,
      shown_positions: positions,
      shown_last: last,
      shown_starts: starts,
    });
  }
}

interface MapPart {
  /** Rows of the whole map, and which of them. */
  readonly all: number;
  readonly first: number;
  readonly count: number;
  /** Columns of the whole map, and how many of them, from the first. */
  readonly most: number;
  readonly keys: number;
  readonly heads: readonly number[] | undefined;
}

/** Rows, columns and heads of a map (heads, all, most) → (heads, count, keys). */
export function cutMap(data: Float32Array, { all, first, count, most, keys, heads }: MapPart): StepTensor {
  const total = data.length / (all * most);
  const kept = heads ?? Array.from({ length: total }, (_, h) => h);
  const cut = new Float32Array(kept.length * count * keys);
  for (const [h, head] of kept.entries()) {
    const from = (head * all + first) * most;
    if (keys === most) cut.set(data.subarray(from, from + count * keys), h * count * keys);
    else
      for (let r = 0; r < count; r++)
        cut.set(data.subarray(from + r * most, from + r * most + keys), (h * count + r) * keys);
  }
  return { shape: [kept.length, count, keys], data: cut };
}
