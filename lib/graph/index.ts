/** Typed graphs: what is computed, independent of where. */
export * as ops from '../ops/index.js';
export { type ArrayOf, type DType, isWeightDType, type WeightDType, weightDTypes } from './dtype.js';
export { Graph, type GraphNode, type OutputSpec, type State, type Tensor, type Weight } from './graph.js';
export { type LoopNames, type LowerOptions, lower } from './lower.js';
export {
  type AttrValue,
  type Program,
  type ProgramDim,
  type ProgramLoop,
  type ProgramNode,
  type ProgramValue,
  printProgram,
} from './program.js';
export { type Dim, type DimsOf, dim, shapeText, stepDim } from './shape.js';
export {
  concatRows,
  type FileIdentity,
  floats,
  permuteRows,
  randomWeight,
  sliceRows,
  transpose,
  type WeightExpr,
} from './weight_expr.js';
