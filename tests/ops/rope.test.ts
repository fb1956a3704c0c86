import { checkOnTiers, checkThreads } from '../support/compare.js';
import { ropeTableTest, ropeTest, ropeTests } from './rope.js';

checkOnTiers('rope', ropeTests);
checkThreads('rope', [ropeTableTest(129, 64), ropeTest(129, 3, 64, 32, false), ropeTest(129, 3, 64, 32, true)]);
