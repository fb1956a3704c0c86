/** Compositions that models share, and what a model function of your own works with. */
export { AudioBuilder, type Convolution, levelRows, receptiveField } from './audio.js';
export { type CacheGroup, DecoderBuilder, pageTokens } from './decoder.js';
export { type ExpertsOptions, mixtureOfExperts } from './experts.js';
export { type HeadOptions, languageHead, type TokenTables, tokenTables } from './language_head.js';
export { type FeedForward, gatedMlp, plainMlp } from './mlp.js';
export { type HeadNorm, headLayerNorm, norm } from './norm.js';
export { type ProjectOptions, project } from './project.js';
export { ropeFrequencies, ropeTableOf } from './rope.js';
export {
  type HeadRows,
  type MatrixOptions,
  type PackedMatrix,
  type SourceTensor,
  type WeightSource,
  Weights,
} from './weights.js';
