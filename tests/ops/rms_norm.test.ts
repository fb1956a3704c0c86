import { checkOnTiers, checkThreads } from '../support/compare.js';
import { rmsNormTest, rmsNormTests } from './rms_norm.js';

checkOnTiers('rms_norm', rmsNormTests);
checkThreads('rms_norm', [rmsNormTest(67, 1, 515)]);
