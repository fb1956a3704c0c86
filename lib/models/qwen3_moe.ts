import { dim } from '../graph/shape.js';
import type { DecoderBuilder } from '../layers/decoder.js';
import { mixtureOfExperts } from '../layers/experts.js';
import { gatedMlp } from '../layers/mlp.js';
import { type Architecture, expertGgufNames } from './architecture.js';
import { buildQwen3, qwen3Names } from './qwen3.js';

const names = {
  gate: 'experts.*.gate_proj.weight',
  up: 'experts.*.up_proj.weight',
  down: 'experts.*.down_proj.weight',
};

/**
 * Qwen3MoeForCausalLM: Qwen3 with experts in each layer whose number from 1 on is a multiple of decoder_sparse_step, but
 * for mlp_only_layers; a sliding window is that of all layers (Yang et al. 2025).
 */
function build(m: DecoderBuilder): void {
  const c = m.config;
  const experts = c.int('num_experts', { min: 0, max: 4096 });
  const top = c.int('num_experts_per_tok', { min: 1, max: Math.max(1, experts) });
  const [step, dense] = [c.int('decoder_sparse_step', { min: 1, max: 1024 }), c.nums('mlp_only_layers', { min: 0 })];
  const [fn, normalise] = [c.activation(), c.bool('norm_topk_prob')];
  const ffn = dim('ffn', c.int('intermediate_size'));
  const inner = dim('expert_ffn', c.int('moe_intermediate_size', { min: 1, max: 2 ** 20 }));
  const options = { experts, top, normalise, ffn: inner, fn, names };

  const windows = Array.from({ length: c.int('num_hidden_layers') }, () => c.slidingWindow());
  buildQwen3(m, windows, (layer, x, i) =>
    experts > 0 && (i + 1) % step === 0 && !dense.includes(i)
      ? mixtureOfExperts(layer.at('mlp'), x, options)
      : gatedMlp(layer.at('mlp'), x, ffn, fn),
  );
}

export const qwen3Moe: Architecture = {
  classes: ['Qwen3MoeForCausalLM'],
  modelType: 'qwen3_moe',
  build,
  ignored: [/\.rotary_emb\.inv_freq$/],
  gguf: { arch: ['qwen3moe'], names: { ...qwen3Names, ...expertGgufNames('mlp', names) } },
};
