import { gemma2Config } from './models.js';
import { checkSameAnswer } from './same_answer.js';

checkSameAnswer([{ name: 'gemma 2, windows of 40 keys, f32', config: gemma2Config, dtype: 'f32' }]);
