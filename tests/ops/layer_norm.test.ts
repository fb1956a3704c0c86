import { checkOnTiers, checkThreads } from '../support/compare.js';
import { layerNormTest, layerNormTests } from './layer_norm.js';

checkOnTiers('layer_norm', layerNormTests);
checkThreads('layer_norm', [layerNormTest(67, 515)]);
