import { dim } from '../graph/shape.js';
import type { DecoderBuilder } from '../layers/decoder.js';
import { mixtureOfExperts } from '../layers/experts.js';
import { type Architecture, expertGgufNames, llamaGgufNames } from './architecture.js';
import { buildMistral } from './mistral.js';

const names = { gate: 'experts.*.w1.weight', up: 'experts.*.w3.weight', down: 'experts.*.w2.weight' };

/**
 * MixtralForCausalLM: Mistral with experts in every layer, the weights of a row's experts made to sum to 1 (Jiang et
 * al. 2024). router_jitter_noise is for training.
 */
function build(m: DecoderBuilder): void {
  const c = m.config;
  const experts = c.int('num_local_experts', { min: 1, max: 4096 });
  const top = c.int('num_experts_per_tok', { min: 1, max: experts });
  const ffn = dim('ffn', c.int('intermediate_size'));
  const options = { experts, top, normalise: true, ffn, fn: c.activation(), names };
  buildMistral(m, (layer, x) => mixtureOfExperts(layer.at('block_sparse_moe'), x, options));
}

export const mixtral: Architecture = {
  classes: ['MixtralForCausalLM'],
  modelType: 'mixtral',
  build,
  ignored: [/\.rotary_emb\.inv_freq$/],
  gguf: { arch: ['llama'], names: { ...llamaGgufNames, ...expertGgufNames('block_sparse_moe', names) } },
};
