import { checkOnTiers, checkThreads } from '../support/compare.js';
import { concatTest, concatTests } from './concat.js';

checkOnTiers('concat', concatTests);
checkThreads('concat', [concatTest(129, [129, 131, 3])]);
