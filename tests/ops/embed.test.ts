import { checkOnTiers, checkThreads } from '../support/compare.js';
import { embedTest, embedTests } from './embed.js';

checkOnTiers('embed', embedTests);
checkThreads('embed', [embedTest(['q4_0'], 129, 129, 288), embedTest(['bf16'], 129, 129, 257)]);
