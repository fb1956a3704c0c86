import { lower } from '../graph/lower.js';
import type { Program } from '../graph/program.js';
import type { EncoderBuilder } from '../layers/encoder.js';
import type { Executable } from '../runtime/executable.js';
import type { BuiltSeq2Seq } from './build.js';
import { packEncoderStep } from './encoder_host.js';
import { type BlockTable, blocksFor, type KvBlocks } from './kv_blocks.js';
import type { StepArrays } from './step_inputs.js';

/** What an encoder reads: ids, and where they stand in a padded text if not at 0, 1, … */
export interface SourceIds {
  /** Of a spectrogram: as many zeros as it has rows. */
  readonly ids: Int32Array;
  /** A spectrogram (frames, bands), `stride` frames to a row, in place of ids. */
  readonly features?: Float32Array | undefined;
  readonly places?: ArrayLike<number> | undefined;
  readonly positions?: ArrayLike<number> | undefined;
}

/** The text of a request of an encoder-decoder: read once, its keys and values kept until all completions are done. */
export interface SourceText extends SourceIds {
  readonly table: BlockTable;
  encoded: boolean;
  /** Completions that read it. */
  users: number;
}

/** The spectrograms of a step one after another; nothing for an encoder of ids. */
export function packFrames(builder: EncoderBuilder, sources: readonly SourceIds[]): StepArrays {
  if (builder.spectrogram === undefined) return { dims: {}, inputs: {} };
  const { bands } = builder.spectrogram;
  const parts = sources.map((source) => source.features ?? new Float32Array(0));
  const all = new Float32Array(parts.reduce((n, part) => n + part.length, 0));
  const starts = new Int32Array(parts.length + 1);
  for (const [s, part] of parts.entries()) {
    all.set(part, starts[s]! * bands);
    starts[s + 1] = starts[s]! + part.length / bands;
  }
  return { dims: { frames: starts[parts.length]! }, inputs: { input_features: all, frame_starts: starts } };
}

/** The program that reads texts and leaves keys and values for cross-attention. */
export function encodeProgram(built: BuiltSeq2Seq, compute?: string, outputs: readonly string[] = []): Program {
  const options = compute === undefined ? {} : { compute };
  return lower(built.builder.encoder.graph, { name: 'encode', outputs, ...options });
}

/** The encoder's side of an engine: blocks of cross-attention, and the steps that fill them. */
export class TextReader {
  readonly blocks: KvBlocks;
  readonly #built: BuiltSeq2Seq;
  readonly #executable: Executable;
  readonly #stepRows: number;
  readonly #show: (outputs: readonly string[]) => Pick<Executable, 'run'>;

  /** `show`: the program that gives these outputs besides. */
  constructor(
    built: BuiltSeq2Seq,
    executable: Executable,
    blocks: KvBlocks,
    stepRows: number,
    show: (outputs: readonly string[]) => Pick<Executable, 'run'>,
  ) {
    this.#show = show;
    this.#built = built;
    this.#executable = executable;
    this.blocks = blocks;
    this.#stepRows = stepRows;
  }

  /** Room for a text; undefined while there is none. */
  open(source: SourceIds): SourceText | undefined {
    const table = this.blocks.open(source.ids.length);
    return table === undefined ? undefined : { ...source, table, encoded: false, users: 1 };
  }

  close(text: SourceText): void {
    if (--text.users === 0) text.table.close();
  }

  /** Reads texts, as many at once as fit a step. */
  async encode(texts: readonly SourceText[]): Promise<void> {
    for (let from = 0, to: number; from < texts.length; from = to) {
      let rows = texts[from]!.ids.length;
      for (to = from + 1; to < texts.length && rows + texts[to]!.ids.length <= this.#stepRows; to++)
        rows += texts[to]!.ids.length;
      await this.#step(texts.slice(from, to));
    }
  }

  /** Reads one text by itself and gives these outputs of the encoder's graph. */
  show(text: SourceText, outputs: readonly string[]): Promise<Record<string, Float32Array>> {
    return this.#step([text], outputs);
  }

  async #step(texts: readonly SourceText[], outputs: readonly string[] = []): Promise<Record<string, Float32Array>> {
    const executable = outputs.length === 0 ? this.#executable : this.#show(outputs);
    for (const text of texts) text.table.write(0, text.ids.length);
    const { dims, inputs } = packEncoderStep(this.#built.builder.encoder, texts);
    const rows = dims.rows!;
    const columns = texts.reduce((n, t) => Math.max(n, t.table.blocks.length), 1);
    const [positions, seqIds, table] = [
      new Int32Array(rows),
      new Int32Array(rows),
      new Int32Array(texts.length * columns),
    ];
    let row = 0;
    for (const [s, text] of texts.entries()) {
      table.set(text.table.blocks, s * columns);
      for (let i = 0; i < text.ids.length; i++, row++) {
        positions[row] = i;
        seqIds[row] = s;
      }
    }
    const cross = { cross_positions: positions, seq_ids: seqIds, table_cross: table };
    const frames = packFrames(this.#built.builder.encoder, texts);
    const sizes = { ...dims, ...frames.dims, keys: rows, cross_columns: columns };
    const result = await executable.run(sizes, { ...inputs, ...frames.inputs, ...cross });
    for (const text of texts) text.encoded = true;
    return result.outputs as Record<string, Float32Array>;
  }
}

/** Rows of one sequence in a decoder step, and the text that it attends to. */
export interface TextShare {
  readonly sequence: { readonly text: SourceText | undefined };
  readonly rows: number;
}

/**
 * Adds to a decoder step where each sequence's text lies. Native wants block tables to span what k steps could reach, of
 * texts too.
 */
export function addTexts(step: StepArrays, shares: readonly TextShare[], k: number): void {
  const texts = shares.map((share) => share.sequence.text!);
  const columns = texts.reduce((n, t) => Math.max(n, blocksFor(t.ids.length + k - 1)), 1);
  const table = new Int32Array(texts.length * columns);
  const last = new Int32Array(shares.reduce((n, share) => n + share.rows, 0));
  let row = 0;
  for (const [s, text] of texts.entries()) {
    table.set(text.table.blocks, s * columns);
    last.fill(text.ids.length - 1, row, row + shares[s]!.rows);
    row += shares[s]!.rows;
  }
  step.dims.cross_columns = columns;
  Object.assign(step.inputs, { table_cross: table, cross_last: last });
}
