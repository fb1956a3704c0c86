import { gpt2Config, llamaConfig } from './models.js';
import { checkSameAnswer } from './same_answer.js';

checkSameAnswer([
  { name: 'llama bf16', config: llamaConfig, dtype: 'bf16' },
  { name: 'gpt-2 bf16', config: gpt2Config, dtype: 'bf16' },
]);
