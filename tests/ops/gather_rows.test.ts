import { checkOnTiers, checkThreads } from '../support/compare.js';
import { gatherRowsTest, gatherRowsTests } from './gather_rows.js';

checkOnTiers('gather_rows', gatherRowsTests);
checkThreads('gather_rows', [gatherRowsTest(129, 131, 257)]);
