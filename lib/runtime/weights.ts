import { fromNative } from '../errors.js';
import type { WeightExpr } from '../graph/weight_expr.js';
import { native } from './native.js';

/**
 * Evaluates rows `row` … `row + count` of a weight expression off the event loop; the bytes are those that a file would
 * hold. Throws FileChangedError, CorruptFileError, GraphError, UnsupportedError, OutOfMemoryError.
 */
export async function readWeight(expr: WeightExpr, row: number, count: number): Promise<Uint8Array<ArrayBuffer>> {
  try {
    return new Uint8Array(await native().readWeight(expr, row, count));
  } catch (error) {
    throw fromNative(error);
  }
}
