import { GraphError } from '../errors.js';
import { type WeightDType, weightDTypes } from './dtype.js';

/** Identity of a file when its header was read; native refuses to read another one under the same name. */
export interface FileIdentity {
  readonly path: string;
  readonly size: bigint;
  readonly inode: bigint;
  readonly mtimeNs: bigint;
}

/**
 * A weight as a small expression that native evaluates while packing. Every expression is a matrix (rows, cols) stored
 * row by row; a vector of n is one row of n columns.
 */
export type WeightExpr = { readonly dtype: WeightDType; readonly rows: number; readonly cols: number } & (
  | { readonly kind: 'file'; readonly file: FileIdentity; readonly offset: number; readonly tensor: string }
  | { readonly kind: 'bytes'; readonly data: Float32Array | Uint16Array | Uint8Array }
  | { readonly kind: 'random'; readonly seed: number; readonly mean: number; readonly std: number }
  | { readonly kind: 'transpose' | 'concat_rows' | 'cast'; readonly of: readonly WeightExpr[] }
  | { readonly kind: 'slice'; readonly of: readonly WeightExpr[]; readonly begin: number }
  | { readonly kind: 'permute_rows'; readonly of: readonly WeightExpr[]; readonly heads: number }
  | { readonly kind: 'taps'; readonly of: readonly WeightExpr[]; readonly kernel: number }
  | { readonly kind: 'weight_norm'; readonly of: readonly WeightExpr[] }
);

/** (rows, cols) → (cols, rows); only for unblocked types. GPT-2 stores its Conv1D weights as (in, out). */
export function transpose(of: WeightExpr): WeightExpr {
  if (weightDTypes[of.dtype].block !== 1) throw new GraphError(`a ${of.dtype} matrix cannot be transposed`);
  return { kind: 'transpose', dtype: of.dtype, rows: of.cols, cols: of.rows, of: [of] };
}

/** Rows begin .. begin + rows of a matrix: one projection out of a fused one. */
export function sliceRows(of: WeightExpr, begin: number, rows: number): WeightExpr {
  if (begin < 0 || begin + rows > of.rows)
    throw new GraphError('slice of a weight', {
      expected: `rows within ${of.rows}`,
      found: `${begin} to ${begin + rows}`,
    });
  return { kind: 'slice', dtype: of.dtype, rows, cols: of.cols, of: [of], begin };
}

/** Matrices of equal width under each other, each with its own type: merged q, k, v. */
export function concatRows(of: readonly WeightExpr[]): WeightExpr {
  const [first] = of;
  if (first === undefined || of.some((e) => e.cols !== first.cols))
    throw new GraphError('concat of weights with different widths');
  return { kind: 'concat_rows', dtype: first.dtype, rows: of.reduce((n, e) => n + e.rows, 0), cols: first.cols, of };
}

/**
 * GGUF stores llama's q and k rows for interleaved rotation; this gives Hugging Face's halves back:
 * per head of size hs, row i of the result is row 2 i (i < hs/2) or 2 (i - hs/2) + 1.
 */
export function permuteRows(of: WeightExpr, heads: number): WeightExpr {
  if (of.rows % (2 * heads) !== 0)
    throw new GraphError('permuted rows must split into even heads', {
      expected: `a multiple of ${2 * heads}`,
      found: of.rows,
    });
  return { kind: 'permute_rows', dtype: of.dtype, rows: of.rows, cols: of.cols, of: [of], heads };
}

/** A convolution (out, in, kernel) as it is stored, (out, in · kernel), for `conv1d`: (out, kernel · in). */
export function taps(of: WeightExpr, kernel: number): WeightExpr {
  if (weightDTypes[of.dtype].block !== 1) throw new GraphError(`the taps of a ${of.dtype} matrix cannot be reordered`);
  if (of.cols % kernel !== 0)
    throw new GraphError('columns of a convolution', { expected: `a multiple of ${kernel}`, found: of.cols });
  return { kind: 'taps', dtype: of.dtype, rows: of.rows, cols: of.cols, of: [of], kernel };
}

/**
 * torch.nn.utils.weight_norm with dim 2: v (out, in · kernel), g (1, kernel) → v · g / |v| per tap, the norm over out and
 * in; f32 (Salimans & Kingma 2016).
 */
export function weightNorm(v: WeightExpr, g: WeightExpr): WeightExpr {
  if (g.rows !== 1 || v.cols % g.cols !== 0)
    throw new GraphError('weight norm', {
      expected: `a factor for each of the taps of ${v.cols} columns`,
      found: g.cols,
    });
  const parts = [v, g].map((e) => (e.dtype === 'f32' ? e : cast(e, 'f32')));
  return { kind: 'weight_norm', dtype: 'f32', rows: v.rows, cols: v.cols, of: parts };
}

/** The same numbers in another stored type; blocks lie along the columns. */
export function cast(of: WeightExpr, dtype: WeightDType): WeightExpr {
  if (of.cols % weightDTypes[dtype].block !== 0)
    throw new GraphError(`columns of ${dtype} come in blocks`, {
      expected: `a multiple of ${weightDTypes[dtype].block}`,
      found: of.cols,
    });
  return { kind: 'cast', dtype, rows: of.rows, cols: of.cols, of: [of] };
}

/** Floats made in TypeScript, such as inverse frequencies. */
export function floats(data: Float32Array, rows = 1): WeightExpr {
  return { kind: 'bytes', dtype: 'f32', rows, cols: data.length / rows, data };
}

/** Normal random weights from a counter, the same bits on every machine: models of real shapes without files. */
export function randomWeight(
  dtype: WeightDType,
  rows: number,
  cols: number,
  seed: number,
  std: number,
  mean = 0,
): WeightExpr {
  return { kind: 'random', dtype, rows, cols, seed, mean, std };
}
