import { checkOnTiers, checkThreads } from '../support/compare.js';
import { sliceTest, sliceTests } from './slice.js';

checkOnTiers('slice', sliceTests);
checkThreads('slice', [sliceTest(257, 300, 7, 129)]);
