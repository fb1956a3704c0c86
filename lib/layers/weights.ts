import { TensorMissingError, TensorShapeError, TensorUnusedError, UnsupportedError } from '../errors.js';
import { isWeightDType, type WeightDType } from '../graph/dtype.js';
import type { Graph, Weight } from '../graph/graph.js';
import type { Dim } from '../graph/shape.js';
import {
  cast,
  concatRows,
  permuteRows,
  sliceRows,
  taps as tapsOf,
  transpose,
  type WeightExpr,
  weightNorm,
} from '../graph/weight_expr.js';

/** One tensor of a checkpoint as a source can give it. */
export interface SourceTensor {
  /** Name under which the file holds it. */
  readonly name: string;
  readonly dtype: string;
  /** Outermost first; undefined: whatever the model asks for (random weights). */
  readonly shape: readonly number[] | undefined;
  /** The stored bytes as a matrix of these sizes; their product is that of `shape`. */
  expr(dtype: WeightExpr['dtype'], rows: number, cols: number): WeightExpr;
}

/** Where a model's weights come from, under Hugging Face's published names. */
export interface WeightSource {
  /** gguf: norms of Gemma hold 1 + w, GPT-2's matrices are (out, in), llama's q and k rows are interleaved. */
  readonly kind: 'safetensors' | 'pytorch' | 'gguf' | 'random';
  /** For messages. */
  readonly file: string;
  /** Names as the file has them. */
  readonly names: Iterable<string>;
  /** Undefined: no such tensor. */
  find(name: string): SourceTensor | undefined;
  /**
   * Type that a matrix is packed in, by its published name and columns, where it is not the stored one: `wanted` by the
   * rules of quantisation, `type` where that does not divide the columns into blocks.
   */
  readonly quantize?:
    | ((name: string, cols: number) => { readonly wanted: WeightDType; readonly type: WeightDType })
    | undefined;
}

/** A matrix of the checkpoint as it is packed. */
export interface PackedMatrix {
  readonly name: string;
  readonly rows: number;
  readonly cols: number;
  /** Type in the file. */
  readonly stored: WeightDType;
  /** Type that the rules of quantisation ask for; differs from `type` where `cols` does not divide into its blocks. */
  readonly wanted: WeightDType;
  readonly type: WeightDType;
}

/** Rows of a fused tensor that is stored head by head: [heads, of, head_dim]. */
export interface HeadRows {
  /** Which of the `of` parts of each head: 0, 1, 2 are q, k, v of GPT-NeoX and BLOOM. */
  readonly index: number;
  /** Neighbouring parts that are taken together, default 1: the query heads of a key head in Falcon. */
  readonly count?: number;
  readonly of: number;
  readonly heads: number;
  readonly headDim: number;
}

export interface MatrixOptions {
  /** The file holds (in, out), as GPT-2's Conv1D does; in GGUF it is (out, in) all the same. */
  readonly conv1d?: boolean;
  /** Only rows begin … of a fused tensor with `of` rows in all. */
  readonly part?: { readonly begin: number; readonly of: number };
  /** Only one part of each head of a fused tensor; GGUF stores these parts one after another, like `part`. */
  readonly perHead?: HeadRows | undefined;
  /** Heads whose rows GGUF stores interleaved. */
  readonly ggufHeads?: number | undefined;
  /** Stays in its stored type when the model is quantised: learned positions, routers. */
  readonly exact?: boolean;
}

interface Shared {
  readonly used: Set<string>;
  readonly made: Map<string, Weight>;
  readonly matrices: Map<string, PackedMatrix>;
  readonly layouts: Map<string, MatrixOptions>;
}

/** Rows of the stored tensor that `options` takes a part of; undefined: it takes all. */
function fusedRows({ part, perHead }: MatrixOptions): number | undefined {
  return perHead === undefined ? part?.of : perHead.heads * perHead.of * perHead.headDim;
}

/** (heads · of · head_dim, cols) → (heads · count · head_dim, cols). */
function headRows(stored: WeightExpr, { index, count = 1, of, heads, headDim }: HeadRows): WeightExpr {
  const slice = (h: number): WeightExpr => sliceRows(stored, (h * of + index) * headDim, count * headDim);
  return concatRows(Array.from({ length: heads }, (_, h) => slice(h)));
}

/** All rows of a tensor stored head by head in GGUF's order: those of all queries, all keys, all values. */
export function separatedHeads(stored: WeightExpr, layout: HeadRows): WeightExpr {
  const rows = (index: number, count: number): WeightExpr => headRows(stored, { ...layout, index, count });
  return concatRows([rows(0, layout.of - 2), rows(layout.of - 2, 1), rows(layout.of - 1, 1)]);
}

/** A cursor over published tensor names: `weights.at('model.layers.0').at('self_attn').matrix('q_proj.weight', …)`. */
export class Weights {
  readonly source: WeightSource;
  readonly prefix: string;
  readonly #graph: Graph;
  readonly #shared: Shared;

