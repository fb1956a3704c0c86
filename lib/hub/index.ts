/** Models from the Hugging Face hub, in the cache that all its tools share. */
export { type Pulled, pull } from './pull.js';
export { resolveModel } from './resolve.js';
export type { PullOptions, PullProgress } from './settings.js';
