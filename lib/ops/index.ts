import { attentionInfo } from './attention.js';
import { concatInfo } from './concat.js';
import { conv1dInfo } from './conv1d.js';
import { copyBlocksInfo } from './copy_blocks.js';
import { activationInfo, addInfo, gatedInfo, mulInfo, scaleInfo, softcapInfo } from './elementwise.js';
import { embedInfo } from './embed.js';
import { gatherRowsInfo } from './gather_rows.js';
import { groupNormInfo } from './group_norm.js';
import { kvWriteInfo, tokenWriteInfo } from './kv_write.js';
import { layerNormInfo } from './layer_norm.js';
import { linearInfo } from './linear.js';
import { logMelInfo } from './log_mel.js';
import { matmulInfo } from './matmul.js';
import { moeInfo } from './moe.js';
import type { OpInfo } from './op.js';
import { poolInfo } from './pool.js';
import { rmsNormInfo } from './rms_norm.js';
import { ropeInfo, ropeTableInfo } from './rope.js';
import { sampleInfo } from './sample.js';
import { sliceInfo } from './slice.js';
import { softmaxInfo } from './softmax.js';
import { tokenLogprobInfo } from './token_logprob.js';

/** All ops, in the order of the native list. */
export const opList: readonly OpInfo[] = [
  embedInfo,
  linearInfo,
  matmulInfo,
  rmsNormInfo,
  layerNormInfo,
  ropeTableInfo,
  ropeInfo,
  kvWriteInfo,
  tokenWriteInfo,
  copyBlocksInfo,
  attentionInfo,
  softmaxInfo,
  activationInfo,
  gatedInfo,
  addInfo,
  mulInfo,
  scaleInfo,
  softcapInfo,
  concatInfo,
  sliceInfo,
  gatherRowsInfo,
  sampleInfo,
  tokenLogprobInfo,
  poolInfo,
  moeInfo,
  conv1dInfo,
  groupNormInfo,
  logMelInfo,
];

export {
  type Attended,
  type AttentionOptions,
  type CacheSource,
  cachedAttention,
  type RowSource,
  rowAttention,
} from './attention.js';
export { concat } from './concat.js';
export { type Conv1dOptions, type ConvBounds, conv1d } from './conv1d.js';
export { copyBlocks } from './copy_blocks.js';
export { type Activation, activation, activations, add, gated, mul, scale, softcap } from './elementwise.js';
export { embed } from './embed.js';
export { gatherRows } from './gather_rows.js';
export { groupNorm } from './group_norm.js';
export { type CachePlace, type KvWriteOptions, kvWrite, tokenWrite } from './kv_write.js';
export { layerNorm } from './layer_norm.js';
export { linear } from './linear.js';
export { logMel } from './log_mel.js';
export { matmul, matmulTransposed } from './matmul.js';
export { type MoeOptions, moe } from './moe.js';
export type { OpInfo } from './op.js';
export { type PoolMode, pool } from './pool.js';
export { headRmsNorm, type RmsNormOptions, rmsNorm } from './rms_norm.js';
export { type RopeTableOptions, rope, ropeTable } from './rope.js';
export {
  type Sampled,
  type SampleSource,
  sample,
  sampleInputs,
  sampleIntegerColumns,
  sampleNumberColumns,
} from './sample.js';
export { slice } from './slice.js';
export { softmax } from './softmax.js';
export { tokenLogprob } from './token_logprob.js';