  constructor(
    graph: Graph,
    source: WeightSource,
    prefix = '',
    shared: Shared = { used: new Set(), made: new Map(), matrices: new Map(), layouts: new Map() },
  ) {
    this.#graph = graph;
    this.source = source;
    this.prefix = prefix;
    this.#shared = shared;
  }

  /** The same checkpoint for another graph of the model: what either uses counts as used. */
  forGraph(graph: Graph): Weights {
    return new Weights(graph, this.source, this.prefix, { ...this.#shared, made: new Map() });
  }

  at(name: string): Weights {
    return new Weights(this.#graph, this.source, this.#full(name), this.#shared);
  }

  /** Goes into `name` if the checkpoint's names start with it: files with and without the base model's prefix. */
  atIfPresent(name: string): Weights {
    if (this.source.kind === 'random' || this.source.kind === 'gguf') return this.at(name);
    for (const n of this.source.names) if (n.startsWith(`${this.#full(name)}.`)) return this.at(name);
    return this;
  }

  has(name: string): boolean {
    return this.source.find(this.#full(name)) !== undefined;
  }

  /** A vector (n): norm weight or bias. */
  vector<N extends string>(name: string, n: Dim<N>, options: MatrixOptions = {}): Weight<[N]> {
    const full = this.#full(name);
    return this.#remember<[N]>(full, [n], options, () => {
      const size = n.size ?? 0;
      const stored = fusedRows(options) ?? size;
      const tensor = this.#find(full, [stored]);
      const expr = tensor.expr(this.#dtype(full, tensor), stored, 1);
      return this.#rowsOf(expr, options, size);
    });
  }

  /** A matrix (out, in) for `linear` or `embed`. */
  matrix<O extends string, I extends string>(
    name: string,
    out: Dim<O>,
    into: Dim<I>,
    options: MatrixOptions = {},
  ): Weight<[O, I]> {
    const full = this.#full(name);
    return this.#remember<[O, I]>(full, [out, into], options, () =>
      this.#matrix(full, out.size ?? 0, into.size ?? 0, options),
    );
  }

  /**
   * The matrices of `count` experts under each other, (experts · each, in) for `moe`: * in `name` stands for an expert's
   * number. GGUF holds them as one tensor (experts, each, in).
   */
  experts<O extends string, I extends string>(name: string, count: number, out: Dim<O>, into: Dim<I>): Weight<[O, I]> {
    const full = this.#full(name);
    return this.#remember<[O, I]>(full, [out, into], {}, () => {
      const [rows, cols] = [out.size ?? 0, into.size ?? 0];
      const each = rows / count;
      if (this.source.kind !== 'gguf')
        return concatRows(
          Array.from({ length: count }, (_, e) => this.#matrix(full.replace('*', String(e)), each, cols, {})),
        );
      const tensor = this.#find(full, [count, each, cols]);
      return this.#packed(full, tensor.expr(this.#dtype(full, tensor), rows, cols), false);
    });
  }

  /** A convolution that is stored as (out, in / groups, kernel), for `conv1d`: (out, kernel · in / groups); never quantised. */
  conv<O extends string, T extends string>(name: string, out: Dim<O>, into: number, taps: Dim<T>): Weight<[O, T]> {
    const full = this.#full(name);
    return this.#remember<[O, T]>(full, [out, taps], {}, () => {
      const [rows, cols] = [out.size ?? 0, taps.size ?? 0];
      const expr = this.#stored(full, [rows, into, cols / into], rows, cols);
      return this.#packed(full, tapsOf(expr, cols / into), true);
    });
  }

  /**
   * The same with weight norm over each tap: `names` of the directions (out, in / groups, kernel) and of the lengths
   * (1, 1, kernel).
   */
  normedConv<O extends string, T extends string>(
    names: { readonly v: string; readonly g: string },
    out: Dim<O>,
    into: number,
    taps: Dim<T>,
  ): Weight<[O, T]> {
    const full = this.#full(names.v);
    return this.#remember<[O, T]>(full, [out, taps], {}, () => {
      const [rows, cols] = [out.size ?? 0, taps.size ?? 0];
      const kernel = cols / into;
      const v = this.#stored(full, [rows, into, kernel], rows, cols);
      const g = this.#stored(this.#full(names.g), [1, 1, kernel], 1, kernel);
      return this.#packed(full, tapsOf(weightNorm(v, g), kernel), true);
    });
  }

  /** A table (rows of `from`, cols) that `make` spreads out to (rows of `to`, cols); read in f32, never quantised. */
  derived<T extends string, C extends string>(
    name: string,
    from: Dim,
    cols: Dim<C>,
    to: Dim<T>,
    make: (table: WeightExpr) => WeightExpr,
  ): Weight<[T, C]> {
    const full = this.#full(name);
    return this.#remember<[T, C]>(full, [to, cols], {}, () => {
      const [rows, width] = [from.size ?? 0, cols.size ?? 0];
      const tensor = this.#find(full, [rows, width]);
      return make(tensor.expr(this.#dtype(full, tensor), rows, width));
    });
  }

  /** Every matrix that was asked for, in that order; parts of a fused one count as one. */
  get matrices(): readonly PackedMatrix[] {
    return [...this.#shared.matrices.values()];
  }

  /** How the files lay out a tensor that was asked for, by its full name. */
  layoutOf(name: string): MatrixOptions | undefined {
    return this.#shared.layouts.get(name);
  }

  /** Throws a TensorUnusedError that lists what no weight came from, but for names that match `ignored`. */
  checkUsed(ignored: readonly RegExp[]): void {
    const unused = [...this.source.names].filter((n) => !this.#shared.used.has(n) && !ignored.some((r) => r.test(n)));
    if (unused.length === 0) return;
    throw new TensorUnusedError(
      `${unused.length} tensors are not part of this architecture: ${unused.slice(0, 20).join(', ')}${unused.length > 20 ? ', …' : ''}`,
      {
        file: this.source.file,
        hint: 'Ignoring weights would give silently wrong results',
      },
    );
  }

  /** A tensor of this shape, as a matrix. */
  #stored(full: string, shape: readonly number[], rows: number, cols: number): WeightExpr {
    const tensor = this.#find(full, shape);
    return tensor.expr(this.#dtype(full, tensor), rows, cols);
  }

  #matrix(full: string, size: number, cols: number, options: MatrixOptions): WeightExpr {
    const rows = fusedRows(options) ?? size;
    const turned = options.conv1d === true && this.source.kind !== 'gguf';
    const tensor = this.#find(full, turned ? [cols, rows] : [rows, cols]);
    const dtype = this.#dtype(full, tensor);
    const expr = turned ? transpose(tensor.expr(dtype, cols, rows)) : tensor.expr(dtype, rows, cols);
    return this.#packed(full, this.#rowsOf(expr, options, size), options.exact === true);
  }

  #full(name: string): string {
    return this.prefix === '' ? name : `${this.prefix}.${name}`;
  }

  #find(full: string, expected: readonly number[]): SourceTensor {
    const tensor = this.source.find(full);
    if (tensor === undefined) {
      throw new TensorMissingError('is not in the checkpoint', {
        file: this.source.file,
        tensor: full,
        expected: `shape [${expected.join(', ')}]`,
      });
    }
    this.#shared.used.add(tensor.name);
    if (tensor.shape === undefined) return tensor;
    const stored = tensor.shape;
    // A vector may be stored with extra dims of 1.
    const found = stored.filter((d, i) => d !== 1 || (expected.length === stored.length && expected[i] === 1));
    if (found.length !== expected.length || found.some((d, i) => d !== expected[i])) {
      throw new TensorShapeError('has another shape than the config implies', {
        file: this.source.file,
        tensor: full,
        expected: `[${expected.join(', ')}]`,
        found: `[${stored.join(', ')}]`,
      });
    }
    return tensor;
  }

  #dtype(full: string, tensor: SourceTensor): WeightExpr['dtype'] {
    if (isWeightDType(tensor.dtype)) return tensor.dtype;
    throw new UnsupportedError(`weights of type ${tensor.dtype} are not supported yet`, {
      file: this.source.file,
      tensor: full,
    });
  }

  /** The rows that `options` choose of a stored tensor, in Hugging Face's order. */
  #rowsOf(stored: WeightExpr, options: MatrixOptions, rows: number): WeightExpr {
    const { part, perHead, ggufHeads } = options;
    const gguf = this.source.kind === 'gguf';
    const expr = gguf && ggufHeads !== undefined ? permuteRows(stored, ggufHeads) : stored;
    if (part !== undefined) return sliceRows(expr, part.begin, rows);
    if (perHead === undefined) return expr;
    const { index, count = 1, heads, headDim } = perHead;
    return gguf ? sliceRows(expr, index * heads * headDim, count * heads * headDim) : headRows(expr, perHead);
  }

  /** Quantised where the source asks for it. */
  #packed(full: string, expr: WeightExpr, exact: boolean): WeightExpr {
    const { dtype: stored, cols } = expr;
    const { wanted, type } = (exact ? undefined : this.source.quantize?.(full, cols)) ?? {
      wanted: stored,
      type: stored,
    };
    const rows = (this.#shared.matrices.get(full)?.rows ?? 0) + expr.rows;
    this.#shared.matrices.set(full, { name: full, rows, cols, stored, wanted, type });
    return type === stored ? expr : cast(expr, type);
  }

  #remember<S extends readonly string[]>(
    full: string,
    dims: readonly Dim[],
    options: MatrixOptions,
    make: () => WeightExpr,
  ): Weight<S> {
    const key = `${full} ${options.part?.begin ?? options.perHead?.index ?? ''}`;
    const known = this.#shared.made.get(key);
    if (known?.dims.every((d, i) => d.name === dims[i]?.name)) return known as unknown as Weight<S>;
    this.#shared.layouts.set(full, options);
    const weight = this.#graph.weight<readonly string[]>(full, make(), dims as Weight['dims']);
    this.#shared.made.set(key, weight);
    return weight as unknown as Weight<S>;
  }
}
