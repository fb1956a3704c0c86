import type { Tensor } from '../graph/graph.js';
import type { Dim } from '../graph/shape.js';
import { linear } from '../ops/linear.js';
import type { MatrixOptions, Weights } from './weights.js';

export interface ProjectOptions extends MatrixOptions {
  /** The layer has a NAME.bias; default: none. */
  readonly bias?: boolean | undefined;
}

/** A linear layer by its published name: x (rows, in) → x weightᵀ + bias (rows, out) with w's NAME.weight and NAME.bias. */
export function project<R extends string, O extends string>(
  w: Weights,
  name: string,
  x: Tensor<[R, string], 'f32'>,
  out: Dim<O>,
  options: ProjectOptions = {},
): Tensor<[R, O], 'f32'> {
  const weight = w.matrix(`${name}.weight`, out, x.dims[1], options);
  const bias = options.bias === true ? w.vector(`${name}.bias`, out, options) : undefined;
  return x.graph.scoped(name, () => linear(x, weight, bias));
}
