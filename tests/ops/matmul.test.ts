import { checkOnTiers, checkThreads } from '../support/compare.js';
import { matmulTest, matmulTests } from './matmul.js';

checkOnTiers('matmul', matmulTests);
checkThreads('matmul', [matmulTest(101, 129, 131, false), matmulTest(101, 129, 131, true, [3])]);
