import { llamaConfig } from './models.js';
import { checkSameAnswer } from './same_answer.js';

checkSameAnswer([
  { name: 'llama f32', config: llamaConfig, dtype: 'f32' },
  { name: 'llama f16', config: llamaConfig, dtype: 'f16' },
]);
