import type { State, Tensor } from '../graph/graph.js';
import type { OpInfo } from './op.js';

export const copyBlocksInfo: OpInfo = { name: 'copy_blocks', inputs: ['state', 'copies'], outputs: [], attrs: {} };

/** Copies whole blocks of a state before anything else of the step: copies (n, 2) of source and target. */
export function copyBlocks(state: State, copies: Tensor<[string, string], 'i32'>): void {
  copies.graph.node('copy_blocks', [state, copies], {}, [], true);
}
