import { checkSameAnswer } from './same_answer.js';

/** Six heads of 44, slopes of two kinds; q, k and v fused head by head. */
const config = {
  model_type: 'bloom',
  architectures: ['BloomForCausalLM'],
  vocab_size: 515,
  hidden_size: 264,
  n_layer: 2,
  n_head: 6,
  seq_length: 1024,
  bos_token_id: null,
  eos_token_id: null,
  pad_token_id: null,
};

checkSameAnswer([{ name: 'bloom, linear biases, f32', config, dtype: 'f32' }]);
