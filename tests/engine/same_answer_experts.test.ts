import { mixtralConfig } from './models.js';
import { checkSameAnswer } from './same_answer.js';

const blocks = { ...mixtralConfig, hidden_size: 256, intermediate_size: 96 };

checkSameAnswer([
  { name: 'mixtral, f32', config: mixtralConfig, dtype: 'f32' },
  { name: 'mixtral, q8_0', config: blocks, dtype: 'q8_0' },
]);
